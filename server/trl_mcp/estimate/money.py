"""The arithmetic of money: whole minutes at a price per minute. Amounts are USD."""

import math
from decimal import ROUND_CEILING, Decimal

_MICRO = Decimal(1_000_000)


def cost(micro_usd_per_minute: int, seconds: float) -> Decimal:
    """Return what a run of so many seconds costs: every started minute counts (Hugging Face Jobs, pricing)."""
    return math.ceil(max(0.0, seconds) / 60) * micro_usd_per_minute / _MICRO


def ceiling(micro_usd_per_minute: int, timeout_s: int, attempts: int) -> Decimal:
    """Return the most a job can cost: all its attempts run into their timeout."""
    return cost(micro_usd_per_minute, timeout_s) * attempts


def at_most(amount: Decimal) -> str:
    """Return a limit for people, rounded up, so that the amount itself never exceeds it."""
    digits = Decimal("0.01") if amount >= Decimal("0.1") else Decimal("0.0001")
    return f"${amount.quantize(digits, ROUND_CEILING)}"


def in_usd(amount: Decimal) -> str:
    """Return an amount for people: two digits after the point, four below ten cents."""
    return f"${amount:.2f}" if amount >= Decimal("0.1") or not amount else f"${amount:.4f}"
