"""Programs of a training environment that find torch loaded, which takes two seconds, and are processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from tests.templates.warm_python import SIZE

PROGRAM = Path(__file__).with_name("warm_python.py")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG")


def can_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether a program with this environment need not have a Python that has just been started."""
    told = {name for name in environment if name.startswith("PYTHON")} - {"PYTHONPATH"}
    return sys.platform == "linux" and not told


class Process(Protocol):
    """What a job is to its tests: a process as subprocess has it."""

    stdout: IO[str] | None

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None before the end was waited for."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Send a signal."""
        ...

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        ...


class WarmProcess:
    """A process that a warm Python was forked into; what it prints comes from `stdout` where that is read here."""

    def __init__(self, fate: int, stdout: IO[str] | None) -> None:
        self._fate = os.fdopen(fate)
        self._id = 0
        self.returncode: int | None = None
        self.stdout = stdout

    @property
    def pid(self) -> int:
        """The process id."""
        if not self._id:
            self._id = int(self._fate.readline())
        return self._id

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless the end is known."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.Signals(sig))

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        if self.returncode is None and self.pid:
            self.returncode = int(self._fate.readline())
            self._fate.close()
        assert self.returncode is not None
        return self.returncode


class WarmPython:
    """The interpreter of an environment, loaded once and forked for each program."""

    def __init__(self, python: str) -> None:
        self._requests, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"OMP_NUM_THREADS": "1"}
        command = [python, str(PROGRAM), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )

    def start(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], errors: IO[bytes]
    ) -> WarmProcess:
        """Start a file or, behind `-c`, code with arguments; what it prints is read from the process."""
        asked = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        text = json.dumps(asked).encode()
        printed, output = os.pipe()
        told, fate = os.pipe()
        try:
            socket.send_fds(self._requests, [SIZE.pack(len(text))], [output, errors.fileno(), fate])
            self._requests.sendall(text)
        finally:
            os.close(output)
            os.close(fate)
        return WarmProcess(told, os.fdopen(printed))

    def close(self) -> None:
        """End the process that is forked."""
        self._requests.close()
        self._process.wait()
