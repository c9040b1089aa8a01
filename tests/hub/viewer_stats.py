"""Column statistics as the data-set viewer computes them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.hub.tables import Table

BINS = 10
MAX_LABELS = 30
MAX_LABEL_SHARE = 0.2


def _histogram(values: Sequence[float], *, whole: bool) -> dict[str, Any]:
    low, high = min(values), max(values)
    if low == high:
        return {"hist": [len(values)], "bin_edges": [low, high]}
    width = (high - low) / BINS
    if whole:
        width = max(1, -(-int(high - low + 1) // BINS))
    count = min(BINS, int((high - low) // width) + 1)
    hist = [0] * count
    for value in values:
        hist[min(count - 1, int((value - low) // width))] += 1
    return {"hist": hist, "bin_edges": [low + index * width for index in range(count)] + [high]}


def _numbers(values: Sequence[float], missing: int, *, whole: bool) -> dict[str, Any]:
    known: dict[str, Any] = dict.fromkeys(("min", "max", "mean", "median", "std", "histogram"))
    if values:
        known = {
            "min": min(values),
            "max": max(values),
            "mean": round(statistics.fmean(values), 5),
            "median": statistics.median(values),
            "std": round(statistics.stdev(values), 5) if len(values) > 1 else 0.0,
            "histogram": _histogram(values, whole=whole),
        }
    return _missing(missing, len(values) + missing) | known


def _missing(missing: int, total: int) -> dict[str, Any]:
    return {"nan_count": missing, "nan_proportion": round(missing / total, 5) if total else 0.0}


def _texts(values: Sequence[str], missing: int) -> tuple[str, dict[str, Any]]:
    counts = Counter(values)
    if len(counts) <= MAX_LABELS and len(counts) <= MAX_LABEL_SHARE * len(values):
        labels = {"n_unique": len(counts), "frequencies": dict(counts)}
        return "string_label", _missing(missing, len(values) + missing) | labels
    return "string_text", _numbers([len(value) for value in values], missing, whole=True)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _column(table: Table, name: str) -> dict[str, Any] | None:
    kind, everything = table.kind(name), table.values(name)
    values = [value for value in everything if value is not None and not _is_nan(value)]
    missing = len(everything) - len(values)
    if kind is None:
        return None
    if kind == "string":
        kind, found = _texts(values, missing)
    elif kind == "bool":
        counts = Counter(str(value) for value in values)
        found = _missing(missing, len(everything)) | {"frequencies": dict(counts)}
    else:
        numbers = [len(value) for value in values] if kind == "list" else values
        found = _numbers(numbers, missing, whole=kind != "float")
    return {"column_name": name, "column_type": kind, "column_statistics": found}


def column_statistics(table: Table) -> list[dict[str, Any]]:
    """Describe each column for which there is something to compute."""
    found = (_column(table, name) for name in table.columns)
    return [column for column in found if column is not None]
