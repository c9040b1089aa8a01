"""What single cells are read as."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

cells, texts, turns = load_shared("cells"), load_shared("texts"), load_shared("turns")
USER = {"role": "user", "content": "How many?"}
ASSISTANT = {"role": "assistant", "content": "Two."}
HUMAN, GPT = {"from": "human", "value": "How many?"}, {"from": "gpt", "value": "Two."}
TRANSCRIPT = "\n\nHuman: How many?\n\nAssistant: Two."
ANY_CELL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "tool_calls"]), inner)
    ),
    max_leaves=8,
)
SAID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":#"), min_size=1, max_size=12).filter(
    str.strip
)


def reason(read: Any, *arguments: Any) -> str:
    """Return why a reader drops a row."""
    with pytest.raises(texts.UnusableRowError) as caught:
        read(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (" ", "blank"),
        ("How many?", "text"),
        ("[1, 2]", "text"),
        (json.dumps([USER, ASSISTANT]), "json"),
        (json.dumps(HUMAN), "json"),
        (TRANSCRIPT, "transcript"),
        ("### Human: How many?### Assistant: Two.", "transcript"),
        ("The Human: a study", "text"),
        ("Assistant: How can I help?\n\nHuman: Not at all.", "text"),
        ([USER, ASSISTANT], "messages"),
        ([HUMAN, GPT], "from_value"),
        (USER, "message"),
        (GPT, "from_value_message"),
        ([{"type": "text", "text": "How many?"}], "parts"),
        (["How many?", "Two."], "strings"),
        ([True, False], "labels"),
        (True, "label"),
        (4.5, "number"),
        ([], "empty"),
        ([[1]], "other"),
        ({"answer": 1}, "other"),
        (b"bytes", "other"),
    ],
)
def test_a_cell_is_told_by_its_value(value: Any, kind: str) -> None:
    assert cells.cell_kind(value) == kind


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(ANY_CELL)
def test_any_cell_has_a_kind_and_is_read_as_turns_or_refused_for_a_known_reason(value: Any) -> None:
    assert isinstance(cells.cell_kind(value), str)
    read: list[dict[str, Any]] = []
    why = None
    try:
        read = turns.read_turns(value, {})
    except texts.UnusableRowError as problem:
        why = problem.reason
    assert why is None or why in texts.DROP_REASONS
    assert all(turn["role"] in turns.ROLE_SPEAKERS and ("content" in turn or "tool_calls" in turn) for turn in read)


@pytest.mark.parametrize(
    ("speaker", "role"),
    [("human", "user"), ("gpt", "assistant"), ("Bing", "assistant"), ("SYSTEM", "system"), ("observation", "tool")],
)
def test_speakers_of_other_data_sets_get_the_roles_of_chat_templates(speaker: str, role: str) -> None:
    assert turns.read_turns([{"from": speaker, "value": "a"}], {}) == [{"role": role, "content": "a"}]
    assert turns.read_turns([{"role": speaker, "content": "a"}], {}) == [{"role": role, "content": "a"}]


def test_a_speaker_that_the_run_names_has_the_role_that_it_gives() -> None:
    assert turns.read_turns([{"from": "Angela", "value": "a"}], {"Angela": "user"})[0]["role"] == "user"
    assert reason(turns.read_turns, [{"from": "Angela", "value": "a"}], {}) == "wrong_role"


def test_a_call_becomes_the_assistants_tool_call_and_its_observation_a_tools_turn() -> None:
    said = [
        {"from": "function_call", "value": '{"name": "sum", "arguments": {"of": [1, 2]}}'},
        {"from": "observation", "value": "3"},
    ]
    function = {"name": "sum", "arguments": {"of": [1, 2]}}
    call = {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
    assert turns.read_turns(said, {}) == [call, {"role": "tool", "content": "3"}]


def test_a_call_that_is_no_json_stays_what_the_assistant_says() -> None:
    assert turns.read_turns([{"from": "call", "value": "sum 1 2"}], {}) == [{"role": "assistant", "content": "sum 1 2"}]


def test_text_parts_are_joined_and_no_two_words_are_glued() -> None:
    parts = [{"type": "text", "text": "How"}, {"type": "text", "text": "many"}, {"type": "text", "text": " are left?"}]
    assert turns.read_turns([{"role": "user", "content": parts}], {})[0]["content"] == "How\nmany are left?"


@pytest.mark.parametrize("part", [{"type": "image"}, {"type": "image_url", "image_url": {"url": "x"}}])
def test_a_turn_with_an_image_is_refused_for_it(part: dict[str, Any]) -> None:
    assert reason(turns.read_turns, [{"role": "user", "content": [part]}], {}) == "image"


def test_fields_that_a_reader_added_empty_are_left_out_of_turns_and_tools() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1, "b": None}}}
    padded = [{"role": "assistant", "content": None, "name": None, "tool_calls": [call]}]
    cleaned = {"function": {"name": "f", "arguments": {"a": 1}}}
    assert turns.read_turns(padded, {}) == [{"role": "assistant", "tool_calls": [cleaned]}]
    assert cells.read_tools([{"name": "f", "description": None}]) == [{"name": "f"}]


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.lists(SAID, min_size=1, max_size=4))
def test_a_transcript_is_read_turn_by_turn(said: list[str]) -> None:
    names = ("Human", "Assistant")
    text = "".join(f"\n\n{names[place % 2]}: {words}" for place, words in enumerate(said))
    roles = [("user", "assistant")[place % 2] for place in range(len(said))]
    expected = [{"role": role, "content": words.strip()} for role, words in zip(roles, said, strict=True)]
    assert turns.read_transcript(text) == expected


def test_a_transcript_may_end_where_the_assistant_is_to_speak_only_as_a_prompt() -> None:
    text = "\n\nHuman: How many?\n\nAssistant:"
    assert turns.read_transcript(text, trained=False) == [USER]
    assert reason(turns.read_transcript, text) == "empty_completion"


@pytest.mark.parametrize(
    ("value", "tools"),
    [(None, None), ("", None), ("[]", None), ([], None), ('[{"name": "f"}]', [{"name": "f"}])],
)
def test_tools_are_a_list_or_json_text(value: Any, tools: Any) -> None:
    assert cells.read_tools(value) == tools


@pytest.mark.parametrize("value", ["no json", ["f"], {"name": "f"}, 3])
def test_what_is_no_list_of_functions_is_refused(value: Any) -> None:
    assert reason(cells.read_tools, value) == "bad_tools"


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "True", " yes ", "+1", "thumbs_up", "\U0001f44d"])
def test_a_label_says_yes_in_many_ways(value: Any) -> None:
    assert cells.read_label(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, -1, "false", "No", "bad", "-1", "\U0001f44e"])
def test_a_label_says_no_in_many_ways(value: Any) -> None:
    assert cells.read_label(value) is False


@pytest.mark.parametrize("value", [2, 0.5, "perhaps", "", [True]])
def test_a_label_that_says_neither_is_refused(value: Any) -> None:
    assert reason(cells.read_label, value) == "bad_label"


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(ANY_CELL)
def test_what_is_passed_on_can_always_be_written_as_json(value: Any) -> None:
    try:
        plain = cells.json_value(value)
        why = "bad_text"
    except texts.UnusableRowError as problem:
        plain, why = None, problem.reason
    assert why == "bad_text"
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
