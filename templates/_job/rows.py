"""Rows as a trainer wants them, made from rows as a data set has them.

This module and those it is made of use the standard library only and do no input or output: the server runs the very
same code to show a person what a job will train on. What they promise:

* A row becomes rows with the trainer's columns and nothing else, or is dropped for a reason (`DROP_REASONS`). It is
  neither changed nor is a word cut out of it.
* All rows of one conversion have the same columns.
* A method is one entry in `METHOD_TARGETS` (the columns it reads) and one in `METHOD_FORMS`.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from _job.columns import UnclearColumnsError
from _job.conversion import FIRST_ROWS, Conversion, RowRules, converts, find_conversion
from _job.layouts import METHOD_TARGETS
from _job.texts import DROP_REASONS, Row, UnusableRowError

CONVERSATION_EXTRAS = ("tools", "chat_template_kwargs")
SPLIT_PATTERN = re.compile(r"(\w+(?:\.\w+)*)(?:\[(?:(-?\d[\d_]*)(%)?)?:(?:(-?\d[\d_]*)(%)?)?\])?", re.ASCII)


@dataclass(frozen=True)
class SplitSlice:
    """A part of a split, as in train[10%:20%]; without bounds the whole of it."""

    name: str
    start: int | None = None
    stop: int | None = None
    percent: bool = False

    @property
    def needs_count(self) -> bool:
        """Whether the bounds depend on how many rows the split has."""
        return self.percent or min(self.start or 0, self.stop or 0) < 0

    def bounds(self, count: int) -> tuple[int, int]:
        """Return the first row and the row after the last one, rounded as the `datasets` library does."""
        start = 0 if self.start is None else self._bound(self.start, count)
        stop = count if self.stop is None else self._bound(self.stop, count)
        return start, max(start, stop)

    def _bound(self, bound: int, count: int) -> int:
        place = round(bound * count / 100.0) if self.percent else bound
        return min(max(count + place, 0) if place < 0 else place, count)


def parse_split(text: str) -> SplitSlice:
    """Read a split with or without a slice: train, train[:10%], train[100:200], train[-50:]."""
    found = SPLIT_PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no split: write it as train, train[:10%] or train[100:200]")
    name, start, start_percent, stop, stop_percent = found.groups()
    percent = bool(start_percent or stop_percent)
    bounds = [None if bound is None else int(bound) for bound in (start, stop)]
    if percent and any(abs(bound or 0) > 100 for bound in bounds):
        raise ValueError(f"{text!r} is no split: a share lies between -100% and 100%")
    return SplitSlice(name, bounds[0], bounds[1], percent)


def source_columns(source: RowRules | Conversion, names: Iterable[str] = ()) -> list[str]:
    """List the columns that must be read, of all `names`; without a conversion yet, that is every one."""
    return list(names) if isinstance(source, RowRules) else list(source.source_names)


def convert_rows(
    rows: Iterable[Mapping[str, Any]], rules: RowRules | Conversion, dropped: Counter[str]
) -> Iterator[Row]:
    """Yield the rows that can be used, and count the others by their reason.

    Rules find their conversion in the first rows; raises UnclearColumnsError where those do not say what they are for.
    """
    waiting = iter(rows)
    if isinstance(rules, RowRules):
        first = list(itertools.islice(waiting, FIRST_ROWS))
        if not first:
            return
        rules, waiting = find_conversion(first, rules), itertools.chain(first, waiting)
    for row in waiting:
        try:
            yield from rules.convert(row)
        except UnusableRowError as problem:
            dropped[problem.reason] += 1


def suitable_methods(rows: Sequence[Mapping[str, Any]], chat_template: bool = True) -> tuple[str, ...]:
    """Return the methods that the first rows can train as they are."""
    return tuple(method for method in METHOD_TARGETS if suits(rows, RowRules(method, chat_template=chat_template)))


def suits(rows: Sequence[Mapping[str, Any]], rules: RowRules) -> bool:
    """Tell whether at least one of the first rows can be used."""
    try:
        conversion = find_conversion(rows, rules)
    except UnclearColumnsError:
        return False
    return any(converts(conversion.shaper, row) for row in rows[:FIRST_ROWS])


def layout_of(row: Mapping[str, Any]) -> str:
    """Name the layout of a converted row by its columns."""
    return "+".join(name for name in row if name not in CONVERSATION_EXTRAS)


def explain_dropped(dropped: Mapping[str, int]) -> str:
    """Say in words why rows were dropped, the most frequent reason first."""
    ranked = sorted(dropped.items(), key=lambda item: -item[1])
    return "; ".join(f"{count} x {DROP_REASONS[reason]}" for reason, count in ranked)
