"""What one cell of a data set is, and what it says: turns, a text, a label, tools."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from _job.texts import Row, UnusableRowError, parse_json, read_text

OPENING_SPEAKERS = (["human"], ["user"], ["system"])
SPEAKER_FIELDS = ("role", "from", "speaker")
SPEECH_FIELDS = ("content", "value", "text")
TRANSCRIPT_MARK = re.compile(
    r"(?:\A\s*(?:### ?)?|\n\n|\n*### ?)(Human|Assistant|System|SYSTEM|USER|ASSISTANT|FUNCTION RESPONSE):"
)
EXCHANGE_FIELDS = (
    ("input", "output"),
    ("human", "assistant"),
    ("user", "assistant"),
    ("question", "answer"),
    ("prompt", "response"),
)
CONVERSATION_KINDS = ("messages", "from_value", "exchanges", "json", "transcript")
SPOKEN_KINDS = ("text", "json_strings", *CONVERSATION_KINDS, "message", "from_value_message", "parts")
TRUE_LABELS = frozenset(
    {"1", "true", "yes", "good", "desirable", "chosen", "thumbs up", "thumbs_up", "+", "+1", "\U0001f44d"}
)
FALSE_LABELS = frozenset(
    {"0", "false", "no", "bad", "undesirable", "rejected", "thumbs down", "thumbs_down", "-", "-1", "\U0001f44e"}
)


def cell_kind(value: Any) -> str:
    """Say what a cell holds, by its value alone.

    null, empty, blank, text, json (turns written as text), json_strings (texts so written), transcript (Human: ... Assistant: ...), messages (role/content
    turns), from_value (turns of other field names), exchanges (a question and its answer in each object), message and from_value_message (one such turn), parts (of one
    content), strings, labels, steps, label, number or other.
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return text_kind(value)
    if isinstance(value, bool):
        return "label"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, Mapping):
        kind = turn_kind(value)
        return {"messages": "message", "from_value": "from_value_message"}.get(kind, "other")
    return list_kind(list(value)) if isinstance(value, list | tuple) else "other"


def text_kind(text: str) -> str:
    """Tell plain text from turns that are written as JSON or as a transcript."""
    start = text.lstrip()[:1]
    if not start:
        return "blank"
    if start in "[{":
        inner = cell_kind(parse_json(text))
        if inner == "strings":
            return "json_strings"
        return "json" if inner in ("messages", "from_value", "exchanges", "message", "from_value_message") else "text"
    is_spoken = "Assistant:" in text or "ASSISTANT:" in text
    speakers = [mark.group(1).lower() for mark in TRANSCRIPT_MARK.finditer(text)] if is_spoken else []
    return "transcript" if speakers[:1] in OPENING_SPEAKERS and "assistant" in speakers else "text"


def list_kind(values: list[Any]) -> str:
    """Say what a list holds, judged by all of its members."""
    if not values:
        return "empty"
    if all(isinstance(value, str) for value in values):
        return "strings"
    if all(isinstance(value, bool | int | float) for value in values):
        return "labels"
    if not all(isinstance(value, Mapping) for value in values):
        return "other"
    kinds = {turn_kind(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else "from_value" if kinds == {"messages", "from_value"} else "other"


def turn_kind(turn: Mapping[str, Any]) -> str:
    """Say whether an object is a turn with role and content, a turn of other names, a part of a content, or a step."""
    if isinstance(turn.get("role"), str) and ("content" in turn or turn.get("tool_calls")):
        return "messages"
    has_speech = any(name in turn for name in SPEECH_FIELDS)
    if has_speech and any(isinstance(turn.get(name), str) for name in SPEAKER_FIELDS):
        return "from_value"
    if isinstance(turn.get("type"), str) and "text" in turn:
        return "parts"
    return "exchanges" if exchange_fields(turn) else "other"


def exchange_fields(turn: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the two fields of an object that is a question with its answer and nothing else."""
    said = {name for name, value in turn.items() if value is not None}
    return next((pair for pair in EXCHANGE_FIELDS if pair[0] in said <= set(pair) and pair[1] in turn), None)


def without_nulls(value: Any) -> Any:
    """Return a nested value without empty fields: columns of objects give every object the fields of all."""
    if isinstance(value, Mapping):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_tools(value: Any) -> list[Any] | None:
    """Return the functions a conversation may call, given as a list or as JSON text; None where there are none."""
    tools = parse_json(value) if isinstance(value, str) and value.strip() else value
    if not tools and not (isinstance(value, str) and value.strip() and tools is None):
        return None
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise UnusableRowError("bad_tools")
    return without_nulls(tools)


def read_template_arguments(value: Any) -> Row:
    """Return the arguments of a row's chat template, given as an object or as JSON text."""
    given = parse_json(value) if isinstance(value, str) and value.strip() else value
    if not given and given != []:
        return {}
    if not isinstance(given, Mapping):
        raise UnusableRowError("wrong_type")
    return without_nulls(given)


def read_label(value: Any) -> bool:
    """Return whether an answer is a good one, said by true or false, 1 or 0 (or -1), or by such words."""
    if value is None:
        raise UnusableRowError("null_value")
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        value = f"{value:g}"
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in TRUE_LABELS:
        return True
    if word in FALSE_LABELS:
        return False
    raise UnusableRowError("bad_label")


def json_value(value: Any) -> Any:
    """Return a value made of what JSON knows; dates and the like become text, bytes and what is no number nothing."""
    if isinstance(value, str):
        return read_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): json_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(inner) for inner in value]
    return None if isinstance(value, bytes) else str(value)


def written_value(value: Any) -> str | None:
    """Return a value as text: a text as it is, anything else as JSON."""
    plain = json_value(value)
    return plain if plain is None or isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
