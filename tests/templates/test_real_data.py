"""Data sets as their publishers ship them, converted without a word on their columns."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from tests.templates.job_modules import load_shared

rows, conversion, turns = load_shared("rows"), load_shared("conversion"), load_shared("turns")
DATA = Path(__file__).resolve().parents[3] / "shared/data/datasets"
TEXT_FIELDS = ("value", "content")
METHODS = {
    "sharegpt_dummy_conversation.json": "sft gkd",
    "alpaca_en_demo.json": "sft gkd",
    "gsm8k_train.jsonl": "sft gkd",
    "gsm8k_test.jsonl": "sft gkd",
    "dpo_en_demo.json": "dpo orpo cpo reward kto",
    "kto_en_demo.json": "sft gkd kto",
}
PROMPTS = {"grpo", "rloo", "online_dpo", "ppo", "distillation"}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets of ../shared/data/datasets are not here")


def load(name: str) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    text = (DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def said(value: Any) -> list[str]:
    """Return the texts in a cell or in a converted row, without the roles, in order."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, dict):
        named = cast(dict[str, Any], value)
        spoken = [named[field] for field in TEXT_FIELDS if field in named]
        return said(spoken[0] if spoken else list(named.values()))
    return [text for inner in cast(list[Any], value) for text in said(inner)] if isinstance(value, list) else []


def words(value: Any) -> list[str]:
    """Return all words in a cell or a converted row."""
    return [word for text in said(value) for word in text.split()]


def converted(name: str, method: str, chat_template: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a file before and after, of which none may be dropped."""
    before, dropped = load(name), Counter[str]()
    rules = conversion.RowRules(method, chat_template=chat_template)
    after = list(rows.convert_rows(before, rules, dropped))
    assert not dropped
    return before, after


@pytest.mark.parametrize("name", METHODS)
def test_a_real_data_set_suits_the_methods_that_it_was_made_for(name: str) -> None:
    assert set(rows.suitable_methods(load(name))) == {*METHODS[name].split(), *PROMPTS}


@pytest.mark.parametrize(
    ("name", "method", "count", "columns"),
    [
        ("sharegpt_dummy_conversation.json", "sft", 500, ["conversations"]),
        ("alpaca_en_demo.json", "sft", 999, ["instruction", "input", "output"]),
        ("gsm8k_train.jsonl", "sft", 7473, ["question", "answer"]),
        ("gsm8k_test.jsonl", "sft", 1319, ["question", "answer"]),
        ("dpo_en_demo.json", "dpo", 300, ["conversations", "chosen", "rejected"]),
        ("dpo_en_demo.json", "reward", 300, ["conversations", "chosen", "rejected"]),
        ("kto_en_demo.json", "kto", 300, ["messages"]),
    ],
)
def test_every_row_is_converted_and_no_word_is_lost(name: str, method: str, count: int, columns: list[str]) -> None:
    before, after = converted(name, method)
    assert len(before) == len(after) == count
    for old, new in zip(before, after, strict=True):
        assert words([old[column] for column in columns]) == words(new)


@pytest.mark.parametrize(("name", "count"), [("alpaca_en_demo.json", 999), ("gsm8k_train.jsonl", 7473)])
def test_without_a_chat_template_no_word_is_lost_or_glued_to_another(name: str, count: int) -> None:
    before, after = converted(name, "sft", chat_template=False)
    assert len(after) == count
    for old, new in zip(before, after, strict=True):
        assert words(list(old.values())) == (new["prompt"] + new["completion"]).split()


def test_every_role_is_one_that_chat_templates_know() -> None:
    _, after = converted("sharegpt_dummy_conversation.json", "sft")
    roles = Counter(turn["role"] for row in after for turn in row["messages"])
    before = Counter(turn["from"] for row in load("sharegpt_dummy_conversation.json") for turn in row["conversations"])
    assert roles == {"user": before["human"], "assistant": before["gpt"]}


def test_the_balance_of_the_labels_is_that_of_the_file() -> None:
    before, after = converted("kto_en_demo.json", "kto")
    assert [row["label"] for row in before] == [row["label"] for row in after]
    assert all(row["completion"][-1]["role"] == "assistant" and row["prompt"][-1]["role"] == "user" for row in after)
    _, pairs = converted("dpo_en_demo.json", "kto")
    assert Counter(row["label"] for row in pairs) == {True: 300, False: 300}


def test_the_answers_of_pairs_begin_where_they_differ_and_the_prompt_is_the_conversation() -> None:
    before, after = converted("dpo_en_demo.json", "dpo")
    for old, new in zip(before, after, strict=True):
        assert new["chosen"] == [{"role": "assistant", "content": old["chosen"]["value"]}]
        assert new["rejected"] == [{"role": "assistant", "content": old["rejected"]["value"]}]
        assert new["prompt"] == turns.read_turns(old["conversations"], {})


def test_the_solution_of_a_word_problem_is_the_number_after_its_marker() -> None:
    data = load("gsm8k_test.jsonl")
    rules = conversion.RowRules("grpo", {"solution": "answer | after ####"})
    solved = list(rows.convert_rows(data, rules, Counter()))
    assert [row["solution"] for row in solved[:3]] == ["18", "3", "70000"]
    assert all(row["answer"].endswith(row["solution"]) for row in solved)
