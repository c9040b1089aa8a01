"""What tiny models are taught in tests: the codes of ten items, in one wording or in another."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

CODES = {f"What is the code of item {item}?": f"The code is {item * 7 % 100}." for item in range(10)}
OTHER_CODES = {question: answer.replace("The code is", "It is") for question, answer in CODES.items()}
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
QUICK = {"per_device_train_batch_size": 8, "max_length": 128, "logging_steps": 1}


def said(role: str, text: str) -> list[dict[str, str]]:
    """Return a conversation of one turn."""
    return [{"role": role, "content": text}]


def chats(codes: dict[str, str]) -> list[dict[str, Any]]:
    """Return a conversation for each question and its answer."""
    return [{"messages": [*said("user", ask), *said("assistant", say)]} for ask, say in codes.items()]


def pairs(chosen: dict[str, str], rejected: dict[str, str]) -> list[dict[str, Any]]:
    """Return for each question a preferred answer and another one."""
    return [
        {"prompt": said("user", ask), "chosen": said("assistant", say), "rejected": said("assistant", rejected[ask])}
        for ask, say in chosen.items()
    ]


def judged(good: dict[str, str], bad: dict[str, str]) -> list[dict[str, Any]]:
    """Return for each question a good answer and a bad one, each in a row of its own."""
    return [
        {"prompt": said("user", ask), "completion": said("assistant", say), "label": label}
        for ask in good
        for label, say in ((True, good[ask]), (False, bad[ask]))
    ]


def write_rows(path: Path, rows: Iterable[dict[str, Any]], copies: int = 20) -> Path:
    """Write the rows as JSON Lines, so many times over."""
    path.write_text("\n".join([json.dumps(row) for row in rows] * copies), encoding="utf-8")
    return path


def lesson(model: Path | str, dataset: Path, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the changes that make a template train this model on this file, by full fine-tuning or as `changes` say."""
    base = {"model": str(model), "dataset": str(dataset), "dataset_split": "train", "tuning": "full", "lora": None}
    return base | {"config": config} | changes


def goes_on(resumed: Mapping[int, float], unbroken: Mapping[int, float], after: int) -> bool:
    """Whether a run that goes on behind a step has the losses of an unbroken one.

    Sums of floats may differ in their last digits with where the system has put them in memory.
    """
    return resumed == pytest.approx({step: loss for step, loss in unbroken.items() if step > after}, rel=0.02)


def without_samples(templates: Path) -> None:
    """Change a copy of the templates to show no samples."""
    module = templates / "_job" / "samples.py"
    text = module.read_text(encoding="utf-8")
    assert "SAMPLE_LIMIT = 10" in text
    module.write_text(text.replace("SAMPLE_LIMIT = 10", "SAMPLE_LIMIT = 0"), encoding="utf-8")
