"""What the tests of the local backend share: a backend with a home of its own, and the one helper that waits."""

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import psutil

from trl_mcp.backends.base import Job, JobSpec, LogPiece, Submission
from trl_mcp.backends.local import LocalBackend

T = TypeVar("T")
HEADER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'
SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
# Ends with 75 on SIGTERM, as a training script does after its last checkpoint.
SAVES_ON_SIGTERM = """
import os, signal, sys, time
from pathlib import Path
def save(*_):
    Path(os.environ["TRL_MCP_RUN_FOLDER"], "checkpoint").write_text("7")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(600)
"""
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def new_run() -> str:
    """Return a run key that no other test has."""
    return secrets.token_hex(6)


def until(look: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Return what `look` returns once that is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class Desk:
    """One home, its backend, and the questions tests ask of both."""

    def __init__(self, home: Path, environ: Mapping[str, str], grace_s: float = 1) -> None:
        self.home = home
        self.environ = dict(environ)
        self.backend = LocalBackend(home, environ=environ, grace_s=grace_s)

    def spec(self, body: str, **changes: Any) -> JobSpec:
        """Return a job with this script body behind a header without requirements."""
        made = JobSpec(
            kind="train", method="sft", run=new_run(), script=HEADER + body, hardware="local", namespace="local"
        )
        return replace(made, **changes)

    def submit(self, spec: JobSpec) -> Submission:
        """Submit and return the answer."""
        return anyio.run(self.backend.submit, spec)

    def start(self, body: str, **changes: Any) -> Job:
        """Submit a new job."""
        return self.submit(self.spec(body, **changes)).job

    def run(self, body: str, **changes: Any) -> Job:
        """Submit a new job and wait for its end."""
        return self.ended(self.start(body, **changes))

    def start_and_see_up(self, body: str, **changes: Any) -> Job:
        """Submit a job that prints a line that starts with `up` and wait for that."""
        job = self.start(body, **changes)
        until(lambda: any(line.startswith("up") for line in self.tail(job)), "the script prints 'up'")
        return self.look(job)

    def look(self, job: Job) -> Job:
        """Return the job as it is now."""
        return anyio.run(self.backend.inspect, job.id)

    def ended(self, job: Job) -> Job:
        """Wait for the job's end."""
        until(lambda: self.look(job).stage.is_terminal, f"the end of {job.id}")
        return self.look(job)

    def cancel(self, job: Job) -> Job:
        """Ask the job to stop."""
        return anyio.run(self.backend.cancel, job.id)

    def logs(self, job: Job, **which: int) -> LogPiece:
        """Return a piece of the log."""

        async def ask() -> LogPiece:
            return await self.backend.logs(job.id, **which)

        return anyio.run(ask)

    def tail(self, job: Job) -> list[str]:
        """Return the last lines of the log."""
        return self.logs(job, tail=100).lines

    def folder(self, job: Job) -> Path:
        """Return the job's folder."""
        return self.home / "jobs" / job.id

    def run_folder(self, job: Job) -> Path:
        """Return what the run keeps for its continuation."""
        return self.home / "runs" / job.run

    def supervisor(self, job: Job) -> psutil.Process:
        """Return the process that owns the job."""
        found = until(lambda: _with_argument(str(self.folder(job)), "trl_mcp.backends.supervisor"), "a supervisor")
        return found[0]

    def script_process(self, job: Job) -> psutil.Process:
        """Return the process that runs the script."""
        script = str(self.folder(job) / "script.py")
        return until(
            lambda: [p for p in _with_argument(script) if "trl_mcp.environments" not in _command(p)], "a script"
        )[0]

    def processes(self, job: Job) -> list[psutil.Process]:
        """Return all living processes of the job: what carries its run tag, and what watches over it."""
        return [process for process in psutil.process_iter() if _belongs(process, job)]

    def gone(self, job: Job) -> None:
        """Wait until no process of the job is left."""
        until(lambda: not self.processes(job), f"no process of {job.id} is left")

    def clear(self) -> None:
        """End every process that a test left behind."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.home) in _command(process) and process.pid != os.getpid():
                    process.kill()


def read(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def kill(process: psutil.Process) -> None:
    """Kill with SIGKILL and wait for its death."""
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not _is_alive(process), f"the death of {process.pid}")


def python_path() -> str:
    """Return the folders that a new interpreter needs to import what this one does."""
    return os.pathsep.join(path for path in sys.path if path)


def _with_argument(*arguments: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if set(arguments) <= set(process.cmdline()) and "/bin/sh" not in process.cmdline()[0]:
                found.append(process)
    return found


def _belongs(process: psutil.Process, job: Job) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get("TRL_MCP_RUN_TAG") == job.run_tag or job.run_tag in process.cmdline()
    except psutil.Error:
        return False


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
