"""The right sides of `columns`."""

from typing import Any

import pytest

from tests.templates.job_modules import load_shared

columns, texts = load_shared("columns"), load_shared("texts")
ROW = {
    "turns": ["How many?", "Two."],
    "data": {"text": "inside", "list": [{"a": 1}]},
    "packed": '{"text": "unpacked"}',
    "data.text": "a column with a dot",
    "answer": "1 + 1 = 2 #### no #### 2 ",
    "question": "How many?",
}


def value(source: str, row: dict[str, Any] = ROW) -> Any:
    """Return what a source takes out of a row."""
    return columns.parse_source(source, list(row)).get(row)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("question", "How many?"),
        ("turns.0", "How many?"),
        ("turns.-1", "Two."),
        ("data.list.0.a", 1),
        ("packed.text", "unpacked"),
        ("{question}\n\n{turns.1}", "How many?\n\nTwo."),
        ("{{x}} {data.list.0.a}", "{x} 1"),
        ("answer | after ####", "2"),
        ("answer|after = ", "2 #### no #### 2"),
        ("turns.0 | after How", "many?"),
    ],
)
def test_a_source_takes_a_value_out_of_a_row(source: str, expected: Any) -> None:
    assert value(source) == expected


def test_a_column_whose_name_has_a_dot_comes_before_a_path() -> None:
    assert value("data.text") == "a column with a dot"
    assert value("data.text", {"data": {"text": "inside"}}) == "inside"


@pytest.mark.parametrize(
    ("source", "row", "reason"),
    [
        ("turns.2", {"turns": ["a"]}, "missing_column"),
        ("turns.x", {"turns": ["a"]}, "missing_column"),
        ("turns.0", {"turns": None}, "missing_column"),
        ("a | after ####", {"a": "no marker"}, "no_marker"),
        ("a | after ####", {"a": None}, "null_value"),
        ("{a} {b}", {"a": "x", "b": None}, "null_value"),
        ("{a} {b}", {"a": "x", "b": [["y"]]}, "wrong_type"),
        ("{a} {b}", {"a": "x", "b": []}, "wrong_type"),
    ],
)
def test_a_row_where_a_source_finds_nothing_is_dropped_with_the_reason(
    source: str, row: dict[str, Any], reason: str
) -> None:
    with pytest.raises(texts.UnusableRowError) as caught:
        value(source, row)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt": "questoin"}, "did you mean question"),
        ({"prompt": "{questoin}"}, "did you mean question"),
        ({"prompt": "turns.7"}, "prompt=turns.7 leads nowhere in the first 1 rows"),
        ({"answer": "answer | before ####"}, "write `column | after MARKER`"),
        ({"answer": "answer | after"}, "write `column | after MARKER`"),
        ({"prompt": "{{question}}"}, "no {column} stands in"),
        ({"role.bot": "robot"}, "robot is no role; one of system, user, assistant, tool is"),
    ],
)
def test_columns_that_name_what_is_not_there_are_refused_with_what_is(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(columns.WrongColumnsError) as caught:
        columns.map_sources(wrong, list(ROW), [ROW])
    assert said in str(caught.value)
    assert caught.value.names == tuple(ROW)


def test_a_renamed_column_is_gone_by_its_old_name_and_one_that_is_read_in_part_stays() -> None:
    found = columns.map_sources({"prompt": "question", "solution": "answer | after ####"}, list(ROW), [ROW])
    assert "question" not in found.sources
    assert {"prompt", "solution", "answer"} <= found.sources.keys()
    assert found.pinned == {"prompt", "solution"}


def test_two_columns_can_change_places() -> None:
    row = {"prompt": "Two.", "completion": "How many?"}
    found = columns.map_sources({"prompt": "completion", "completion": "prompt"}, list(row), [row])
    assert {name: source.get(row) for name, source in found.sources.items()} == {
        "prompt": "How many?",
        "completion": "Two.",
    }
