"""The clock of the server, for whoever is handed no other."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present time, UTC."""
    return datetime.now(UTC)
