"""Timeouts as people write them."""

import re

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import shorten

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TIMEOUT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)", re.ASCII)


def timeout_seconds(text: str) -> int | None:
    """Return a timeout in seconds; None for "auto". Raises InvalidArguments naming the forms it may have."""
    text = text.strip()
    if text.lower() == "auto":
        return None
    found = _TIMEOUT.fullmatch(text.lower())
    seconds = round(float(found.group(1)) * _UNITS[found.group(2)]) if found else 0
    if not 1 <= seconds <= 30 * 86400:
        raise InvalidArguments(
            f'timeout cannot be "{shorten(text)}".',
            allowed="It is auto, or a time such as 90m, 2h or 1d, of at most 30d.",
            next_step="Nothing was started.",
        )
    return seconds


def in_words(seconds: float) -> str:
    """Return a time span for people: 45 s, 12 min, 2 h 5 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
