"""A histogram of lengths answers for rows that nobody keeps."""

from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.data.lengths import Lengths, length_bin

LENGTHS = st.lists(st.integers(0, 1 << 26), min_size=1, max_size=200)


@given(LENGTHS, LENGTHS)
def test_adding_and_merging_lose_no_row_and_no_character(one: list[int], two: list[int]) -> None:
    added = Lengths().add(one).add(two)
    assert added == Lengths().add(one).merge(Lengths().add(two)) == Lengths().add([*two, *one])
    assert (added.count, added.characters) == (len(one) + len(two), sum(one) + sum(two))


@given(LENGTHS, st.floats(0.01, 1))
def test_a_quantile_is_off_by_no_more_than_a_bin(lengths: list[int], share: float) -> None:
    exact = sorted(lengths)[-int(-share * len(lengths) // 1) - 1]
    found = Lengths().add(lengths).quantile(share)
    assert abs(found - exact) <= exact / 8


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_longer_rows_never_lie_in_an_earlier_bin(one: int, two: int) -> None:
    assert (length_bin(one) <= length_bin(two)) or one > two


def test_the_histogram_stays_small_whatever_comes() -> None:
    assert len(Lengths().add(range(0, 1 << 26, 1009)).bins) <= 250


def test_without_rows_all_is_zero() -> None:
    assert (Lengths().count, Lengths().characters, Lengths().quantile(0.5)) == (0, 0, 0.0)
