"""Rows as a trainer wants them, made from rows as a data set has them.

This module uses the standard library only and does no input or output: the server runs the very same code to
show a person what a job will train on. What it promises:

* `convert_row` returns a new row with the trainer's columns and nothing else, or raises `UnusableRowError` with the
  reason why the row must be dropped. It neither changes the row that it is given nor cuts a word out of it.
* All rows that one set of `RowRules` converts have the same columns for the same layout.
* A method is one entry in `METHOD_TARGETS` (the columns it reads) and one in `ROW_CONVERTERS`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

DROP_REASONS = {
    "missing_column": "a column that `columns` names is not there",
    "no_layout": "neither messages, nor prompt and completion, nor text is there",
    "mixed_layout": "another layout than the rows before it",
    "no_chat_template": "a conversation, but the model has no chat template",
    "wrong_type": "a value of the wrong type",
    "wrong_role": "a role that no chat template knows",
    "null_value": "a missing value",
    "bad_text": "text that is not valid Unicode",
    "no_answer": "a conversation without an assistant's turn",
    "empty_completion": "an empty answer",
    "empty_text": "an empty text",
}
MESSAGE_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython"})
CONVERSATION_EXTRAS = ("tools", "chat_template_kwargs")
LAYOUT_TARGETS = {"messages": ("messages",), "prompt+completion": ("prompt", "completion"), "text": ("text",)}
METHOD_TARGETS = {"sft": ("messages", "prompt", "completion", "text", *CONVERSATION_EXTRAS)}
SPLIT_PATTERN = re.compile(r"(\w+(?:\.\w+)*)(?:\[(?:(-?\d[\d_]*)(%)?)?:(?:(-?\d[\d_]*)(%)?)?\])?", re.ASCII)


class UnusableRowError(Exception):
    """A row that no trainer can use; `reason` is a key of `DROP_REASONS`."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class RowRules:
    """What a run says about its rows: `columns` names, for a target, the column that it is read from."""

    method: str = "sft"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    chat_template: bool = True


@dataclass(frozen=True)
class SplitSlice:
    """A part of a split, as in train[10%:20%]; without bounds the whole of it."""

    name: str
    start: int | None = None
    stop: int | None = None
    percent: bool = False

    @property
    def needs_count(self) -> bool:
        """Whether the bounds depend on how many rows the split has."""
        return self.percent or min(self.start or 0, self.stop or 0) < 0

    def bounds(self, count: int) -> tuple[int, int]:
        """Return the first row and the row after the last one, rounded as the `datasets` library does."""
        start = 0 if self.start is None else self._bound(self.start, count)
        stop = count if self.stop is None else self._bound(self.stop, count)
        return start, max(start, stop)

    def _bound(self, bound: int, count: int) -> int:
        place = round(bound * count / 100.0) if self.percent else bound
        return min(max(count + place, 0) if place < 0 else place, count)


def parse_split(text: str) -> SplitSlice:
    """Read a split with or without a slice: train, train[:10%], train[100:200], train[-50:]."""
    found = SPLIT_PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no split: write it as train, train[:10%] or train[100:200]")
    name, start, start_percent, stop, stop_percent = found.groups()
    percent = bool(start_percent or stop_percent)
    bounds = [None if bound is None else int(bound) for bound in (start, stop)]
    if percent and any(abs(bound or 0) > 100 for bound in bounds):
        raise ValueError(f"{text!r} is no split: a share lies between -100% and 100%")
    return SplitSlice(name, bounds[0], bounds[1], percent)


def source_columns(rules: RowRules) -> list[str]:
    """List the columns of the data set that the conversion can read."""
    return list(dict.fromkeys([*rules.columns.values(), *METHOD_TARGETS[rules.method]]))


