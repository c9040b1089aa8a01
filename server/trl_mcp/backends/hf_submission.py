"""Starts jobs on Hugging Face Jobs: exactly one per run, whatever happens to the connection.

A job is known by the labels of its run. So a submission whose answer was lost is looked for before it is sent again,
and of two hosts that submit the same run at once the one whose job is the later cancels it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
from filelock import FileLock, Timeout

from trl_mcp.backends.base import Job, JobSpec, Stage, Submission
from trl_mcp.backends.hf_jobs import Offer, as_job, run_labels, specification
from trl_mcp.errors import BackendUnavailable, HubError, HubUnreachable, NotFound, NotPossible, RateLimited
from trl_mcp.hub import faults
from trl_mcp.hub.fields import text
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.jobs import JobsApi

_CURRENT = (Stage.SCHEDULING, Stage.RUNNING, Stage.COMPLETED)
_SENDS = 3
_RATE_LIMITS = 10
_SEND_S = 12.0
_DEADLINE_S = 40.0
_LOCK_S = 20.0
_LOCK_POLL_S = 0.02
_LOOKS_S = (0.2, 0.5, 1.0, 2.0)
_LONGEST_WAIT_S = 20.0
_GATEWAY_TIMEOUTS = frozenset({408, 504, 522, 524})


@dataclass(frozen=True, slots=True)
class _Lost:
    """A submission whose answer did not come; one that timed out may still be on its way and is not sent again."""

    why: str
    was_sent: bool = True
    may_still_arrive: bool = False


class Submitter:
    """Submits jobs of one caller in one namespace; `locks` is a folder that all servers of this host share."""

    def __init__(self, hub: Hub, jobs: JobsApi, namespace: str, locks: Path, clock: Callable[[], datetime]) -> None:
        self._hub = hub
        self._jobs = jobs
        self._namespace = namespace
        self._locks = locks
        self._clock = clock

    async def submit(self, spec: JobSpec, make_offer: Callable[[], Awaitable[Offer]]) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises InvalidArguments, HubError; after HubUnreachable the same submission may be repeated without harm.
        """
        specification(spec, 1, Offer(0, None), self._clock())  # refuses before it waits
        async with self._one_at_a_time():
            before = await self.of_run(spec.run)
            current = _current(before)
            if current is not None:
                return Submission(current, already_submitted=True)
            part = max((job.part for job in before), default=0) + 1
            sent = specification(spec, part, await make_offer(), self._clock())
            # A caller who goes away must not leave behind a submission that nobody knows of: it is seen through.
            with anyio.move_on_after(_DEADLINE_S, shield=True):
                return await self._see_through(sent, spec.run)
        raise self._unknown("the Hub did not answer in time")

    async def current(self, run: str) -> Job | None:
        """Return the job of a run that is scheduled, running or completed, if there is one. Raises HubError."""
        return _current(await self.of_run(run))

    async def of_run(self, run: str) -> list[Job]:
        """Return the jobs of a run, the oldest first. Raises HubError."""
        found = [self._read(raw) async for raw in self._jobs.listing(run_labels(run))]
        return sorted((job for job in found if job.run == run), key=age)

    async def _see_through(self, sent: dict[str, Any], run: str) -> Submission:
        job = await self._send(sent, run)
        if job.run_tag != _tag(sent):
            return Submission(job, already_submitted=True)
        return await self._settle(job)

    async def _send(self, sent: dict[str, Any], run: str) -> Job:
        """Send until the Hub has accepted the job or refused it, and return it, or one of its run from elsewhere."""
        lost = _Lost("")
        for _ in range(_SENDS):
            answer = await self._send_once(sent)
            if isinstance(answer, Job):
                return answer
            lost = answer
            if lost.was_sent and (job := await self._look_for(run, _tag(sent))) is not None:
                return job
            if lost.may_still_arrive:
                break
        raise self._unknown(lost.why)

    async def _send_once(self, sent: dict[str, Any]) -> "Job | _Lost":
        """Return the job that the Hub accepted, or what is known of a lost answer. Raises HubError for a refusal."""
        try:
            response = await self._send_patiently(sent)
        except httpx2.RequestError as error:
            was_sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            slow = was_sent and isinstance(error, httpx2.TimeoutException)
            return _Lost(faults.reason(error), was_sent=was_sent, may_still_arrive=slow)
        job = self._accepted(response)
        status = response.status_code
        return job or _Lost(f"it answers {status}", may_still_arrive=status in _GATEWAY_TIMEOUTS)

    async def _send_patiently(self, sent: dict[str, Any]) -> httpx2.Response:
        """Send once the Hub takes requests again: a rate limit says that nothing was accepted."""
        waited = 0.0
        for _ in range(_RATE_LIMITS):
            response = await self._jobs.submit(sent, _SEND_S)
            wait = faults.wait_s(response)
            if response.status_code != 429 or waited + wait > _LONGEST_WAIT_S:
                return response
            await self._hub.sleep(wait)
            waited += wait
        return await self._jobs.submit(sent, _SEND_S)

    def _accepted(self, response: httpx2.Response) -> Job | None:
        """Return the job of an answer, None where the answer does not tell. Raises HubError, NotFound for a refusal."""
        if response.is_success:
            try:
                job = self._read(response.json())
            except ValueError:
                return None
            return job if job.id else None
        if response.status_code in faults.BUSY or response.status_code >= 500:
            return None
        raise self._jobs.refusal(response)

    async def _look_for(self, run: str, tag: str) -> Job | None:
        """Return the job with this tag if the Hub has it after all, else one of its run that another host submitted.

        It may take a moment to show. Raises HubUnreachable where the Hub does not answer.
        """
        answered, jobs = False, list[Job]()
        for pause in _LOOKS_S:
            await self._hub.sleep(pause)
            try:
                jobs = await self.of_run(run)
            except (HubUnreachable, RateLimited):
                continue
            answered = True
            ours = next((job for job in jobs if job.run_tag == tag), None)
            if ours is not None:
                return ours
        if not answered:
            raise self._unknown("it does not answer any more")
        return _current(jobs)

    async def _settle(self, job: Job) -> Submission:
        """Return the job, or an older one of its run from another host; then ours is cancelled."""
        try:
            others = await self.of_run(job.run)
        except (HubError, NotFound):
            return Submission(job, already_submitted=False)  # it was accepted: that is what counts
        older = next((other for other in others if other.stage in _CURRENT and age(other) < age(job)), None)
        if older is None:
            return Submission(job, already_submitted=False)
        await self.take_back(job, f"The run was submitted twice at once, as {older.id} and {job.id}")
        return Submission(older, already_submitted=True)

    async def take_back(self, job: Job, why: str) -> None:
        """Cancel a job that was accepted but must not run. Raises NotPossible with the reason where that cannot be."""
        try:
            await self._jobs.cancel(job.id)
        except (HubError, NotFound) as error:
            raise NotPossible(f"{why}, and {job.id} could not be cancelled.", next_step=f"Cancel {job.id}.") from error

    def _read(self, raw: object) -> Job:
        return as_job(raw, self._namespace, self._jobs.page(text(raw, "id")))

    def _unknown(self, why: str) -> HubUnreachable:
        return HubUnreachable(
            f"Whether the job was accepted is not known: {why.rstrip('.')}.",
            next_step="Call again with the same arguments: a job that was accepted is found and never started twice.",
        )

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncGenerator[None]:
        """Let one submission through at a time in this namespace, of all servers on this host."""
        async with self._hub.turn(self._namespace), held(self._locks / f"hf-{self._namespace}.lock"):
            yield


