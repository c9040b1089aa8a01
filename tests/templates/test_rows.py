"""Row conversion."""

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

rows = load_shared("rows")
USER = {"role": "user", "content": "How many?"}
ASSISTANT = {"role": "assistant", "content": "Two."}
EXTRAS: dict[str, Any] = {"tools": None, "chat_template_kwargs": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
    max_leaves=8,
)
ANY_ROW = st.dictionaries(st.sampled_from(["messages", "prompt", "completion", "text", "tools"]), JSON)
WORDS = st.text("ab .\n", min_size=1).filter(str.strip)


def convert(row: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """Convert a row for sft."""
    return rows.convert_row(row, rows.RowRules(**rules))


def reason(row: dict[str, Any], **rules: Any) -> str:
    """Return why a row is dropped."""
    with pytest.raises(rows.UnusableRowError) as caught:
        convert(row, **rules)
    return caught.value.reason


def test_text_stays_as_it_is() -> None:
    assert convert({"text": " a text\n", "id": 7}) == {"text": " a text\n"}


def test_messages_stay_as_they_are() -> None:
    assert convert({"messages": [USER, ASSISTANT]}) == {"messages": [USER, ASSISTANT], **EXTRAS}


def test_strings_become_turns_where_the_model_has_a_chat_template() -> None:
    converted = convert({"prompt": "How many?", "completion": "Two."})
    assert converted == {"prompt": [USER], "completion": [ASSISTANT], **EXTRAS}


def test_strings_stay_apart_where_the_model_has_no_chat_template() -> None:
    converted = convert({"prompt": "in May?", "completion": "Natalia"}, chat_template=False)
    assert converted == {"prompt": "in May?", "completion": "\nNatalia"}


def test_white_space_between_prompt_and_completion_stands_in_the_completion() -> None:
    converted = convert({"prompt": "A: ", "completion": "b"}, chat_template=False)
    assert converted == {"prompt": "A:", "completion": " b"}


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(WORDS, WORDS)
def test_no_word_is_lost_or_glued_to_another(prompt: str, completion: str) -> None:
    converted = convert({"prompt": prompt, "completion": completion}, chat_template=False)
    joined = converted["prompt"] + converted["completion"]
    assert joined.split() == prompt.split() + completion.split()


def test_columns_are_renamed_before_the_layout_is_read() -> None:
    columns = {"prompt": "question", "completion": "answer"}
    row = {"question": "How many?", "answer": "Two.", "prompt": "another", "text": "noise"}
    assert convert(row, columns=columns) == {"prompt": [USER], "completion": [ASSISTANT], **EXTRAS}


def test_two_columns_can_change_places() -> None:
    columns = {"prompt": "completion", "completion": "prompt"}
    converted = convert({"prompt": "Two.", "completion": "How many?"}, columns=columns)
    assert converted["prompt"] == [USER]


def test_a_layout_that_columns_names_comes_first() -> None:
    assert rows.layout_of({"messages": [USER], "text": "a"}, ["text"]) == "text"
    assert rows.layout_of({"messages": [USER], "text": "a"}) == "messages"
    assert rows.layout_of({"prompt": "a"}) is None


def test_the_system_prompt_comes_first_in_a_conversation() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert convert({"prompt": "How many?", "completion": "Two."}, system_prompt="Be brief.")["prompt"] == [system, USER]
    assert convert({"messages": [USER, ASSISTANT]}, system_prompt="Be brief.")["messages"][0] == system
    assert convert({"text": "a"}, system_prompt="Be brief.") == {"text": "a"}


def test_a_conversation_keeps_its_own_system_prompt() -> None:
    own = [{"role": "system", "content": "Be kind."}, USER, ASSISTANT]
    assert convert({"messages": own}, system_prompt="Be brief.")["messages"] == own


def test_empty_fields_of_a_turn_are_left_out() -> None:
    padded = [USER | {"tool_calls": None, "name": None}, ASSISTANT | {"tool_calls": None}]
    assert convert({"messages": padded})["messages"] == [USER, ASSISTANT]


def test_a_turn_that_calls_a_tool_needs_no_content() -> None:
    call: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
    }
    assert "content" not in convert({"messages": [USER, call]})["messages"][1]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": 1}, "no_layout"),
        ({"text": None}, "null_value"),
        ({"text": 3}, "wrong_type"),
        ({"text": " \n"}, "empty_text"),
        ({"text": "half \ud800"}, "bad_text"),
        ({"prompt": "a"}, "null_value"),
        ({"prompt": "a", "completion": " "}, "empty_completion"),
        ({"prompt": 1, "completion": "a"}, "wrong_type"),
        ({"messages": "[]"}, "wrong_type"),
        ({"messages": []}, "wrong_type"),
        ({"messages": [{"from": "human", "value": "a"}]}, "wrong_type"),
        ({"messages": [USER, {"role": "gpt", "content": "a"}]}, "wrong_role"),
        ({"messages": [USER]}, "no_answer"),
        ({"messages": [USER | {"content": None}, ASSISTANT]}, "null_value"),
        ({"messages": [USER, ASSISTANT | {"content": ""}]}, "empty_completion"),
        ({"messages": [USER, ASSISTANT | {"content": ["a"]}]}, "wrong_type"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_with_its_reason(row: dict[str, Any], why: str) -> None:
    assert reason(row) == why


def test_a_column_that_is_not_there_is_named_as_the_reason() -> None:
    assert reason({"question": "a"}, columns={"prompt": "question", "completion": "answer"}) == "missing_column"


@pytest.mark.parametrize("row", [{"messages": [USER, ASSISTANT]}, {"prompt": [USER], "completion": "Two."}])
def test_conversations_need_a_chat_template(row: dict[str, Any]) -> None:
    assert reason(row, chat_template=False) == "no_chat_template"


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(ANY_ROW, st.booleans())
def test_any_row_is_converted_or_dropped_and_never_changed(row: dict[str, Any], chat_template: bool) -> None:
    before = copy.deepcopy(row)
    try:
        converted = convert(row, chat_template=chat_template)
        known = set(converted) <= set(rows.METHOD_TARGETS["sft"])
    except rows.UnusableRowError as problem:
        known = problem.reason in rows.DROP_REASONS
    assert known
    assert row == before


def test_rows_of_another_layout_than_the_first_are_counted_as_dropped() -> None:
    dropped: Counter[str] = Counter()
    mixed = [{"text": "a"}, {"messages": [USER, ASSISTANT]}, {"text": ""}, {"text": "b"}]
    assert list(rows.convert_rows(mixed, rows.RowRules(), dropped)) == [{"text": "a"}, {"text": "b"}]
    assert dropped == {"mixed_layout": 1, "empty_text": 1}


def test_the_reasons_are_explained_with_the_most_frequent_first() -> None:
    said = rows.explain_dropped({"empty_text": 1, "wrong_type": 3})
    assert said == "3 x a value of the wrong type; 1 x an empty text"


def test_columns_that_rules_name_are_read_beside_those_of_the_method() -> None:
    columns = rows.source_columns(rows.RowRules(columns={"prompt": "question"}))
    assert columns[0] == "question"
    assert "messages" in columns
