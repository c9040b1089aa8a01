"""The server-sent event streams of jobs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from starlette.responses import StreamingResponse

from tests.hub.hardware import Flavor
from tests.hub.job_metrics import GpuSample, sample, usage_of
from tests.hub.job_store import Job, LogLine

KEEP_ALIVE = ": keep-alive\n\n"
METRICS_PERIOD_S = 1.0


def _data(payload: dict[str, Any]) -> str:
    return f"data: {json.dumps(payload)}\n\n"


def _respond(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _replay(lines: list[LogLine], tail: int | None) -> list[LogLine]:
    """Return the lines that a new connection gets first: with a tail, the first header and the last lines."""
    if tail is None or len(lines) <= tail + 1:
        return list(lines)
    return [lines[0], *lines[len(lines) - tail :]]


async def _log_events(job: Job, tail: int | None, keep_alive_s: float) -> AsyncIterator[str]:
    sent = len(job.lines)
    for line in _replay(job.lines, tail):
        yield _data(line.event())
    while True:
        while sent < len(job.lines):
            yield _data(job.lines[sent].event())
            sent += 1
        if job.over:
            return
        if not await job.changed(keep_alive_s):
            yield KEEP_ALIVE


async def _metric_events(job: Job, flavor: Flavor, gpu: GpuSample) -> AsyncIterator[str]:
    before = usage_of(job.pid)
    while not job.over:
        if job.stage == "RUNNING":
            now = usage_of(job.pid)
            yield f"event: metric\n{_data(sample(before, now, flavor, gpu))}"
            before = now
        due = monotonic() + METRICS_PERIOD_S
        while not job.over and (left := due - monotonic()) > 0:
            await job.changed(left)


async def _state_events(job: Job, keep_alive_s: float) -> AsyncIterator[str]:
    shown = None
    while True:
        if job.stage != shown:
            shown = job.stage
            yield _data(job.view())
        if job.over:
            return
        if not await job.changed(keep_alive_s):
            yield KEEP_ALIVE


def stream_logs(job: Job, tail: int | None, keep_alive_s: float) -> StreamingResponse:
    """Send the whole log (or its last lines) and then what comes, until the job is over."""
    return _respond(_log_events(job, tail, keep_alive_s))


def stream_metrics(job: Job, flavor: Flavor, gpu: GpuSample) -> StreamingResponse:
    """Send a sample once per second until the job is over."""
    return _respond(_metric_events(job, flavor, gpu))


def stream_events(job: Job, keep_alive_s: float) -> StreamingResponse:
    """Send the job at each change of its stage, until it is over."""
    return _respond(_state_events(job, keep_alive_s))
