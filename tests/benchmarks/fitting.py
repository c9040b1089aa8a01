"""Fitting constants to measurements: weighted least absolute errors of logarithms, held near what they were before."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tests.benchmarks.constants import Constant, before

R = TypeVar("R")
_STEP = math.log(1.02)
_SMALL_ERROR = 0.1
_HOLD = 0.05
_LARGEST_MOVE = 0.5
Predict = Callable[[R, Mapping[str, float]], float]


def fit(
    rows: Sequence[tuple[R, float, float]],
    predict: Predict[R],
    constants: dict[str, Constant],
    start: Mapping[str, float] | None = None,
    rounds: int = 8,
) -> dict[str, float]:
    """Return the constants that predict the rows best. A row is what to predict from, what was measured, its weight.

    Gauss-Newton on logarithms, reweighted so that a large error counts by its size and not by its square (Huber): an
    odd measurement cannot pull far. Each constant is held near its value before by its spread.
    """
    values = before(constants) | dict(start or {})
    names = [name for name, constant in constants.items() if constant.spread]
    for _ in range(rounds):
        moves = _moves(rows, predict, constants, values, names)
        for name, move in zip(names, moves, strict=True):
            values[name] *= math.exp(max(-_LARGEST_MOVE, min(_LARGEST_MOVE, move)))
    return values


def _moves(
    rows: Sequence[tuple[R, float, float]],
    predict: Predict[R],
    constants: dict[str, Constant],
    values: dict[str, float],
    names: list[str],
) -> list[float]:
    logs = [math.log(predict(row, values)) for row, _, _ in rows]
    errors = [math.log(measured) - log for (_, measured, _), log in zip(rows, logs, strict=True)]
    weights = [
        weight * _SMALL_ERROR / max(_SMALL_ERROR, abs(error))
        for (_, _, weight), error in zip(rows, errors, strict=True)
    ]
    slopes = [_slope(rows, predict, values, name, logs) for name in names]
    matrix = [
        [sum(w * a * b for w, a, b in zip(weights, first, second, strict=True)) for second in slopes]
        for first in slopes
    ]
    sums = [sum(w * a * e for w, a, e in zip(weights, slope, errors, strict=True)) for slope in slopes]
    for place, name in enumerate(names):
        hold = _HOLD / constants[name].spread ** 2
        matrix[place][place] += hold
        sums[place] -= hold * math.log(values[name] / constants[name].before)
    return solve(matrix, sums)


def _slope(
    rows: Sequence[tuple[R, float, float]],
    predict: Predict[R],
    values: dict[str, float],
    name: str,
    logs: list[float],
) -> list[float]:
    moved = values | {name: values[name] * math.exp(_STEP)}
    return [(math.log(predict(row, moved)) - log) / _STEP for (row, _, _), log in zip(rows, logs, strict=True)]


def solve(matrix: list[list[float]], sums: list[float]) -> list[float]:
    """Solve a system of linear equations by elimination; the matrix is changed."""
    size = len(sums)
    rows = [[*row, total] for row, total in zip(matrix, sums, strict=True)]
    for place in range(size):
        best = max(range(place, size), key=lambda row: abs(rows[row][place]))
        rows[place], rows[best] = rows[best], rows[place]
        for row in rows[place + 1 :]:
            factor = row[place] / rows[place][place]
            for column in range(place, size + 1):
                row[column] -= factor * rows[place][column]
    found = [0.0] * size
    for place in reversed(range(size)):
        known = sum(rows[place][column] * found[column] for column in range(place + 1, size))
        found[place] = (rows[place][size] - known) / rows[place][place]
    return found
