"""What is made of every layout, for every method, told by the columns' names and the cells' values."""

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.converting import (
    ASSISTANT,
    BAD,
    EXCHANGE,
    EXTRAS,
    GPT,
    HUMAN,
    PROMPT_METHODS,
    SYSTEM,
    USER,
    WRONG,
    columns,
    convert,
    find,
    reason,
    refusal,
)

WORD = st.text("abcXYZ.,?", min_size=1, max_size=6)
SAID = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "How many?", "completion": "Two."},
        {"question": "How many?", "answer": "Two.", "id": "x"},
        {"query": "How many?", "response": "Two."},
        {"problem": "How many?", "solution": "Two."},
        {"input": "How many?", "output": "Two."},
        {"instruction": "How many?", "input": "", "output": "Two."},
        {"instruction": "How many?", "input": "", "output": "Two.", "prompt": "### How many? ### Two."},
        {"prompt": [USER], "completion": ASSISTANT},
        {"prompt": json.dumps([USER]), "completion": GPT},
        {"prompt": [{"type": "text", "text": "How many?"}], "completion": "Two."},
        {"prompt": "\n\nHuman: How many?\n\nAssistant:", "response": "Two."},
        {"conversations": [HUMAN], "response": "Two."},
    ],
)
def test_prompts_and_completions_are_found_by_their_kin(row: dict[str, Any]) -> None:
    assert convert(row) == [EXCHANGE]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ASSISTANT], "prompt": "How many?"},
        {"conversations": [HUMAN, GPT], "id": "x"},
        {"dialog": [USER, {"role": "bot", "content": "Two."}]},
        {"anything": json.dumps([HUMAN, GPT])},
        {"text": "\n\nHuman: How many?\n\nAssistant: Two."},
        {"messages": [{"speaker": "Human", "text": "How many?"}, {"speaker": "AI", "text": "Two."}]},
    ],
)
def test_conversations_are_found_by_their_cells(row: dict[str, Any]) -> None:
    assert convert(row) == [{"messages": [USER, ASSISTANT]} | EXTRAS]
    assert convert(row, "gkd") == convert(row)
    for method in PROMPT_METHODS:
        assert convert(row, method)[0]["prompt"] == [USER]


def test_instruction_and_input_are_joined() -> None:
    row = {"instruction": "Add.", "input": "1 1", "output": "2", "system": "", "history": [["Hi", "Hello"]]}
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert convert(row)[0]["prompt"] == [*earlier, {"role": "user", "content": "Add.\n\n1 1"}]
    assert convert(row, chat_template=False) == [{"prompt": "Hi\n\nHello\n\nAdd.\n\n1 1", "completion": "\n2"}]
    assert (
        convert({"instruction": "Add.", "context": "1 1", "response": "2"})[0]["prompt"][0]["content"] == "Add.\n\n1 1"
    )


def test_gkd_reads_prompts_and_completions_as_conversations_too() -> None:
    assert convert({"question": "How many?", "answer": "Two."}, "gkd") == [{"messages": [USER, ASSISTANT]} | EXTRAS]
    assert reason({"messages": [USER, ASSISTANT, USER]}, "gkd") == "last_turn"


def test_tools_and_template_arguments_come_along_as_objects() -> None:
    row = {"messages": [USER, ASSISTANT], "tools": '[{"name": "f"}]', "chat_template_kwargs": '{"thinking": false}'}
    (converted,) = convert(row)
    assert converted["tools"] == [{"name": "f"}]
    assert converted["chat_template_kwargs"] == {"thinking": False}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ASSISTANT], "label": True},
        {"conversations": [HUMAN, GPT], "kto_tag": "true"},
        {"prompt": "How many?", "completion": "Two.", "label": 1},
        {"instruction": "How many?", "input": "", "output": "Two.", "label": "thumbs up"},
    ],
)
def test_judged_answers_are_read_with_their_label(row: dict[str, Any]) -> None:
    assert convert(row, "kto") == [EXCHANGE | {"label": True}]


def test_a_judged_conversation_must_end_with_an_answer_to_something() -> None:
    assert reason({"messages": [USER, ASSISTANT, USER], "label": True}, "kto") == "last_turn"
    assert reason({"messages": [SYSTEM, ASSISTANT], "label": True}, "kto") == "no_question"
    assert reason({"messages": [USER, ASSISTANT], "label": 3}, "kto") == "bad_label"


