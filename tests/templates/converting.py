"""Rows converted as a job does it, and what they are expected to become."""

from typing import Any

import pytest

from tests.templates.job_modules import load_shared

conversion, columns, texts = load_shared("conversion"), load_shared("columns"), load_shared("texts")
USER, ASSISTANT = {"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Two."}
SYSTEM, WRONG = {"role": "system", "content": "Be kind."}, {"role": "assistant", "content": "Three."}
HUMAN, GPT, BAD = (
    {"from": "human", "value": "How many?"},
    {"from": "gpt", "value": "Two."},
    {"from": "gpt", "value": "Three."},
)
EXTRAS: dict[str, Any] = {"tools": None, "chat_template_kwargs": {}}
EXCHANGE = {"prompt": [USER], "completion": [ASSISTANT]} | EXTRAS
PAIR = {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [WRONG]} | EXTRAS
PAIR_METHODS = ("dpo", "orpo", "cpo", "reward")
PROMPT_METHODS = ("grpo", "rloo", "online_dpo", "ppo", "distillation")


def find(data: list[dict[str, Any]], method: str = "sft", **rules: Any) -> Any:
    """Return the conversion of rows."""
    return conversion.find_conversion(data, conversion.RowRules(method, **rules))


def convert(row: dict[str, Any], method: str = "sft", **rules: Any) -> list[dict[str, Any]]:
    """Convert a row that is the only one of its data set."""
    return find([row], method, **rules).convert(row)


def reason(row: dict[str, Any], method: str) -> str:
    """Return why a row is dropped."""
    with pytest.raises(texts.UnusableRowError) as caught:
        convert(row, method)
    return caught.value.reason


def refusal(row: dict[str, Any], method: str = "sft", **rules: Any) -> Any:
    """Return the error of rows that do not say what they are for."""
    with pytest.raises(columns.UnclearColumnsError) as caught:
        find([row], method, **rules)
    return caught.value
