"""Runs jobs on Hugging Face Jobs: one caller in one namespace. The Hub is the only record of them."""

import json
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2

from trl_mcp.backends import hf_logs
from trl_mcp.backends.base import Job, JobSpec, LogPiece, Submission
from trl_mcp.backends.hf_jobs import APP, BACKEND, Offer, as_job, script_of
from trl_mcp.backends.hf_submission import Submitter
from trl_mcp.errors import HubError, InvalidArguments, NotFound, PermissionMissing, UnknownJob
from trl_mcp.hub.fields import amount, text, values
from trl_mcp.hub.hub import Hub
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import Flavor, GpuUse, ToolName, call

_METRICS_S = 2.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class HfBackend:
    """Jobs of `namespace` as the token sees them; `locks` is a folder that all servers of this host share."""

    name = BACKEND

    def __init__(
        self, hub: Hub, token: str, namespace: str, *, locks: Path, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        self._hub = hub
        self._token = token
        self._namespace = namespace
        self._jobs = hub.jobs(token, namespace)
        self._submitter = Submitter(hub, self._jobs, namespace, locks, clock)

    async def flavors(self) -> tuple[list[Flavor], float]:
        """Return the machines on offer with their prices, and how old that answer is in seconds. Raises HubError."""
        return await self._hub.flavors(self._token)

    async def submit(self, spec: JobSpec) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises InvalidArguments for what cannot be sent, HubError for what the Hub refuses; after HubUnreachable the
        same submission may be repeated without harm.
        """
        identity = await self._hub.identity(self._token)
        if reason := identity.why_no_jobs(self._namespace):
            raise PermissionMissing(reason, next_step="Nothing was started.")

        async def make_offer() -> Offer:
            price = await self._price(spec.hardware)
            return Offer(price, (await self._hub.bucket(self._token, self._namespace)).id)

        return await self._submitter.submit(spec, make_offer)

    async def inspect(self, job_id: str) -> Job:
        """Return the job as it is now. Raises UnknownJob, HubError."""
        return self._read(await self._raw(job_id))

    async def on_day(self, day: str, limit: int = 1000) -> list[Job]:
        """Return the jobs of this server that were submitted on a day (UTC, YYYY-MM-DD). Raises HubError."""
        return await self._newest({"app": APP, "day": day}, limit)

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