@pytest.mark.parametrize("method", PROMPT_METHODS)
def test_prompts_keep_every_other_column_for_the_rewards(method: str) -> None:
    row: dict[str, Any] = {"question": "How many?", "answer": "1 + 1 #### 2", "level": 3, "tags": ["x"]}
    rest = {"level": 3, "tags": ["x"]}
    assert convert(row, method) == [{"prompt": [USER], "answer": "1 + 1 #### 2"} | rest]
    named = convert(row, method, columns={"solution": "answer | after ####"})
    assert named == [{"prompt": [USER], "answer": "1 + 1 #### 2", "solution": "2"} | rest]
    renamed = convert(row, method, columns={"solution": "answer"}, chat_template=False)
    assert renamed == [{"prompt": "How many?", "solution": "1 + 1 #### 2"} | rest]


def test_a_column_that_is_passed_on_has_one_type_in_every_row() -> None:
    found = find([{"prompt": "a b", "answer": "7"}], "grpo")
    answers: list[Any] = ["8", None, 9, [1, {"x": 2}]]
    passed = [found.convert({"prompt": "a b", "answer": answer})[0]["answer"] for answer in answers]
    assert passed == ["8", None, "9", '[1, {"x": 2}]']


def test_a_prompt_in_which_nobody_asks_is_dropped() -> None:
    assert reason({"prompt": " ", "answer": "2"}, "grpo") == "empty_prompt"
    assert reason({"prompt": [SYSTEM]}, "grpo") == "no_question"


def test_solutions_in_steps_are_read_with_a_label_for_each() -> None:
    row = {"prompt": "1 + 1?", "completions": ["Add.", "It is 3."], "labels": [True, False]}
    assert convert(row, "prm") == [row]
    assert reason(row | {"labels": [True]}, "prm") == "steps_differ"
    kin = {"question": "1 + 1?", "steps": ["Add.", "It is 3."], "step_labels": [1, 0]}
    assert convert(kin, "prm") == [row]


def test_solutions_with_marked_steps_are_taken_apart() -> None:
    text = "1 + 1? Step 1: Add. \u043a\u0438\nStep 2: It is 3. \u043a\u0438"
    judged = "1 + 1? Step 1: Add. +\nStep 2: It is 3. -"
    expected = {"prompt": "1 + 1?", "completions": ["Step 1: Add.", "Step 2: It is 3."], "labels": [True, False]}
    assert convert({"input": text, "label": judged, "task": "x"}, "prm") == [expected]
    assert reason({"input": text, "label": judged.replace("+\n", "?\n")}, "prm") == "steps_differ"


@pytest.mark.parametrize(
    ("method", "row", "suggested"),
    [
        (
            "sft",
            {"question": "a b", "answer": "c d", "response": "e f"},
            [{"completion": "response"}, {"completion": "answer"}],
        ),
        ("sft", {"one": "a b", "two": "c d e f"}, [{"prompt": "one", "completion": "two"}]),
        ("sft", {"poem": "a b c"}, [{"text": "poem"}]),
        (
            "sft",
            {"text": "a long text", "summary": "a text"},
            [{"prompt": "text", "completion": "summary"}, {"text": "text"}],
        ),
        ("sft", {"left": [USER, ASSISTANT], "right": [USER, WRONG]}, [{"messages": "left"}, {"messages": "right"}]),
        ("sft", {"prompt": "a b", "chosen": "c d", "rejected": "e f"}, [{"prompt": "prompt", "completion": "chosen"}]),
        (
            "sft",
            {"question": "a b", "context": "c d", "answer": "e f"},
            [{"prompt": "{context}\n\n{question}"}, {"prompt": "question"}],
        ),
        ("dpo", {"good": [USER, ASSISTANT], "bad": [USER, WRONG]}, [{"chosen": "good", "rejected": "bad"}]),
        ("dpo", {"q": "a b", "x": "c d e", "y": "f g h i"}, [{"prompt": "q", "chosen": "x", "rejected": "y"}]),
        ("kto", {"messages": [USER, ASSISTANT], "good": True}, []),
        ("grpo", {"problem": "a b", "question": "c d"}, [{"prompt": "question"}, {"prompt": "problem"}]),
        ("grpo", {"text": "a b"}, [{"prompt": "text"}]),
    ],
)
def test_unclear_columns_are_refused_with_the_columns_to_pass(
    method: str, row: dict[str, Any], suggested: list[dict[str, str]]
) -> None:
    error = refusal(row, method)
    assert error.suggestions[: len(suggested)] == suggested
    for suggestion in error.suggestions[:2]:
        assert find([row], method, columns=suggestion).use == suggestion
        assert all(f"{target}={source}" in str(error) for target, source in suggestion.items())


