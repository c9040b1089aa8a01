"""What the paid jobs of a day have cost, and what those that go on may still cost, from the Hub's own list."""

from collections.abc import AsyncIterable, Collection
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal

import anyio

from trl_mcp.backends.base import Job
from trl_mcp.backends.hf_cost import cost
from trl_mcp.backends.hf_jobs import APP, as_job
from trl_mcp.backends.hf_submission import age
from trl_mcp.errors import NotPossible, PermissionMissing
from trl_mcp.estimate.money import ceiling
from trl_mcp.hub.fields import text
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import Identity
from trl_mcp.values import DaySpending


def day_of(now: datetime) -> str:
    """Return the day in UTC, as jobs are labelled with it."""
    return f"{now.astimezone(UTC):%Y-%m-%d}"


def paying_namespaces(identity: Identity, namespace: str) -> list[str]:
    """Return the namespaces whose jobs count: this one, and every other in which the token may run jobs."""
    others = [name for name in (identity.name, *identity.organisations) if identity.why_no_jobs(name) is None]
    return list(dict.fromkeys([namespace, *others]))


async def jobs_of_today(hub: Hub, token: str, namespaces: Collection[str], now: datetime) -> list[Job]:
    """Return this server's jobs of today in these namespaces, the first of which pays next. Raises HubError."""
    jobs: list[Job] = []

    async def look(namespace: str, *, is_needed: bool) -> None:
        try:
            jobs.extend([job async for job in jobs_of_day(hub, token, namespace, day_of(now))])
        except PermissionMissing:  # where the token may not even look it cannot run anything
            if is_needed:
                raise

    try:
        async with anyio.create_task_group() as group:
            for place, namespace in enumerate(namespaces):
                group.start_soon(lambda name=namespace, first=place == 0: look(name, is_needed=first))
    except ExceptionGroup as error_group:
        raise error_group.exceptions[0] from None
    return jobs


def added_up(jobs: Collection[Job], now: datetime, limit: Decimal) -> DaySpending:
    """Return what jobs cost: those that have ended what they ran, the others the most they can.

    Raises NotPossible where a job's price or timeout is not known.
    """
    ended = [_known(cost(job, now), job) for job in jobs if job.stage.is_terminal]
    going_on = [_known(_most(job), job) for job in jobs if not job.stage.is_terminal]
    return DaySpending(limit, sum(ended, Decimal(0)), sum(going_on, Decimal(0)))


def spending_before(ours: Job, jobs: Collection[Job], now: datetime, limit: Decimal) -> DaySpending | None:
    """Return what older jobs cost where ours does not fit beside them; None where it does.

    Of jobs that hosts have submitted at the same time so only those go that pass the limit. Raises NotPossible as
    `added_up`.
    """
    older = added_up([job for job in jobs if age(job) < age(ours)], now, limit)
    return older if not ours.stage.is_terminal and _known(_most(ours), ours) > older.left else None


def _most(job: Job) -> Decimal | None:
    if job.price_micro_usd_per_minute is None or not job.timeout_s:
        return None
    return ceiling(job.price_micro_usd_per_minute, job.timeout_s, job.attempts)


def _known(amount: Decimal | None, job: Job) -> Decimal:
    if amount is None:
        raise NotPossible(
            f"What the job {job.namespace}/{job.id} costs is not known, and so what is left of the limit of this day.",
            next_step="An operator may look at it on the Hub. Nothing was started.",
        )
    return amount


async def jobs_of_day(hub: Hub, token: str, namespace: str, day: str) -> AsyncIterable[Job]:
    """Yield the jobs of this server that were submitted in a namespace on a day (UTC, YYYY-MM-DD). Raises HubError."""
    api = hub.jobs(token, namespace)
    async with aclosing(api.listing({"app": APP, "day": day})) as listed:
        async for raw in listed:
            yield as_job(raw, namespace, api.page(text(raw, "id")))