def rename_columns(row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """Return the row under its new column names; a column that was renamed is no longer there by its old name."""
    if any(source not in row for source in columns.values()):
        raise UnusableRowError("missing_column")
    moved = set(columns.values())
    kept = {name: value for name, value in row.items() if name not in moved}
    return kept | {target: row[source] for target, source in columns.items()}


def layout_of(row: Mapping[str, Any], named: Iterable[str] = ()) -> str | None:
    """Say which layout a renamed row has; one whose column `named` has a part of comes before the others."""
    chosen = set(named)
    ranked = sorted(LAYOUT_TARGETS.items(), key=lambda item: chosen.isdisjoint(item[1]))
    fitting = (layout for layout, targets in ranked if all(row.get(target) is not None for target in targets))
    return next(fitting, None)


def convert_row(row: Mapping[str, Any], rules: RowRules) -> Row:
    """Return the row as the trainer of the method reads it."""
    return ROW_CONVERTERS[rules.method](rename_columns(row, rules.columns), rules)


def convert_rows(rows: Iterable[Mapping[str, Any]], rules: RowRules, dropped: Counter[str]) -> Iterator[Row]:
    """Yield the rows that can be used, all of the first one's layout, and count the others by their reason."""
    shape: dict[str, type] | None = None
    for row in rows:
        try:
            converted = convert_row(row, rules)
        except UnusableRowError as problem:
            dropped[problem.reason] += 1
            continue
        shape = shape or row_shape(converted)
        if row_shape(converted) == shape:
            yield converted
        else:
            dropped["mixed_layout"] += 1


def row_shape(row: Row) -> dict[str, type]:
    """Return the columns that make a converted row's layout, with the type of each."""
    return {name: type(value) for name, value in row.items() if name not in CONVERSATION_EXTRAS}


def explain_dropped(dropped: Mapping[str, int]) -> str:
    """Say in words why rows were dropped, the most frequent reason first."""
    ranked = sorted(dropped.items(), key=lambda item: -item[1])
    return "; ".join(f"{count} x {DROP_REASONS[reason]}" for reason, count in ranked)


def convert_sft_row(row: Row, rules: RowRules) -> Row:
    """Return messages, a prompt with its completion, or a text."""
    layout = layout_of(row, rules.columns)
    if layout == "messages":
        messages = read_messages(row["messages"], rules)
        return {"messages": with_system_prompt(messages, rules)} | conversation_extras(row)
    if layout == "prompt+completion":
        return convert_pair(row, rules)
    if layout == "text":
        return {"text": read_text(row["text"], "empty_text")}
    raise UnusableRowError("null_value" if any(target in row for target in METHOD_TARGETS["sft"]) else "no_layout")


def convert_pair(row: Row, rules: RowRules) -> Row:
    """Return a prompt and its completion: a conversation wherever the model has a chat template, else two texts."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str) and not rules.chat_template:
        return join_texts(read_text(prompt), read_text(completion, "empty_completion"))
    question = as_messages(prompt, "user", rules)
    answer = read_messages(as_messages(completion, "assistant", rules), rules)
    return {"prompt": with_system_prompt(question, rules), "completion": answer} | conversation_extras(row)


def join_texts(prompt: str, completion: str) -> Row:
    """Return two texts that can be glued together: white space between them stands at the completion's start.

    A tokenizer may merge a space at the prompt's end with the word after it, and the boundary would be lost.
    """
    body = prompt.rstrip()
    gap = prompt[len(body) :]
    if body and not gap and not completion[0].isspace():
        gap = "\n"
    return {"prompt": body, "completion": gap + completion}


def as_messages(value: Any, role: str, rules: RowRules) -> list[Row]:
    """Return a text as one turn of the role, or the conversation that the value already is."""
    if isinstance(value, str):
        if not rules.chat_template:
            raise UnusableRowError("no_chat_template")
        return [{"role": role, "content": read_text(value, "empty_completion" if role == "assistant" else None)}]
    return checked_messages(value, rules)


def read_messages(value: Any, rules: RowRules) -> list[Row]:
    """Return a conversation in which the assistant says something."""
    messages = checked_messages(value, rules)
    if not any(message["role"] == "assistant" for message in messages):
        raise UnusableRowError("no_answer")
    return messages


def checked_messages(value: Any, rules: RowRules) -> list[Row]:
    """Return the turns of a conversation, each with a role that templates know and a content they can render."""
    if not isinstance(value, list | tuple) or not value:
        raise UnusableRowError("wrong_type")
    if not rules.chat_template:
        raise UnusableRowError("no_chat_template")
    return [checked_message(message) for message in value]


def checked_message(message: Any) -> Row:
    """Return one turn without its empty fields, which some readers add to every turn."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise UnusableRowError("wrong_type")
    if message["role"] not in MESSAGE_ROLES:
        raise UnusableRowError("wrong_role")
    turn = {name: value for name, value in message.items() if value is not None}
    if not turn.get("tool_calls"):
        check_content(turn.get("content"), trained=turn["role"] == "assistant")
    return turn


def check_content(content: Any, *, trained: bool) -> None:
    """Refuse a content that is missing, no text or list of parts, or empty where the model should learn it."""
    if isinstance(content, list):
        if not content or not all(isinstance(part, Mapping) for part in content):
            raise UnusableRowError("wrong_type")
        return
    read_text(content, "empty_completion" if trained else None)


def read_text(value: Any, when_empty: str | None = None) -> str:
    """Return the text itself; refuse another type, broken Unicode and, where a reason is given, an empty one."""
    if value is None:
        raise UnusableRowError("null_value")
    if not isinstance(value, str):
        raise UnusableRowError("wrong_type")
    if when_empty and not value.strip():
        raise UnusableRowError(when_empty)
    if not value.isascii() and not is_unicode(value):
        raise UnusableRowError("bad_text")
    return value


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: JSON can spell half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def with_system_prompt(messages: list[Row], rules: RowRules) -> list[Row]:
    """Return the conversation with the run's system prompt in front, unless it begins with one of its own."""
    if not rules.system_prompt or messages[0]["role"] in ("system", "developer"):
        return messages
    return [{"role": "system", "content": rules.system_prompt}, *messages]


def conversation_extras(row: Row) -> Row:
    """Return what chat templates read beside the turns, present in every row so that all rows look alike."""
    return {"tools": row.get("tools") or None, "chat_template_kwargs": row.get("chat_template_kwargs") or {}}


ROW_CONVERTERS: dict[str, Callable[[Row, RowRules], Row]] = {"sft": convert_sft_row}
