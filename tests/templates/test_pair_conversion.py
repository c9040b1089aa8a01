"""What is made of pairs of a better and a worse answer: where their prompt ends, and what is never guessed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.templates.converting import (
    ASSISTANT,
    BAD,
    EXTRAS,
    GPT,
    HUMAN,
    PAIR,
    PAIR_METHODS,
    SYSTEM,
    USER,
    WRONG,
    convert,
    find,
    reason,
    refusal,
)


@pytest.mark.parametrize("method", PAIR_METHODS)
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "How many?", "chosen": "Two.", "rejected": "Three."},
        {"question": "How many?", "chosen": "Two.", "rejected": "Three."},
        {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [WRONG]},
        {"prompt": "How many?", "chosen": [USER, ASSISTANT], "rejected": [USER, WRONG]},
        {"prompt": [USER], "chosen": [USER, ASSISTANT], "rejected": [USER, WRONG]},
        {"chosen": [USER, ASSISTANT], "rejected": [USER, WRONG]},
        {"chosen": [HUMAN, GPT], "rejected": [HUMAN, BAD]},
        {"conversations": [HUMAN], "chosen": GPT, "rejected": BAD},
        {"chosen": json.dumps([USER, ASSISTANT]), "rejected": json.dumps([USER, WRONG])},
        {"chosen": "\n\nHuman: How many?\n\nAssistant: Two.", "rejected": "\n\nHuman: How many?\n\nAssistant: Three."},
    ],
)
def test_pairs_of_every_kind_get_their_prompt_apart(row: dict[str, Any], method: str) -> None:
    assert convert(row, method) == [PAIR]
    judged = [
        {"prompt": [USER], "completion": answer, "label": good} | EXTRAS
        for answer, good in (([ASSISTANT], True), ([WRONG], False))
    ]
    assert convert(row, "kto") == judged


def test_the_prompt_of_a_pair_ends_between_turns_never_inside_one() -> None:
    chosen, rejected = "It is blue.", "It is green."
    sides = {
        side: [USER, {"role": "assistant", "content": text}]
        for side, text in (("chosen", chosen), ("rejected", rejected))
    }
    (converted,) = convert(sides, "dpo")
    assert converted["chosen"][0]["content"] == chosen
    assert converted["rejected"][0]["content"] == rejected


def test_equal_answers_are_kept_with_their_prompt() -> None:
    sides = {"chosen": [SYSTEM, USER, ASSISTANT], "rejected": [SYSTEM, USER, ASSISTANT]}
    expected = {"prompt": [SYSTEM, USER], "chosen": [ASSISTANT], "rejected": [ASSISTANT]}
    assert convert(sides, "dpo") == [expected | EXTRAS]


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [USER, ASSISTANT], "rejected": [USER | {"content": "Why?"}, WRONG]},
        {"prompt": "Why not?", "chosen": [USER, ASSISTANT], "rejected": [USER, WRONG]},
        {"prompt": "How many?", "chosen": [USER, ASSISTANT], "rejected": [WRONG]},
    ],
)
def test_answers_to_different_prompts_are_dropped(row: dict[str, Any]) -> None:
    assert reason(row, "dpo") == "prompts_differ"


def test_pairs_of_texts_without_a_template_are_three_texts() -> None:
    expected = [{"prompt": "How many?", "chosen": "\nTwo.", "rejected": "\nThree."}]
    assert (
        convert({"prompt": "How many?", "chosen": "Two.", "rejected": "Three."}, "dpo", chat_template=False) == expected
    )
    spoken = {
        side: f"\n\nHuman: How many?\n\nAssistant: {text}"
        for side, text in (("chosen", "The two"), ("rejected", "The three"))
    }
    (converted,) = convert(spoken, "dpo", chat_template=False)
    assert convert(spoken | {"prompt": "\n\nHuman: How many?\n\nAssistant:"}, "dpo", chat_template=False) == [converted]
    assert converted["prompt"].endswith("Assistant:")
    assert (converted["chosen"], converted["rejected"]) == (" The two", " The three")


def test_reward_pairs_may_have_a_margin_and_no_prompt() -> None:
    with_margin = {"prompt": "How many?", "chosen": "Two.", "rejected": "Three.", "margin": 2}
    assert convert(with_margin, "reward")[0]["margin"] == 2.0
    bare = {"chosen": "It is two.", "rejected": "It is three."}
    assert convert(bare, "reward") == [bare]


@pytest.mark.parametrize("chat_template", [True, False])
@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt", "rests"),
    [
        ("It is two.", "It is three.", "It is", (" two.", " three.")),
        ("Q: 1 + 1?\nA: two", "Q: 1 + 1?\nA: six", "Q: 1 + 1?\nA:", (" two", " six")),
        ("It is red.", "It isn't.", "It", (" is red.", " isn't.")),
        ("It is two.", "It is", "It", (" is two.", " is")),
        ("It is two.", "It is two.", "It is", (" two.", " two.")),
        ("It is two. ", "It is two.", "It is", (" two. ", " two.")),
        ("Two.", "Three.", "", ("Two.", "Three.")),
        (" Two.", " Three.", "", (" Two.", " Three.")),
    ],
)
def test_the_prompt_of_two_texts_is_the_words_that_both_begin_with(
    chosen: str, rejected: str, prompt: str, rests: tuple[str, str], chat_template: bool
) -> None:
    row = {"chosen": chosen, "rejected": rejected}
    expected = [{"prompt": prompt, "chosen": rests[0], "rejected": rests[1]}]
    for method in ("dpo", "orpo", "cpo"):
        assert convert(row, method, chat_template=chat_template) == expected
    judged = [
        {"prompt": prompt, "completion": rest, "label": good} for rest, good in zip(rests, (True, False), strict=True)
    ]
    assert convert(row, "kto", chat_template=chat_template) == judged


def test_a_text_that_says_nothing_is_no_answer() -> None:
    assert reason({"chosen": "It is two.", "rejected": " "}, "dpo") == "empty_completion"


@given(st.text("ab ?\n"), st.text("ab ?\n", min_size=1), st.text("ab ?\n", min_size=1))
def test_two_texts_are_cut_between_words_and_nothing_of_them_is_lost(opening: str, one: str, other: str) -> None:
    chosen, rejected = opening + one, opening + other
    if not (chosen.strip() and rejected.strip()):
        return
    (pair,) = convert({"chosen": chosen, "rejected": rejected}, "dpo")
    assert (pair["prompt"] + pair["chosen"], pair["prompt"] + pair["rejected"]) == (chosen, rejected)
    assert pair["chosen"].strip()
    assert pair["rejected"].strip()
    assert not pair["prompt"] or (pair["chosen"][0].isspace() and not pair["prompt"][-1].isspace())


@pytest.mark.parametrize("method", ["dpo", "orpo", "cpo", "kto"])
def test_a_text_beside_a_pair_may_be_its_prompt_and_only_the_user_knows(method: str) -> None:
    row = {"topic": "All about boxes", "chosen": "Two boxes.", "rejected": "Three boxes.", "source": "web"}
    error = refusal(row, method)
    assert error.verdict == "needs_columns"
    assert error.suggestions == [{"prompt": "topic"}, {"chosen": "chosen", "rejected": "rejected"}]
    prompted, bare = (convert(row, method, columns=suggestion)[0] for suggestion in error.suggestions)
    assert prompted["prompt"] == [{"role": "user", "content": "All about boxes"}]
    assert bare["prompt"] == ""
    assert "topic" in find([row], method, columns=error.suggestions[1]).sentence


def test_two_texts_of_other_names_can_be_said_to_be_a_pair() -> None:
    suggested = refusal({"good": "It is two.", "bad": "It is three."}, "dpo").suggestions
    assert {"chosen": "good", "rejected": "bad"} in suggested
