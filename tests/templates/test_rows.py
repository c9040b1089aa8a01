"""Rows on their way through a whole conversion."""

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

rows, conversion = load_shared("rows"), load_shared("conversion")
columns, layouts, texts = load_shared("columns"), load_shared("layouts"), load_shared("texts")
USER = {"role": "user", "content": "How many?"}
ASSISTANT = {"role": "assistant", "content": "Two."}
EXTRAS: dict[str, Any] = {"tools": None, "chat_template_kwargs": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner)
    ),
    max_leaves=8,
)
NAMES = sorted({*layouts.NAMES_WITH_A_PART, "messages", "text", "conversations", "margin", "chat_template_kwargs"})
ANY_ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), min_size=1, max_size=4)


def convert(row: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """Convert a row that is the only one of its data set."""
    found = conversion.find_conversion([row], conversion.RowRules(**rules))
    (converted,) = found.convert(row)
    return converted


def reason(row: dict[str, Any], **rules: Any) -> str:
    """Return why a row is dropped."""
    with pytest.raises(texts.UnusableRowError) as caught:
        convert(row, **rules)
    return caught.value.reason


def assert_is_helpful(error: Any) -> None:
    """Check that an error says what to pass exactly where there is something to pass."""
    assert error.verdict in ("needs_columns", "invalid")
    assert (error.verdict == "needs_columns") == bool(error.suggestions)


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


def test_a_layout_that_columns_names_comes_before_all_others() -> None:
    row = {"messages": [USER, ASSISTANT], "text": "a", "question": "How many?", "answer": "Two."}
    assert convert(row, columns={"text": "text"}) == {"text": "a"}
    named = convert(row, columns={"prompt": "question", "completion": "answer"})
    assert named == {"prompt": [USER], "completion": [ASSISTANT], **EXTRAS}


def test_the_system_prompt_comes_first_in_a_conversation() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert convert({"prompt": "How many?", "completion": "Two."}, system_prompt="Be brief.")["prompt"] == [system, USER]
    assert convert({"messages": [USER, ASSISTANT]}, system_prompt="Be brief.")["messages"][0] == system
    assert convert({"text": "a"}, system_prompt="Be brief.") == {"text": "a"}


def test_a_conversation_keeps_its_own_system_prompt() -> None:
    own = [{"role": "system", "content": "Be kind."}, USER, ASSISTANT]
    assert convert({"messages": own}, system_prompt="Be brief.")["messages"] == own


def test_a_column_of_system_texts_comes_before_the_runs_own() -> None:
    row = {"system": "Be kind.", "question": "How many?", "response": "Two."}
    assert convert(row, system_prompt="Be brief.")["prompt"] == [{"role": "system", "content": "Be kind."}, USER]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": " \n"}, "empty_text"),
        ({"text": "half \ud800"}, "bad_text"),
        ({"prompt": "a", "completion": " "}, "empty_completion"),
        ({"messages": [USER, {"role": "narrator", "content": "a"}]}, "wrong_role"),
        ({"messages": [USER]}, "no_answer"),
        ({"messages": [USER | {"content": None}, ASSISTANT]}, "null_value"),
        ({"messages": [USER, ASSISTANT | {"content": ""}]}, "empty_completion"),
        ({"messages": [USER, ASSISTANT | {"content": ["a"]}]}, "wrong_type"),
        ({"messages": [USER, ASSISTANT], "tools": "none"}, "bad_tools"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_with_its_reason(row: dict[str, Any], why: str) -> None:
    assert reason(row) == why


@pytest.mark.parametrize("row", [{"messages": [USER, ASSISTANT]}, {"prompt": [USER], "completion": "Two."}])
def test_conversations_need_a_chat_template(row: dict[str, Any]) -> None:
    assert reason(row, chat_template=False) == "no_chat_template"


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(ANY_ROWS, st.sampled_from(sorted(layouts.METHOD_TARGETS)), st.booleans())
def test_any_rows_are_converted_alike_or_dropped_or_refused_and_never_changed(
    data: list[dict[str, Any]], method: str, chat_template: bool
) -> None:
    before = copy.deepcopy(data)
    dropped: Counter[str] = Counter()
    rules = conversion.RowRules(method, chat_template=chat_template, system_prompt="Be brief.")
    try:
        found = conversion.find_conversion(data, rules)
    except columns.UnclearColumnsError as error:
        assert_is_helpful(error)
        return
    converted = list(rows.convert_rows(data, rules, dropped))
    assert dropped.keys() <= texts.DROP_REASONS.keys()
    assert len({tuple(row) for row in converted}) <= 1
    assert len({tuple(type(row[name]).__name__ for name in found.targets) for row in converted}) <= 1
    assert data == before


def test_rows_of_another_layout_than_the_first_ones_are_counted_as_dropped() -> None:
    dropped: Counter[str] = Counter()
    mixed = [{"text": "a"}, {"messages": [USER, ASSISTANT]}, {"text": ""}, {"text": "b"}]
    assert list(rows.convert_rows(mixed, conversion.RowRules(), dropped)) == [{"text": "a"}, {"text": "b"}]
    assert dropped == {"mixed_layout": 1, "empty_text": 1}


def test_a_bad_row_behind_the_sample_is_dropped_and_not_the_end_of_the_job() -> None:
    dropped: Counter[str] = Counter()
    good = [{"question": "How many?", "answer": "Two."}] * conversion.FIRST_ROWS
    bad: list[dict[str, Any]] = [{"question": 3, "answer": "Two."}, {"question": "How many?", "answer": None}]
    converted = list(rows.convert_rows([*good, *bad, {"text": "a"}], conversion.RowRules(), dropped))
    assert len(converted) == len(good)
    assert dropped == {"wrong_type": 1, "null_value": 1, "mixed_layout": 1}


def test_a_column_that_columns_names_and_a_row_lacks_is_the_reason() -> None:
    dropped: Counter[str] = Counter()
    data = [{"q": "How many?", "a": "Two."}, {"q": "How many?"}]
    rules = conversion.RowRules(columns={"prompt": "q", "completion": "a"})
    assert len(list(rows.convert_rows(data, rules, dropped))) == 1
    assert dropped == {"missing_column": 1}


def test_no_rows_are_converted_to_no_rows() -> None:
    assert list(rows.convert_rows([], conversion.RowRules(), Counter())) == []


def test_the_reasons_are_explained_with_the_most_frequent_first() -> None:
    said = rows.explain_dropped({"empty_text": 1, "wrong_type": 3})
    assert said == "3 x a value of the wrong type; 1 x an empty text"


def test_only_the_columns_that_a_conversion_reads_are_asked_for() -> None:
    data = [{"id": 1, "question": "How many?", "answer": "Two.", "vector": [0.5]}]
    sft = conversion.find_conversion(data, conversion.RowRules())
    grpo = conversion.find_conversion(data, conversion.RowRules("grpo"))
    assert rows.source_columns(sft) == ["question", "answer"]
    assert set(rows.source_columns(grpo)) == set(data[0])


def test_methods_that_suit_a_data_set_are_found() -> None:
    prompts = ("grpo", "rloo", "online_dpo", "ppo", "distillation")
    pair = {"prompt": "How many?", "chosen": "Two.", "rejected": "Three."}
    assert set(rows.suitable_methods([pair])) == {"dpo", "orpo", "cpo", "reward", "kto", *prompts}
    assert set(rows.suitable_methods([{"question": "How many?", "answer": "Two."}])) == {"sft", "gkd", *prompts}
    assert rows.suitable_methods([{"text": "a b"}]) == ("sft",)
    assert rows.suitable_methods([{"id": 3}]) == ()
    assert "sft" not in rows.suitable_methods([{"messages": [USER, ASSISTANT]}], chat_template=False)
