"""From the rows that were measured to all rows: each doubling of length speaks for the rows of that length."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import SampledRow

FIRST_ROWS = 5
WHOLE, CUT, DROPPED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Left:
    """What a max_length leaves of a row: tokens, those of them that are trained on, and its fate."""

    tokens: int
    trained: int
    fate: int


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A row's tokens: its longest sequence and all of them; or why TRL would stop at it."""

    sampled: SampledRow
    longest: int = 0
    total: int = 0
    left: tuple[Left, ...] = ()
    refused: str = ""

    @classmethod
    def of(cls, sampled: SampledRow, answer: Any) -> Self:
        """Read what the worker says of a row."""
        if isinstance(answer, str):
            return cls(sampled, refused=answer)
        longest, total, left = answer
        return cls(sampled, longest, total, tuple(Left(*each) for each in left))


@dataclass(frozen=True, slots=True)
class _Stratum:
    """Rows of one doubling of length: those measured, how many all are, and their characters."""

    measured: tuple[MeasuredRow, ...]
    rows: int
    characters: float

    @property
    def weight(self) -> float:
        return self.rows / len(self.measured)

    @property
    def scale(self) -> float:
        """By how much the characters of all rows exceed those of the measured ones."""
        own = sum(row.sampled.characters for row in self.measured)
        return self.characters / own if own else self.weight


@dataclass(frozen=True, slots=True)
class Weighed:
    """Measured rows with their weights. What is asked of it holds for all rows; where all were measured, exactly."""

    strata: tuple[_Stratum, ...]
    longest: int
    complete: bool

    @property
    def rows_measured(self) -> int:
        """How many rows were measured."""
        return sum(len(stratum.measured) for stratum in self.strata)

    @property
    def total(self) -> int:
        """All tokens of all rows, before anything is cut."""
        return self._sum(lambda row: row.total)

    def left(self, place: int) -> tuple[int, int]:
        """Return the tokens of all rows that the max_length at a place leaves, and those of them that are trained on."""
        kept = self._sum(lambda row: row.left[place].tokens if row.left else 0)
        return kept, self._sum(lambda row: row.left[place].trained if row.left else 0)

    def quantile(self, share: float) -> int:
        """Return the tokens that the longest sequence of a share of rows (0 to 1) does not exceed."""
        rows = sorted((row.longest, stratum.weight) for stratum in self.strata for row in stratum.measured)
        wanted = share * sum(weight for _, weight in rows)
        seen = 0.0
        for length, weight in rows:
            seen += weight
            if seen >= wanted - 1e-9:
                return length
        return 0

    def count(self, is_meant: Callable[[MeasuredRow], bool]) -> int:
        """Return how many of all rows are like those that are meant; at least as many as were seen."""
        seen = [(sum(map(is_meant, stratum.measured)), stratum.weight) for stratum in self.strata]
        return max(sum(count for count, _ in seen), round(sum(count * weight for count, weight in seen)))

    def first(self, is_meant: Callable[[MeasuredRow], bool]) -> tuple[int, ...]:
        """Return the numbers of the first measured rows that are meant."""
        rows = (row for stratum in self.strata for row in stratum.measured)
        return tuple(sorted({row.sampled.number for row in rows if is_meant(row)})[:FIRST_ROWS])

    def percent(self, count: int) -> float:
        """Return a count of rows as percent of all."""
        rows = sum(stratum.rows for stratum in self.strata)
        return round(100 * count / rows, 2) if rows else 0.0

    def cut(self, place: int) -> int:
        """Return how many rows are cut or dropped by the max_length at a place."""
        return self.count(lambda row: _fate(row, place) != WHOLE)

    def dropped(self, place: int) -> int:
        """Return how many rows TRL drops for the max_length at a place."""
        return self.count(lambda row: _fate(row, place) == DROPPED)

    def untrained(self, place: int) -> int:
        """Return how many rows have no token left that is trained on."""
        return self.count(lambda row: is_untrained(row, place))

    def _sum(self, of: Callable[[MeasuredRow], int]) -> int:
        return round(sum(stratum.scale * sum(map(of, stratum.measured)) for stratum in self.strata))


def is_untrained(row: MeasuredRow, place: int) -> bool:
    """Tell whether a row that TRL can read has no token left that is trained on."""
    return bool(row.left) and row.left[place].trained == 0


def weigh(measured: Sequence[MeasuredRow], sample: Sequence[SampledRow], lengths: Lengths) -> Weighed:
    """Weigh measured rows by the lengths of all; where every row was measured, all count once."""
    if len(measured) == len(sample) >= lengths.count:
        every = _Stratum(tuple(measured), len(measured), sum(row.sampled.characters for row in measured))
        return Weighed((every,) if measured else (), _longest(measured), complete=True)
    groups: dict[int, list[MeasuredRow]] = {}
    for row in measured:
        groups.setdefault(row.sampled.characters.bit_length(), []).append(row)
    rows, characters = dict.fromkeys(groups, 0), dict.fromkeys(groups, 0.0)
    for part in lengths.bins.values():
        nearest = _nearest(groups, int(part.mean).bit_length())
        rows[nearest] += part.rows
        characters[nearest] += part.characters
    strata = tuple(_Stratum(tuple(groups[key]), rows[key], characters[key]) for key in sorted(groups))
    longest = max(_longest(measured), round(_tokens_of_longest(strata, lengths)))
    return Weighed(strata, longest, complete=False)


def _nearest(strata: Iterable[int], stratum: int) -> int:
    return min(strata, key=lambda other: abs(other - stratum))


def _tokens_of_longest(strata: Sequence[_Stratum], lengths: Lengths) -> float:
    """Return how many tokens the longest row has if it is like the long ones that were measured."""
    if not strata or not lengths.bins:
        return 0.0
    own = sum(row.sampled.characters for row in strata[-1].measured)
    tokens = sum(row.longest for row in strata[-1].measured)
    return max(part.mean for part in lengths.bins.values()) * tokens / own if own else 0.0


def _longest(rows: Iterable[MeasuredRow]) -> int:
    return max((row.longest for row in rows), default=0)


def _fate(row: MeasuredRow, place: int) -> int:
    return row.left[place].fate if row.left else WHOLE
