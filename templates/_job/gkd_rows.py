"""Rows for generalised knowledge distillation, as tokens: its trainer would cut prompts away to keep answers whole."""

import itertools
from typing import Any


def gkd_rows(dataset: Any, tokenizer: Any, max_length: int | None) -> Any:
    """Return a prompt with its tokens and those of its last answer for each row that fits `max_length` tokens.

    A row's answer is cut at `max_length`; a row of which the prompt alone fills it is left out.
    """
    if dataset is None:
        return None
    encoded = dataset.map(lambda row: gkd_row(row, tokenizer, max_length), remove_columns=dataset.column_names)
    return encoded.filter(lambda row: 1 in row["completion_mask"])


def gkd_row(row: dict[str, Any], tokenizer: Any, max_length: int | None) -> dict[str, Any]:
    """Return one row's prompt text, all its tokens, and which of them are the answer's."""
    prompt, whole = gkd_texts(row, tokenizer)
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    told = tokenizer(whole[shared_letters(prompt, whole) :], add_special_tokens=False)["input_ids"]
    mask = [0] * len(asked) + [1] * len(told)
    return {"prompt": prompt, "input_ids": (asked + told)[:max_length], "completion_mask": mask[:max_length]}


def gkd_texts(row: dict[str, Any], tokenizer: Any) -> tuple[str, str]:
    """Return a row's prompt, and the prompt with the answer, as the model reads them."""
    if isinstance(row.get("prompt"), str):
        return row["prompt"], row["prompt"] + row["completion"] + tokenizer.eos_token
    messages = row["messages"] if "messages" in row else [*row["prompt"], *row["completion"]]
    asked = len(row["prompt"]) if "prompt" in row else last_answer(messages)
    arguments = {"tokenize": False, "tools": row.get("tools"), **(row.get("chat_template_kwargs") or {})}
    prompt = tokenizer.apply_chat_template(messages[:asked], add_generation_prompt=True, **arguments)
    return prompt, tokenizer.apply_chat_template(messages, **arguments)


def shared_letters(prompt: str, whole: str) -> int:
    """Count the letters that begin both: a template may write an answered turn differently from one that it opens."""
    pairs = zip(prompt, whole, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def last_answer(messages: list[dict[str, Any]]) -> int:
    """Return the place of the last turn that the assistant speaks."""
    return max(place for place, message in enumerate(messages) if message["role"] == "assistant")
