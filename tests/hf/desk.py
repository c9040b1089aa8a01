"""What the tests of Hugging Face Jobs share: a Hub, a backend on it, jobs that uv can run, and the helper that waits."""

import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from uv import find_uv_bin

from tests.hub import EmulatedHub, RunOptions
from trl_mcp.backends.base import Job, JobSpec, Submission
from trl_mcp.backends.hf import HfBackend
from trl_mcp.errors import HubUnreachable, RateLimited
from trl_mcp.hub.hub import Hub

T = TypeVar("T")
Submit = Callable[[JobSpec], Awaitable[Submission]]
HEADER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'


def new_run() -> str:
    """Return a run key that no other test has."""
    return secrets.token_hex(6)


def run_options(uv_cache: Path) -> RunOptions:
    """Return how jobs find uv, a Python and a cache."""
    path = f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}"
    uv = {"PATH": path, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(uv_cache), "UV_PYTHON": sys.executable}
    return RunOptions(job_env=uv)


def spec(body: str = "print('hello')\n", **changes: Any) -> JobSpec:
    """Return a job with this script body behind a header without requirements."""
    made = JobSpec(
        kind="training",
        method="sft",
        run=new_run(),
        script=HEADER + body,
        hardware="cpu-basic",
        namespace="alice",
        timeout_s=600,
    )
    return replace(made, **changes)


async def quickly(_seconds: float) -> None:
    """Wait for no time, where the code waits before it tries again."""
    await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def open_hub(hub: EmulatedHub, clock: Callable[[], float] = time.monotonic) -> AsyncGenerator[Hub]:
    """Open the Hub as the server does, without pauses between tries."""
    async with Hub(hub.endpoint, clock=clock, sleep=quickly) as opened:
        yield opened


class Desk:
    """One emulated Hub, and backends on it."""

    def __init__(self, emulated: EmulatedHub, hub: Hub, locks: Path) -> None:
        self.emulated = emulated
        self.hub = hub
        self.locks = locks
        self.backend = self.backend_of("alice")

    def backend_of(self, user: str, namespace: str = "alice") -> HfBackend:
        """Return the backend of a user in a namespace."""
        return HfBackend(self.hub, self.emulated.tokens[user], namespace, locks=self.locks)

    async def start(self, body: str = "print('hello')\n", **changes: Any) -> Job:
        """Submit a new job."""
        return (await self.backend.submit(spec(body, **changes))).job

    async def ended(self, job: Job) -> Job:
        """Wait for the job's end."""

        async def look() -> Job | None:
            now = await self.backend.inspect(job.id)
            return now if now.stage.is_terminal else None

        return await until(look, f"the end of {job.id}")

    async def run(self, body: str = "print('hello')\n", **changes: Any) -> Job:
        """Submit a new job and wait for its end."""
        return await self.ended(await self.start(body, **changes))

    async def started(self, job: Job, line: str) -> None:
        """Wait until the job has printed a line."""

        async def look() -> bool:
            return line in self.emulated.job_log(job.id)

        await until(look, f"{job.id} prints {line}")


async def persistently(submit: Submit, given: JobSpec) -> Submission:
    """Call again when the error says that this does no harm, as an agent does."""
    for _ in range(20):
        try:
            return await submit(given)
        except (HubUnreachable, RateLimited):
            await anyio.lowlevel.checkpoint()
    raise AssertionError("no answer in 20 calls")


async def until(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = 30) -> T:
    """Return what `look` returns once that is true; fail after `seconds`."""
    with anyio.move_on_after(seconds):
        while not (seen := await look()):
            await anyio.sleep(0.02)
        return seen
    raise AssertionError(f"not within {seconds} s: {what}")
