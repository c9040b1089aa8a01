"""Fields of measurements that others wrote down: read by their meaning, or taken as not told."""

import math
import re
from collections.abc import Mapping
from typing import Any

#: Larger numbers than anything that is trained: mistakes.
_LARGEST = 1e15


def number(raw: Mapping[str, Any], name: str) -> float | None:
    """Return a number above zero, also out of a text ("2,048", "24 GB"); None where there is none."""
    value = raw.get(name)
    if isinstance(value, str):
        found = re.search(r"\d[\d,_]*(?:\.\d+)?(?:[eE][+-]?\d+)?", value)
        value = float(found.group().replace(",", "").replace("_", "")) if found else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < _LARGEST and math.isfinite(value) else None


def count(raw: Mapping[str, Any], name: str, otherwise: int = 1) -> int:
    """Return a whole number of at least 1."""
    return max(1, round(number(raw, name) or otherwise))


def text(raw: Mapping[str, Any], name: str) -> str:
    """Return a text in small letters; empty where there is none."""
    value = raw.get(name)
    return value.strip().lower() if isinstance(value, str) else ""


def flag(raw: Mapping[str, Any], name: str) -> bool:
    """Return whether something is so, also out of a text."""
    value = raw.get(name)
    return (
        text(raw, name) in {"true", "yes", "on", "1", "full"} if isinstance(value, str) else value is True or value == 1
    )


def told(raw: Mapping[str, Any], *names: str) -> str:
    """Return several texts as one."""
    return " ".join(text(raw, name) for name in names)
