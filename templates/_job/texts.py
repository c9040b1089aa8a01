"""What a single text must be to be trained on, and why a row is dropped.

Every reader returns what it is given without cutting out a word, or raises `UnusableRowError` with the reason.
"""

import json
from typing import Any

Row = dict[str, Any]

DROP_REASONS = {
    "missing_column": "a column, or a place in it, that `columns` names is not there",
    "no_marker": "the text that `| after` looks for does not occur",
    "mixed_layout": "another layout than the first rows",
    "no_chat_template": "a conversation, but the model has no chat template",
    "wrong_type": "a value of the wrong type",
    "wrong_role": "a role that no chat template knows",
    "null_value": "a missing value",
    "bad_text": "text that is not valid Unicode",
    "bad_tools": "tools that are no list of functions",
    "bad_label": "a label that is neither yes nor no",
    "image": "an image, sound or video, which a text model cannot read",
    "no_question": "a prompt in which nobody asks anything",
    "no_answer": "a conversation without an assistant's turn",
    "last_turn": "a conversation that does not end with an assistant's turn",
    "prompts_differ": "a chosen and a rejected answer to different prompts",
    "no_winner": "two answers of which neither is said to be the better one",
    "whole_answer": "a completion that begins with a question: a whole conversation",
    "steps_differ": "not as many labels as steps, or none at all",
    "empty_prompt": "an empty prompt",
    "empty_completion": "an empty answer",
    "empty_text": "an empty text",
}


class UnusableRowError(Exception):
    """A row that no trainer can use; `reason` is a key of `DROP_REASONS`, `column` where that was found, if known."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason
        self.column: str | None = None


def parse_json(text: str) -> Any:
    """Return what a JSON text says, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_text(value: Any, when_empty: str | None = None) -> str:
    """Return the text itself; refuse another type, broken Unicode and, where a reason is given, an empty one."""
    if value is None:
        raise UnusableRowError("null_value")
    if not isinstance(value, str):
        raise UnusableRowError("wrong_type")
    if when_empty and (not value or value.isspace()):
        raise UnusableRowError(when_empty)
    if not value.isascii() and not is_unicode(value):
        raise UnusableRowError("bad_text")
    return value


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: JSON can spell half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
