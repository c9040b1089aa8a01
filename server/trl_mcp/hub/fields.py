"""Tolerant reading of JSON answers: what is missing or of another kind than expected is empty or None."""

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast


def dig(raw: object, *path: str) -> Any:
    """Return what lies at a path of keys, None where there is nothing."""
    for key in path:
        raw = cast("dict[str, object]", raw).get(key) if isinstance(raw, dict) else None
    return raw


def text(raw: object, *path: str) -> str:
    """Return the text at a path, or nothing."""
    value = dig(raw, *path)
    return value if isinstance(value, str) else ""


def whole(raw: object, *path: str) -> int | None:
    """Return the number at a path, without its fraction; numbers written as text count."""
    value = dig(raw, *path)
    with suppress(ValueError, OverflowError):
        if isinstance(value, int | float | str) and not isinstance(value, bool) and math.isfinite(float(value)):
            return int(float(value))
    return None


def amount(raw: object, *path: str) -> float:
    """Return the number that a text such as "24 GB" starts with; 0 where there is none."""
    value = str(dig(raw, *path)).split()
    with suppress(ValueError, IndexError):
        return float(value[0])
    return 0.0


def items(raw: object, *path: str) -> Iterator[Any]:
    """Return the entries of the list at a path."""
    value = dig(raw, *path)
    return iter(cast("list[Any]", value) if isinstance(value, list) else [])


def texts(raw: object, *path: str) -> tuple[str, ...]:
    """Return the texts in the list at a path; a text alone counts as a list of one."""
    value = dig(raw, *path)
    return (value,) if isinstance(value, str) else tuple(item for item in items(raw, *path) if isinstance(item, str))


def moment(raw: object, *path: str) -> datetime | None:
    """Return the time at a path, UTC."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text(raw, *path))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def string_map(raw: object, *path: str) -> dict[str, str]:
    """Return the object at a path as names with texts."""
    value = dig(raw, *path)
    pairs = cast("dict[object, object]", value).items() if isinstance(value, dict) else ()
    return {str(name): str(item) for name, item in pairs if item is not None}


def values(raw: object, *path: str) -> Iterator[Any]:
    """Return what the object at a path holds, without the names."""
    value = dig(raw, *path)
    return iter(cast("dict[str, Any]", value).values() if isinstance(value, dict) else [])
