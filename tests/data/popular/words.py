"""Invented texts for rows of every layout, different in each row."""

from typing import Any

Row = dict[str, Any]
NAMES = ("harbour", "orchard", "library", "workshop")
SYSTEM = "You are a patient guide to the town."


def ask(row: int) -> str:
    """Return a question."""
    return f"How many doors does the {NAMES[row % 4]} of street {row} have?"


def say(row: int) -> str:
    """Return its answer."""
    return f"The {NAMES[row % 4]} has {row + 2} doors; two of them face south."


def wrong(row: int) -> str:
    """Return a worse answer, about as long."""
    return f"Nobody ever counted the doors of that {NAMES[row % 4]}, not even once."


def about(row: int) -> str:
    """Return a passage that a question is about."""
    return f"Report {row}: the {NAMES[row % 4]} was built with {row + 2} doors. Its roof is of slate."


def think(row: int) -> str:
    """Return a train of thought."""
    return f"Let us see: report {row} names {row + 2} doors, so that is the number."


def turns(row: int, *said: str, system: bool = False) -> list[Row]:
    """Return a conversation, of the question and its answer unless something else is said."""
    spoken = said or (ask(row), say(row))
    opening = [{"role": "system", "content": SYSTEM}] if system else []
    return opening + [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(spoken)]


def shared(row: int, *said: str, system: bool = False) -> list[Row]:
    """Return a conversation as ShareGPT writes it."""
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns(row, *said, system=system)]


def follow(row: int) -> tuple[str, str, str, str]:
    """Return what is said in a conversation of two questions."""
    return ask(row), say(row), f"And how many windows, in street {row}?", f"It has {row + 20} windows."