def test_a_label_of_any_name_is_suggested_if_it_has_two_values() -> None:
    data = [{"messages": [USER, ASSISTANT], "verdict": verdict, "id": f"row {verdict}"} for verdict in (True, False)]
    with pytest.raises(columns.UnclearColumnsError) as caught:
        find(data, "kto")
    assert {"label": "verdict"} in caught.value.suggestions
    assert find(data, "kto", columns={"label": "verdict"}).convert(data[1])[0]["label"] is False


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("sft", {"id": 7, "category": "sports"}),
        ("gkd", {"text": "a b"}),
        ("dpo", {"prompt": "a b", "completion": "c d"}),
        ("prm", {"prompt": "a b", "completion": "c d"}),
        ("grpo", {"id": 7}),
    ],
)
def test_too_few_columns_of_text_are_invalid(method: str, row: dict[str, Any]) -> None:
    error = refusal(row, method)
    assert error.verdict == "invalid"
    assert all(name in str(error) for name in row)


def test_a_list_of_texts_is_never_guessed_but_can_be_named_by_place() -> None:
    row = {"turns": ["How many?", "Two."]}
    error = refusal(row)
    assert error.verdict == "invalid"
    assert "prompt=turns.0, completion=turns.1" in str(error)
    assert convert(row, columns={"prompt": "turns.0", "completion": "turns.1"}) == [EXCHANGE]


def test_rows_with_images_are_refused_for_a_text_model() -> None:
    error = refusal({"image": {"bytes": b"x"}, "question": "What is it?", "answer": "A cat."})
    assert error.verdict == "invalid"
    assert "image" in str(error)


def test_a_speaker_can_be_named() -> None:
    row = {"log": [{"role": "Angela", "content": "How many?"}, {"role": "Tom", "content": "Two."}]}
    roles = {"role.Angela": "user", "role.Tom": "assistant"}
    assert convert(row, columns=roles) == [{"messages": [USER, ASSISTANT]} | EXTRAS]


def test_the_sentence_says_what_becomes_of_the_columns() -> None:
    alpaca = find([{"instruction": "a b", "input": "c", "output": "d", "id": 1}])
    assert alpaca.layout == "instruction + input + output"
    assert alpaca.sentence == (
        "instruction and input joined are the prompt, output the completion, as conversations; not read: id"
    )
    sharegpt = find([{"conversations": [HUMAN, GPT]}])
    assert sharegpt.layout == "conversations (from/value)"
    assert sharegpt.sentence == "the from/value turns of conversations become conversations"


def test_the_kinds_of_the_columns_are_known_only_where_all_are_read_whole() -> None:
    row: dict[str, Any] = {"conversations": [HUMAN], "chosen": GPT, "rejected": BAD}
    whole = {"conversations": "from_value", "chosen": "from_value_message", "rejected": "from_value_message"}
    assert find([row], "dpo").reads == whole
    assert find([{"messages": [USER, ASSISTANT], "label": True}], "kto").reads == {
        "messages": "messages",
        "label": "label",
    }
    assert find([{"a": "x y", "b": "z"}], columns={"prompt": "a", "completion": "{b}!"}).reads == {}
    assert find([{"messages": json.dumps([USER, ASSISTANT])}]).reads == {}


def words(value: Any) -> list[str]:
    """Return all words of the texts in a value, in order."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, dict):
        named = cast(dict[str, Any], value)
        return [word for name in named if name not in ("role", "from", "type") for word in words(named[name])]
    return [word for inner in cast(list[Any], value) for word in words(inner)] if isinstance(value, list) else []


def chat(said: list[str], names: tuple[str, str], fields: tuple[str, str]) -> list[dict[str, str]]:
    """Return turns of two speakers."""
    return [{fields[0]: names[place % 2], fields[1]: text} for place, text in enumerate(said)]


def rows_of(said: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return rows of every layout that say the same texts in the same order, with a method for each."""
    first, second, *rest = [f"{place} {text}" for place, text in enumerate(said)]
    pair = [*chat(said[:3], ("user", "assistant"), ("role", "content"))]
    turns = chat(said, ("user", "assistant"), ("role", "content"))
    return [
        ("sft", {"messages": turns}),
        ("gkd", {"messages": turns}),
        ("sft", {"conversations": chat(said, ("human", "gpt"), ("from", "value"))}),
        ("sft", {"messages": json.dumps(turns)}),
        ("sft", {"prompt": first, "completion": second}),
        ("sft", {"instruction": first, "input": second, "output": rest[0]}),
        ("sft", {"system": first, "question": second, "answer": rest[0]}),
        ("sft", {"text": first}),
        ("kto", {"messages": turns, "label": True}),
        ("dpo", {"prompt": pair[:1], "chosen": [pair[1]], "rejected": [{"role": "assistant", "content": rest[0]}]}),
        ("reward", {"prompt": first, "chosen": second, "rejected": rest[0]}),
        ("grpo", {"prompt": first, "answer": second}),
        ("prm", {"prompt": first, "completions": rest, "labels": [True] * len(rest)}),
    ]


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.lists(SAID, min_size=4, max_size=4), st.booleans())
def test_no_word_of_any_layout_is_lost_or_glued_to_another(said: list[str], chat_template: bool) -> None:
    for method, row in rows_of(said):
        is_chat = any(name in row and isinstance(row[name], str | list) for name in ("messages", "conversations"))
        if chat_template or not (is_chat or isinstance(row.get("prompt"), list)):
            (converted,) = convert(row, method, chat_template=chat_template)
            source = [
                json.loads(cell) if name == "messages" and isinstance(cell, str) else cell for name, cell in row.items()
            ]
            assert words(converted) == words(source), (method, row)


