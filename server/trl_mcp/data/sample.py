"""A few rows that speak for all: chosen while rows pass by, short and long ones alike, the same ones every time."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 4_000
MOST_CHARACTERS = 32_000_000
# Multiples of an odd number near the golden ratio's share of 2**64 are spread evenly, whichever rows are asked for.
_SPREAD = 0x9E3779B97F4A7C15
_FULL = 1 << 64
_STRATA = 65


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A converted row: the number of the row it comes from, and its length as `Lengths` counts it."""

    number: int
    characters: int
    row: Mapping[str, Any]


class Sample:
    """Up to `most_rows` rows, all of them where there are no more; else each doubling of length has its equal share."""

    def __init__(self, most_rows: int = MOST_ROWS, most_characters: int = MOST_CHARACTERS) -> None:
        self._most_rows = most_rows
        self._most_characters = most_characters
        self._rows = 0
        self._characters = 0
        self._added = 0
        self._strata: list[list[tuple[int, int, SampledRow]]] = [[] for _ in range(_STRATA)]
        self._stratum_rows = [0] * _STRATA
        self._stratum_characters = [0] * _STRATA
        # Ranks from here on are no longer taken: a row with a lower one had to go.
        self._limits = [_FULL] * _STRATA

    def wanted(self, first: int, characters: Sequence[int]) -> list[int]:
        """Return which rows of a run would be taken, counted from the first one, whose number is `first`."""
        limits = self._limits
        return [
            place
            for place, count in enumerate(characters)
            if ((first + place) * _SPREAD) % _FULL < limits[count.bit_length()]
        ]

    def wants(self, number: int, characters: int) -> bool:
        """Tell whether a row would be taken."""
        return _rank(number) < self._limits[characters.bit_length()]

    def add(self, sampled: SampledRow) -> None:
        """Take a row that is wanted, and let others go where there are too many."""
        stratum = sampled.characters.bit_length()
        self._added += 1
        heapq.heappush(self._strata[stratum], (-_rank(sampled.number), self._added, sampled))
        self._stratum_rows[stratum] += 1
        self._stratum_characters[stratum] += sampled.characters
        self._rows += 1
        self._characters += sampled.characters
        while self._rows > self._most_rows:
            self._let_go(max(range(_STRATA), key=self._stratum_rows.__getitem__))
        while self._characters > self._most_characters and self._rows > 1:
            self._let_go(max(range(_STRATA), key=self._stratum_characters.__getitem__))

    def rows(self) -> tuple[SampledRow, ...]:
        """Return the rows in the order in which they came."""
        taken = [entry for stratum in self._strata for entry in stratum]
        return tuple(sampled for _, _, sampled in sorted(taken, key=lambda entry: (entry[2].number, entry[1])))

    def _let_go(self, stratum: int) -> None:
        rank, _, sampled = heapq.heappop(self._strata[stratum])
        self._limits[stratum] = -rank
        self._stratum_rows[stratum] -= 1
        self._stratum_characters[stratum] -= sampled.characters
        self._rows -= 1
        self._characters -= sampled.characters


def _rank(number: int) -> int:
    return (number * _SPREAD) % _FULL
