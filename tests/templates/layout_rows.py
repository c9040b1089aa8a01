"""Rows in every layout that TRL's trainers know, and in those that they fail on, eight of each.

The layouts are those of TRL 1.16.0's documentation of dataset formats, and what its trainers' source reads.
"""

from typing import Any

Row = dict[str, Any]
COUNT = 8
IMAGE = {"bytes": None, "path": "picture.png"}


def turn(role: str, text: str) -> Row:
    """Return one turn."""
    return {"role": role, "content": text}


def talk(number: int, answer: str) -> list[Row]:
    """Return a question with an answer."""
    return [turn("user", ask(number)), turn("assistant", answer)]


def ask(number: int) -> str:
    """Return a question."""
    return f"What is the code of item {number}?"


def good(number: int) -> str:
    """Return its right answer."""
    return f"The code is {number * 7 % 100}."


def bad(number: int) -> str:
    """Return a wrong one."""
    return f"I think it is {number}."


def from_value(turns: list[Row]) -> list[Row]:
    """Return turns as ShareGPT writes them."""
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names[each["role"]], "value": each["content"]} for each in turns]


def row(layout: str, number: int) -> Row:
    """Return a row of a layout."""
    question, chosen, rejected = [turn("user", ask(number))], talk(number, good(number)), talk(number, bad(number))
    rows: dict[str, Row] = {
        "text": {"text": f"{ask(number)} {good(number)}"},
        "messages": {"messages": chosen},
        "conversations from/value": {"conversations": from_value(chosen)},
        "conversations role/content": {"conversations": chosen},
        "messages as JSON": {"messages": str(chosen).replace("'", '"')},
        "prompt+completion": {"prompt": ask(number), "completion": good(number)},
        "prompt+completion turns": {"prompt": question, "completion": chosen[1:]},
        "instruction+output": {"instruction": ask(number), "output": good(number)},
        "pair": {"prompt": ask(number), "chosen": good(number), "rejected": bad(number)},
        "pair turns": {"prompt": question, "chosen": chosen[1:], "rejected": rejected[1:]},
        "pair without prompt": {"chosen": f"{ask(number)} {good(number)}", "rejected": f"{ask(number)} {bad(number)}"},
        "pair with nothing in common": {"chosen": good(number), "rejected": bad(number)},
        "pair of conversations": {"chosen": chosen, "rejected": rejected},
        "pair of conversations beside a text prompt": {"prompt": ask(number), "chosen": chosen, "rejected": rejected},
        "pair of texts beside prompt turns": {"prompt": question, "chosen": good(number), "rejected": bad(number)},
        "pair with margin": {"chosen": chosen, "rejected": rejected, "margin": 0.5},
        "judged": {"prompt": ask(number), "completion": good(number), "label": number % 2 == 0},
        "judged turns": {"prompt": question, "completion": chosen[1:], "label": number % 2 == 0},
        "judged by words": {"prompt": ask(number), "completion": good(number), "label": ["False", "True"][number % 2]},
        "prompt": {"prompt": ask(number)},
        "prompt turns": {"prompt": question},
        "steps": {"prompt": ask(number), "completions": [good(number), bad(number)], "labels": [True, False]},
        "tokens": {"input_ids": [number, 5, 6, 7], "labels": [-100, 5, 6, 7]},
        "tokens of a pair": {"chosen_ids": [number, 5, 6], "rejected_ids": [number, 7, 8]},
        "images": {"images": [IMAGE], "messages": chosen},
        "image with a pair": {"image": IMAGE, "prompt": ask(number), "chosen": good(number), "rejected": bad(number)},
        "image with a prompt": {"image": IMAGE, "prompt": ask(number)},
    }
    return rows[layout]


def rows_of(layout: str) -> list[Row]:
    """Return the rows of a layout."""
    return [row(layout, number) for number in range(COUNT)]


# Which trainer takes which layout as it is, with what its config calls for.
TAKEN: dict[str, tuple[str, ...]] = {
    "sft": ("text", "messages", "conversations from/value", "prompt+completion", "prompt+completion turns"),
    "dpo": ("pair", "pair turns", "pair without prompt", "pair of conversations"),
    "kto": ("judged", "judged turns", "pair", "pair turns", "pair without prompt", "pair of conversations"),
    "reward": ("pair without prompt", "pair of conversations", "pair", "pair turns", "pair with margin"),
    "grpo": ("prompt", "prompt turns"),
    "rloo": ("prompt", "prompt turns"),
    "distillation": ("prompt", "prompt turns"),
    "orpo": ("pair", "pair turns"),
    "cpo": ("pair", "pair turns"),
    "gkd": ("messages", "prompt+completion", "prompt+completion turns"),
    "online_dpo": ("prompt", "prompt turns"),
    "ppo": ("prompt", "prompt turns"),
    "prm": ("steps",),
}
WITHOUT_PROMPT = (
    "pair without prompt",
    "pair with nothing in common",
    "pair of conversations",
    "pair of conversations beside a text prompt",
)
# What its trainer fails on, or trains nothing with, though all that it needs is there.
CONVERTED: dict[str, tuple[str, ...]] = {
    "sft": ("conversations role/content", "messages as JSON", "instruction+output"),
    "dpo": (
        "pair with nothing in common",
        "pair of conversations beside a text prompt",
        "pair of texts beside prompt turns",
    ),
    "kto": ("judged by words", "pair with nothing in common", "pair of conversations beside a text prompt"),
    "orpo": WITHOUT_PROMPT,
    "cpo": WITHOUT_PROMPT,
    "gkd": ("conversations from/value", "instruction+output"),
    "grpo": ("messages", "prompt+completion"),
    "ppo": ("messages", "instruction+output"),
}
# What cannot be trained on, and a word of the reason: pictures, and tokens of a tokenizer that nobody knows.
REFUSED: dict[str, dict[str, str]] = {
    "sft": {"tokens": "lists of numbers", "images": "a text model cannot read"},
    "dpo": {"image with a pair": "a text model cannot read"},
    "kto": {"tokens": "lists of numbers"},
    "reward": {"tokens of a pair": "lists of numbers"},
    "grpo": {"image with a prompt": "a text model cannot read", "tokens": "lists of numbers"},
    "rloo": {"image with a prompt": "a text model cannot read"},
    "prm": {"prompt+completion": "completions", "tokens": "lists of numbers"},
}