@asynccontextmanager
async def held(path: Path) -> AsyncGenerator[None]:
    """Hold the lock of a file among all servers on this host. Raises BackendUnavailable after 20 s of waiting."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        await _acquire(lock)
    except OSError as error:
        raise BackendUnavailable(
            f"The lock that keeps a run from being submitted twice cannot be held: {error.strerror}.",
            next_step=f"Make room or give write access under {path.parent}, then call again. Nothing was started.",
        ) from error
    try:
        yield
    finally:
        lock.release()


async def _acquire(lock: FileLock) -> None:
    deadline = anyio.current_time() + _LOCK_S
    while True:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if anyio.current_time() > deadline:
                raise BackendUnavailable(
                    f"Another submission has not ended for {_LOCK_S:.0f} s.",
                    next_step="Call again. Nothing was started.",
                ) from None
            await anyio.sleep(_LOCK_POLL_S)
        else:
            return


def _current(jobs: Iterable[Job]) -> Job | None:
    return next((job for job in jobs if job.stage in _CURRENT), None)


def age(job: Job) -> tuple[datetime, str]:
    """Return what jobs are ordered by, the oldest first, on every host alike."""
    return job.created_at, job.id


def _tag(sent: dict[str, Any]) -> str:
    return text(sent, "environment", "TRL_MCP_RUN_TAG")