@pytest.mark.parametrize(
    ("verdict", "chosen"),
    [
        ({"better_response_id": 1}, "Two."),
        ({"preference_strength": 2}, "Two."),
        ({"winner": "model_b"}, "Two."),
        ({"winner": "model_a"}, "Three."),
        ({"Preferred": "B"}, "Two."),
        ({"better_answer": "response_a"}, "Three."),
        ({"score_a": 1, "score_b": 3.5}, "Two."),
    ],
)
def test_the_better_of_two_answers_is_told_by_a_column_beside_them(verdict: dict[str, Any], chosen: str) -> None:
    row = {"prompt": "How many?", "response_a": "It is: Three.", "response_b": "It is: Two."} | verdict
    (pair,) = convert(row, "dpo")
    assert pair["chosen"] == [{"role": "assistant", "content": f"It is: {chosen}"}]
    assert {answer["completion"][0]["content"]: answer["label"] for answer in convert(row, "kto")} == {
        f"It is: {chosen}": True,
        pair["rejected"][0]["content"]: False,
    }


@pytest.mark.parametrize(
    "verdict", [{"preference_strength": 0}, {"winner": "tie"}, {"preferred": "tie"}, {"score_a": 2, "score_b": 2}]
)
def test_two_answers_without_a_winner_are_left_out(verdict: dict[str, Any]) -> None:
    row = {"prompt": "How many?", "response_a": "It is: Three.", "response_b": "It is: Two."} | verdict
    assert reason(row, "dpo") == "no_winner"


def test_a_conversation_called_history_is_the_prompt_of_the_answers_beside_it() -> None:
    row = {"history": [USER, ASSISTANT, USER], "chosen": "Three.", "rejected": "Two."}
    (pair,) = convert(row, "dpo")
    assert pair["prompt"] == row["history"]
    assert pair["chosen"] == [{"role": "assistant", "content": "Three."}]
    answers = {"answer_1": "There are three of them.", "answer_2": "There are two of them."}
    (pair,) = convert({"history": row["history"], **answers, "preferred": "2"}, "dpo")
    assert (pair["prompt"], pair["chosen"][0]["content"]) == (row["history"], answers["answer_2"])


def test_a_whole_conversation_is_no_completion() -> None:
    assert reason({"prompt": "How many?", "completion": [USER, ASSISTANT]}, "sft") == "whole_answer"


def test_a_list_and_an_object_stand_in_a_text_line_by_line() -> None:
    row = {"ask": "Which?", "lines": ["one", "two"], "marked": {"A": "one", "B": 2, "C": None}}
    made = convert(row, columns={"prompt": "{ask}\n{lines}", "completion": "{marked}"})[0]
    assert made["prompt"][0]["content"] == "Which?\none\ntwo"
    assert made["completion"][0]["content"] == "A: one\nB: 2"


def test_questions_with_their_answers_and_upper_case_speakers_become_turns() -> None:
    asked = [{"input": "How many?", "output": "Two."}, {"input": "And now?", "output": None}]
    assert convert({"talk": asked[:1]})[0]["messages"] == [USER, ASSISTANT]
    assert convert({"talk": asked}, "grpo")[0]["prompt"] == [USER, ASSISTANT, {"role": "user", "content": "And now?"}]
    chat = "USER: How many?\n\n\nASSISTANT: Let me see. <|endoftext|>\n\n\nFUNCTION RESPONSE: 2\n\n\nASSISTANT: Two. <|endoftext|>"
    made = convert({"system": "SYSTEM: Be kind.", "chat": chat})[0]["messages"]
    assert [turn["role"] for turn in made] == ["system", "user", "assistant", "tool", "assistant"]
    assert [made[0], made[-1]] == [{"role": "system", "content": "Be kind."}, ASSISTANT]
