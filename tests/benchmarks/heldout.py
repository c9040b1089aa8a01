"""Errors on rows whose source and model family were not used for fitting; and fitting itself."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tests.benchmarks.constants import MEMORY, SPEED, Constant
from tests.benchmarks.fitting import fit
from tests.benchmarks.measurements import Row

_SOURCE_POWER = 0.4
_REFIT_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Quantity:
    """Peak memory or throughput: its constants, what was measured and what is predicted of a row."""

    name: str
    constants: dict[str, Constant]
    measured: Callable[[Row], float | None]
    predict: Callable[[Row, Mapping[str, float] | None], float | None]


PEAK = Quantity("peak memory", MEMORY, lambda row: row.scored_memory, lambda row, values: row.peak_gb(values))
RATE = Quantity("throughput", SPEED, lambda row: row.scored_speed, lambda row, values: row.tokens_per_s(values))


def scored(rows: Sequence[Row], quantity: Quantity) -> list[Row]:
    """Return the rows that can be held against what was measured."""
    return [row for row in rows if quantity.measured(row)]


def fit_rows(
    rows: Sequence[Row], quantity: Quantity, start: Mapping[str, float] | None = None, rounds: int = 8
) -> dict[str, float]:
    """Fit the constants to rows. A source of many rows counts for more than one of few, but not by their number."""
    counts = Counter(row.source for row in rows)
    weighted = [(row, cast(float, quantity.measured(row)), counts[row.source] ** -_SOURCE_POWER) for row in rows]
    return fit(
        weighted, lambda row, values: cast(float, quantity.predict(row, values)), quantity.constants, start, rounds
    )


def held_out(rows: Sequence[Row], training: Sequence[Row], quantity: Quantity) -> dict[int, float]:
    """Predict each row with constants fitted to rows of other sources and other families; by place in `rows`.

    `training` are the rows to fit on; those that share a source or a family with the row are left out.
    """
    everything = scored(training, quantity)
    start = fit_rows(everything, quantity)
    fitted: dict[tuple[str, str], dict[str, float]] = {}
    found: dict[int, float] = {}
    for place, row in enumerate(rows):
        if not quantity.measured(row):
            continue
        group = (row.source, row.family)
        if group not in fitted:
            others = [other for other in everything if other.source != row.source and other.family != row.family]
            fewer = len(others) < len(everything)
            fitted[group] = fit_rows(others, quantity, start, _REFIT_ROUNDS) if fewer else start
        found[place] = cast(float, quantity.predict(row, fitted[group]))
    return found


def error_line(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """Return one line of figures: rows, median and 90th percentile of absolute errors, and their lean."""
    errors = [predicted / measured - 1 for predicted, measured in pairs]
    sizes = sorted(abs(error) for error in errors)
    lean = statistics.median(errors)
    return f"{name[:46]:46} {len(sizes):4d} {quantile(sizes, 0.5):8.1%} {quantile(sizes, 0.9):8.1%} {lean:+8.1%}"


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values, between neighbours linearly."""
    place = (len(values) - 1) * share
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
