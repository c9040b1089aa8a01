"""What a job on Hugging Face Jobs costs: started minutes times the price of its machine. Money is USD."""

import math
from datetime import datetime
from decimal import Decimal

from trl_mcp.backends.base import Job

_MICRO = Decimal(1_000_000)


def cost(job: Job, now: datetime) -> Decimal | None:
    """Return what a job has cost by `now`; None where its price is not known. Waiting in the queue is free."""
    if job.price_micro_usd_per_minute is None:
        return None
    return _price_of(_started_minutes(job, now), job.price_micro_usd_per_minute)


def ceiling(price_micro_usd_per_minute: int, timeout_s: int, attempts: int) -> Decimal:
    """Return the most that a job can cost: every attempt runs into its timeout."""
    return _price_of(math.ceil(timeout_s / 60) * attempts, price_micro_usd_per_minute)


def _started_minutes(job: Job, now: datetime) -> int:
    """Return the minutes billed: by the times, or what the Hub says it ran where that is longer."""
    if job.started_at is None:
        return math.ceil((job.running_s or 0) / 60)
    end = job.finished_at or (job.started_at if job.stage.is_terminal else now)
    seconds = max((end - job.started_at).total_seconds(), job.running_s or 0)
    return max(1, math.ceil(seconds / 60))


def _price_of(minutes: int, micro_usd: int) -> Decimal:
    return minutes * micro_usd / _MICRO
