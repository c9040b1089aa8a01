"""A Python that has loaded torch and is forked for each program: started with one end of a pair of sockets.

A program finds itself in a process as `python FILE` or `python -c CODE` would have it, with an environment, a folder
and an output of its own. What is loaded before reads no variable that a job is given: the Hub's client, transformers,
datasets and TRL are loaded by each program itself.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from types import ModuleType
from typing import Any

LOADED = (
    "torch",
    "torch._dynamo",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "safetensors.torch",
    "httpx",
    "regex",
    "jinja2",
)
SIZE = struct.Struct(">I")
Request = dict[str, Any]


def receive(requests: socket.socket) -> tuple[Request, list[int]]:
    """Return what is to be run, and where its output and its fate are told; end where nobody asks any more."""
    size, places, _, _ = socket.recv_fds(requests, SIZE.size, 3)
    if not size:
        sys.exit()
    length = SIZE.unpack(size)[0]
    text = b""
    while len(text) < length:
        text += requests.recv(length - len(text))
    return json.loads(text), places


def next_program(requests: socket.socket) -> Request:
    """Return in a new process for each request, as that process."""
    while True:
        request, places = receive(requests)
        if os.fork() == 0:
            requests.close()
            tell(*places)
            return request
        for place in places:
            os.close(place)


def tell(output: int, errors: int, fate: int) -> None:
    """Fork, return in the new process, and tell of its id and its end in the old one."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program == 0:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        for place in (output, errors, fate):
            os.close(place)
        return
    os.close(output)
    os.close(errors)
    os.write(fate, f"{program}\n".encode())
    _, status = os.waitpid(program, 0)
    os.write(fate, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def run(request: Request) -> None:
    """Be the program."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    arguments: list[str] = request["arguments"]
    code = arguments[1] if arguments[0] == "-c" else None
    sys.argv = ["-c", *arguments[2:]] if code else arguments
    sys.orig_argv = [sys.executable, *arguments]
    sys.path[0] = "" if code else os.path.dirname(arguments[0])  # noqa: PTH120 # as Python itself does
    if added := os.environ.get("PYTHONPATH"):
        sys.path[1:1] = added.split(os.pathsep)
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("sitecustomize")
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    vars(main)["__annotations__"] = {}
    if code is None:
        vars(main).update(__file__=arguments[0], __cached__=None)
        with open(arguments[0], "rb") as file:  # noqa: PTH123
            code = file.read()
    exec(compile(code, vars(main).get("__file__", "<string>"), "exec"), vars(main))


if __name__ == "__main__":
    for name in LOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    early = {"huggingface_hub", "transformers", "datasets", "trl", "pyarrow"} & sys.modules.keys()
    assert not early, early
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    run(next_program(socket.socket(fileno=int(sys.argv[1]))))
