"""Runs jobs on Hugging Face Jobs: one caller in one namespace. The Hub is the only record of them."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx2

from trl_mcp.backends import hf_logs
from trl_mcp.backends.base import SCRIPT, Job, JobSpec, LogPiece, Submission
from trl_mcp.backends.hf_budget import added_up, jobs_of_today, paying_namespaces, spending_before
from trl_mcp.backends.hf_jobs import APP, BACKEND, Offer, as_job, script_of
from trl_mcp.backends.hf_submission import Submitter, held
from trl_mcp.clock import utc_now
from trl_mcp.errors import (
    DayLimitReached,
    HubError,
    InvalidArguments,
    NotFound,
    NotPossible,
    PermissionMissing,
    UnknownJob,
)
from trl_mcp.estimate.money import ceiling
from trl_mcp.hub.fields import amount, text, values
from trl_mcp.hub.hub import Hub
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import DaySpending, Flavor, GpuUse, ToolName, call

_METRICS_S = 2.0
_RECOUNT_S = 10.0
_LISTED_POLL_S = 0.2
# No namespace has such a name.
_BUDGET = "budget of the day"


class HfBackend:
    """Jobs of `namespace` as the token sees them; `locks` is a folder that all servers of this host share.

    `day_limit` is what all jobs of a UTC day may cost together, in USD; None: as much as they like.
    """

    name = BACKEND

    def __init__(
        self,
        hub: Hub,
        token: str,
        namespace: str,
        *,
        locks: Path,
        clock: Callable[[], datetime] = utc_now,
        day_limit: Decimal | None = None,
    ) -> None:
        self._hub = hub
        self._token = token
        self._namespace = namespace
        self._jobs = hub.jobs(token, namespace)
        self._submitter = Submitter(hub, self._jobs, namespace, locks, clock)
        self._locks = locks
        self._clock = clock
        self._day_limit = day_limit

    async def flavors(self) -> tuple[list[Flavor], float]:
        """Return the machines on offer with their prices, and how old that answer is in seconds. Raises HubError."""
        return await self._hub.flavors(self._token)

    async def submit(self, spec: JobSpec) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises InvalidArguments for what cannot be sent, DayLimitReached, NotPossible where the price has risen since it
        was agreed, HubError for what the Hub refuses; after HubUnreachable the same submission may be repeated without
        harm.
        """
        identity = await self._hub.identity(self._token)
        if reason := identity.why_no_jobs(self._namespace):
            raise PermissionMissing(reason, next_step="Nothing was started.")

        async def make_offer() -> Offer:
            price = await self._price(spec.hardware)
            _check_agreed(spec, price)
            await self._check_day(spec, price)
            if spec.kind == SCRIPT:  # it would see the checkpoints of others
                return Offer(price, None)
            return Offer(price, (await self._hub.bucket(self._token, self._namespace)).id)

        async with self._budget_turn():
            return await self._within_day(await self._submitter.submit(spec, make_offer))

    async def current(self, run: str) -> Job | None:
        """Return the job of a run that is scheduled, running or completed, if there is one. Raises HubError."""
        return await self._submitter.current(run)

    async def spending(self) -> DaySpending | None:
        """Return what the jobs of today cost, in every namespace of the token; None where there is no limit.

        Raises NotPossible where a job's price is not known, HubError.
        """
        if self._day_limit is None:
            return None
        return added_up(await self._jobs_of_today(), self._clock(), self._day_limit)

    async def _jobs_of_today(self) -> list[Job]:
        identity = await self._hub.identity(self._token)
        namespaces = paying_namespaces(identity, self._namespace)
        return await jobs_of_today(self._hub, self._token, namespaces, self._clock())

    @asynccontextmanager
    async def _budget_turn(self) -> AsyncGenerator[None]:
        """Let one submission at a time look at what is left of the day, and take its part, of all servers on this host."""
        if self._day_limit is None:
            yield
            return
        async with self._hub.turn(_BUDGET), held(self._locks / "budget.lock"):
            yield

    async def _within_day(self, submission: Submission) -> Submission:
        """Return a submission unless other hosts have taken what was left of the day; then its job is cancelled.

        Raises DayLimitReached. A list that does not show the job in time says nothing: it was accepted.
        """
        limit = self._day_limit
        if limit is None or submission.already_submitted:
            return submission
        spending: DaySpending | None = None
        with anyio.move_on_after(_RECOUNT_S, shield=True), suppress(HubError, NotFound, NotPossible):
            ours, jobs = await self._once_listed(submission.job)
            spending = spending_before(ours, jobs, self._clock(), limit)
        if spending is None:
            return submission
        await self._submitter.take_back(submission.job, "The day has no room for it beside jobs from another host")
        raise DayLimitReached(spending)

    async def _once_listed(self, job: Job) -> tuple[Job, list[Job]]:
        """Return the jobs of today as soon as this one is among them: from then on all older ones are too."""
        while True:
            jobs = await self._jobs_of_today()
            ours = next((each for each in jobs if each.id == job.id), None)
            if ours is not None:
                return ours, jobs
            await self._hub.sleep(_LISTED_POLL_S)

    async def _check_day(self, spec: JobSpec, price: int) -> None:
        spending = await self.spending()
        if spending is None:
            return
        if not spec.timeout_s or ceiling(price, spec.timeout_s, spec.attempts) > spending.left:
            raise DayLimitReached(spending)

    async def inspect(self, job_id: str) -> Job:
        """Return the job as it is now. Raises UnknownJob, HubError."""
        return self._read(await self._raw(job_id))

    async def script(self, job_id: str) -> str:
        """Return the text of the script the job runs. Raises UnknownJob, NotPossible for a job by other means."""
        return script_of(await self._raw(job_id))

    async def logs(self, job_id: str, *, tail: int | None = None, cursor: int | None = None) -> LogPiece:
        """Return the last `tail` lines, or the lines after `cursor`; never more than 1 MB at once, within 8 s.

        A piece with `start == end` says that there is nothing (more) now. Raises UnknownJob, HubError.
        """
        try:
            return await hf_logs.read_piece(self._jobs.logs(job_id, tail if cursor is None else None), tail, cursor)
        except NotFound:
            raise self._unknown(job_id) from None

    async def gpu(self, job_id: str) -> GpuUse | None:
        """Return what the job's GPUs do at this moment; None where that is not known within 2 s."""
        with anyio.move_on_after(_METRICS_S), suppress(HubError, NotFound, httpx2.RequestError):
            async with self._jobs.metrics(job_id) as batches:
                async for batch in batches:
                    if batch:
                        return _gpu_use(batch[0])
        return None

    async def cancel(self, job_id: str) -> Job:
        """Ask the job to stop and return it; a job that is over is returned as it is. Raises UnknownJob, HubError."""
        try:
            await self._jobs.cancel(job_id)
        except NotFound:
            raise self._unknown(job_id) from None
        return await self.inspect(job_id)

    async def _price(self, name: str) -> int:
        flavors, _ = await self.flavors()
        prices = {flavor.name: flavor.micro_usd_per_minute for flavor in flavors}
        if name not in prices:
            raise InvalidArguments(
                f'Hugging Face Jobs have no hardware "{shorten(name)}".{did_you_mean(name, prices)}',
                allowed=f"Today: {', '.join(prices)}.",
                next_step="Nothing was started.",
            )
        return prices[name]

    async def _newest(self, labels: Mapping[str, str], limit: int) -> list[Job]:
        found: list[Job] = []
        async with aclosing(self._jobs.listing(labels)) as listed:
            async for raw in listed:
                if len(found) == limit:
                    break
                found.append(self._read(raw))
        return sorted(found, key=lambda job: (job.created_at, job.id), reverse=True)

    async def _raw(self, job_id: str) -> Any:
        try:
            return await self._jobs.inspect(job_id)
        except NotFound:
            raise self._unknown(job_id) from None

    def _read(self, raw: object) -> Job:
        return as_job(raw, self._namespace, self._jobs.page(text(raw, "id")))

    def _unknown(self, job_id: str) -> UnknownJob:
        return UnknownJob(
            f"Hugging Face Jobs have no job {job_id[:80]!a} in the namespace {self._namespace}.",
            allowed="A job of another namespace is named as namespace/id.",
            next_step=f"{call(ToolName.JOB_STATUS)} lists the last jobs.",
        )

    async def list(self, limit: int) -> list[Job]:
        """Return the newest jobs of this server first, at most `limit`. Raises HubError."""
        return await self._newest({"app": APP}, limit)


def _check_agreed(spec: JobSpec, price: int) -> None:
    """Raise NotPossible where a machine costs more than was agreed."""
    agreed = spec.price_micro_usd
    if agreed is not None and price > agreed:
        raise NotPossible(
            f"{spec.hardware} costs {price} micro-USD a minute, and {agreed} were agreed.",
            next_step="Repeat the dry run to see the new ceiling. Nothing was started.",
        )


def _gpu_use(data: str) -> GpuUse | None:
    try:
        gpus = list(values(json.loads(data), "gpus"))
    except ValueError:
        return None
    if not gpus:
        return None
    return GpuUse(
        gpus=len(gpus),
        utilization=sum(amount(gpu, "utilization") for gpu in gpus) / len(gpus),
        memory_used_gb=sum(amount(gpu, "memory_used_bytes") for gpu in gpus) / 1e9,
        memory_total_gb=sum(amount(gpu, "memory_total_bytes") for gpu in gpus) / 1e9,
    )
