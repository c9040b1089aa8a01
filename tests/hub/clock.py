"""Times as the Hub writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def isoformat(moment: datetime) -> str:
    """Write a time with milliseconds and a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
