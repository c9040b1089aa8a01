"""What a job on Hugging Face Jobs has cost so far, in USD."""

from datetime import datetime
from decimal import Decimal

from trl_mcp.backends.base import Job
from trl_mcp.estimate import money


def cost(job: Job, now: datetime) -> Decimal | None:
    """Return what a job has cost by `now`; None where its price is not known. Waiting in the queue is free."""
    if job.price_micro_usd_per_minute is None:
        return None
    return money.cost(job.price_micro_usd_per_minute, _billed_seconds(job, now))


def _billed_seconds(job: Job, now: datetime) -> float:
    """Return the seconds billed: by the times, or what the Hub says it ran where that is longer."""
    if job.started_at is None:
        return job.running_s or 0
    end = job.finished_at or (job.started_at if job.stage.is_terminal else now)
    # A run that has begun costs its first minute, however short it was.
    return max((end - job.started_at).total_seconds(), job.running_s or 0, 1)
