"""Splits and slices."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

rows = load_shared("rows")
BOUNDS = st.none() | st.integers(-300, 300)
SHARES = st.none() | st.integers(-100, 100)
COUNTS = st.integers(0, 250)


def text_of(bound: int | None, unit: str = "") -> str:
    """Write a bound as in a slice."""
    return "" if bound is None else f"{bound}{unit}"


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(BOUNDS, BOUNDS, COUNTS)
def test_a_slice_by_rows_takes_what_a_python_slice_takes(start: int | None, stop: int | None, count: int) -> None:
    part = rows.parse_split(f"train[{text_of(start)}:{text_of(stop)}]")
    numbers = range(count)
    first, last = part.bounds(count)
    assert numbers[first:last] == numbers[start:stop]
    assert 0 <= first <= last


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(SHARES, SHARES, COUNTS)
def test_a_slice_by_share_is_rounded_to_the_nearest_row(start: int | None, stop: int | None, count: int) -> None:
    part = rows.parse_split(f"train[{text_of(start, '%')}:{text_of(stop, '%')}]")
    numbers = range(count)
    first, last = part.bounds(count)
    places = [None if bound is None else round(bound * count / 100) for bound in (start, stop)]
    # A share that rounds to no row at all counts from the front, as 0 does.
    assert numbers[first:last] == numbers[places[0] : places[1]]


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.text())
def test_any_text_is_a_split_or_is_refused_with_an_example(text: str) -> None:
    try:
        name = rows.parse_split(text).name
    except ValueError as refusal:
        name = "" if "is no split" in str(refusal) else "another refusal"
    assert text.startswith(name)


@pytest.mark.parametrize("text", ["", "train[", "train[5]", "train[:200%]", "train[1:2:3]", "a b", "train[:5]\n"])
def test_what_is_no_split_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no split"):
        rows.parse_split(text)


@pytest.mark.parametrize(
    ("text", "needed"), [("train", False), ("train[5:9]", False), ("train[-5:]", True), ("train[:5%]", True)]
)
def test_rows_are_counted_only_where_the_bounds_depend_on_it(text: str, needed: bool) -> None:
    assert rows.parse_split(text).needs_count is needed
