"""A value written as a literal reads back as the value it was."""

import ast
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.render.literal import literal

# Surrogates, line separators, quotes and backslashes too: text of any kind may come from a data set.
any_text = st.text(st.characters(), max_size=40) | st.text("\"'\\\n\r\t {}#\u2028\x85\ud800ab", max_size=20)
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@given(json_like)
def test_a_literal_reads_back_as_the_value_it_was(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value


@given(json_like, st.integers(0, 8))
def test_a_literal_reads_back_wherever_it_stands(value: Any, indent: int) -> None:
    tree = ast.parse(f"x = {literal({'inner': value}, indent)}\ny = 1\n")
    assert len(tree.body) == 2
    (assignment, _) = tree.body
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == {"inner": value}


@given(any_text)
def test_the_kind_of_a_text_is_kept(text: str) -> None:
    assert type(ast.literal_eval(literal(text))) is str


@pytest.mark.parametrize("value", [True, 1, 1.0, -0.0, 1e300, 0.1 + 0.2])
def test_the_kind_of_a_number_is_kept(value: float) -> None:
    read = ast.literal_eval(literal(value))
    assert (type(read), read, math.copysign(1, read)) == (type(value), value, math.copysign(1, value))


def test_text_of_several_lines_is_written_as_it_reads() -> None:
    assert literal("one\ntwo\n") == '"""\\\none\ntwo\n"""'


def test_what_is_short_stands_on_one_line_and_what_is_long_on_several() -> None:
    text = literal({"short": [1, 2, 3], "long": ["word" * 10] * 4})
    assert '    "short": [1, 2, 3],\n' in text
    assert max(len(line) for line in text.split("\n")) <= 120


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_without_a_literal_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no Python literal"):
        literal({"x": [value]})


@pytest.mark.parametrize("value", [object(), b"bytes", {1: "a"}, {"a": {1, 2}}])
def test_a_value_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        literal(value)
