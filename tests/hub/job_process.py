"""The process of one attempt of a job: started in its own session, read line by line, killed as a group."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.hub.mounts import mounts_supported, sandbox_command

READ_SIZE = 65536
LAST_OUTPUT_S = 2.0


@dataclass(frozen=True)
class Launch:
    """What to start, where, and with what mounted."""

    command: list[str]
    env: dict[str, str]
    home: Path
    volumes: list[dict[str, str]]


def _plan_file(launch: Launch) -> IO[bytes]:
    root = launch.home.with_name("root")
    root.mkdir()
    plan = {"root": str(root), "cwd": str(launch.home), "command": launch.command, "env": launch.env}
    stream = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller once the child has it
    stream.write(json.dumps({**plan, "volumes": launch.volumes}).encode())
    stream.seek(0)
    return stream


async def _spawn(launch: Launch, output: int) -> asyncio.subprocess.Process:
    if mounts_supported() is None:
        with _plan_file(launch) as plan:
            return await asyncio.create_subprocess_exec(
                *sandbox_command(), stdin=plan, stdout=output, stderr=output, env={}, start_new_session=True
            )
    return await asyncio.create_subprocess_exec(
        *launch.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**launch.env, "TMPDIR": str(launch.home)},
        cwd=launch.home,
        start_new_session=True,
    )


async def _pump(read_end: int, log: Callable[[str], None]) -> None:
    """Pass on each line that comes through a pipe until all writers have closed it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    rest = b""
    try:
        while chunk := await reader.read(READ_SIZE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                log(line.decode("utf-8", errors="replace"))
        if rest:
            log(rest.decode("utf-8", errors="replace"))
    finally:
        transport.close()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


async def run_process(launch: Launch, log: Callable[[str], None], started: Callable[[int], None]) -> int:
    """Run a command to its end and return its exit code; whatever it leaves behind is killed, also on cancel."""
    read_end, write_end = os.pipe()
    try:
        process = await _spawn(launch, write_end)
    except OSError as error:
        os.close(read_end)
        log(f"exec: {launch.command[0]}: {error.strerror}")
        return 127
    except asyncio.CancelledError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    started(process.pid)
    pump = asyncio.create_task(_pump(read_end, log))
    try:
        return await process.wait()
    finally:
        _kill_group(process.pid)
        await process.wait()
        # A process that left the session may keep the pipe open; its output is not waited for.
        await asyncio.wait([pump], timeout=LAST_OUTPUT_S)
        pump.cancel()
