"""What served models say as judges: functions of the answer that they are asked to score."""

import json
import re
from collections.abc import Callable
from typing import Any

ANSWER = re.compile(r"<<<(\w+) answer\n(.*)\n\1>>>", re.DOTALL)
Messages = list[dict[str, Any]]


def answer_in(messages: Messages) -> str:
    """Return the answer between the markers of the question."""
    found = ANSWER.search(messages[-1]["content"])
    assert found is not None, messages
    return found[2]


def scoring(score: Callable[[str], float]) -> Callable[[Messages], str]:
    """Return a judge that gives each answer the score of a function."""
    return lambda messages: json.dumps({"score": score(answer_in(messages))})


def share_of_digits(answer: str) -> float:
    """Return which share of an answer are digits."""
    return sum(letter.isdigit() for letter in answer) / max(1, len(answer))
