"""How long rows are, in few numbers: a histogram of characters whose bins are narrow enough to speak for their rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

_FINE_BITS = 3
_EXACT_BELOW = 1 << (_FINE_BITS + 1)


def length_bin(characters: int) -> int:
    """Return the number of the bin of a length: eight bins for each doubling, one per length below 16."""
    if characters < _EXACT_BELOW:
        return max(characters, 0)
    coarse = characters.bit_length() - _FINE_BITS - 1
    return (coarse << _FINE_BITS) + (characters >> coarse)


@dataclass(frozen=True, slots=True)
class LengthBin:
    """Rows of nearly the same length: how many, and their characters in all."""

    rows: int
    characters: int

    @property
    def mean(self) -> float:
        """Characters per row."""
        return self.characters / self.rows


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of all kept rows in characters: at most some 250 bins, by their number in ascending order."""

    bins: Mapping[int, LengthBin] = field(default_factory=dict[int, LengthBin])

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Self:
        """Return the histogram of lengths that are given with how often each occurs."""
        rows, characters = Counter[int](), Counter[int]()
        for length, count in counts.items():
            number = length_bin(length)
            rows[number] += count
            characters[number] += count * length
        return cls({number: LengthBin(rows[number], characters[number]) for number in sorted(rows)})

    def add(self, characters: Iterable[int]) -> Self:
        """Return the histogram with further rows of these lengths."""
        return self.merge(type(self).of(Counter(characters)))

    def merge(self, other: Self) -> Self:
        """Return the histogram of the rows of both."""
        nothing = LengthBin(0, 0)
        merged = {
            number: LengthBin(
                self.bins.get(number, nothing).rows + other.bins.get(number, nothing).rows,
                self.bins.get(number, nothing).characters + other.bins.get(number, nothing).characters,
            )
            for number in sorted({*self.bins, *other.bins})
        }
        return type(self)(merged)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(part.rows for part in self.bins.values())

    @property
    def characters(self) -> int:
        """How many characters all rows have together."""
        return sum(part.characters for part in self.bins.values())

    def quantile(self, share: float) -> float:
        """Return the characters that a share of rows (0 to 1) does not exceed, to within a bin; 0.0 without rows."""
        wanted = share * self.count
        seen = 0
        for part in self.bins.values():
            seen += part.rows
            if seen >= wanted:
                return part.mean
        return 0.0
