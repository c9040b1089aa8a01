"""The parts of a row, such as its prompt, read as turns or as text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _job.cells import read_template_arguments, read_tools
from _job.columns import ColumnSource
from _job.pairs import SYSTEM_ROLES, history_turns, join_input
from _job.texts import Row, UnusableRowError, parse_json, read_text
from _job.turns import Speakers, empty_reason, read_content, read_transcript, read_turns

OPENING_ROLES = (*SYSTEM_ROLES, "user")
# A system text that is written as the first turn of a transcript.
SYSTEM_MARK = re.compile(r"\A\s*SYSTEM:\s*")
TURN_KINDS = ("messages", "from_value", "message", "from_value_message", "exchanges", "json")


@dataclass(frozen=True)
class Part:
    """A part of a layout, such as its prompt: where it is read from, and the kind of cells there."""

    name: str
    source: ColumnSource
    kind: str
    pinned: bool = False


@dataclass(frozen=True)
class RowReader:
    """Reads the parts of rows: as turns where the model has a chat template, else as text."""

    parts: Mapping[str, Part]
    speakers: Speakers = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    chat_template: bool = True

    def cell(self, row: Mapping[str, Any], name: str) -> Any:
        """Return the value of a part; a missing one is refused."""
        part = self.parts[name]
        value = part.source.get(row)
        if value is None:
            absent = any(column not in row for column in part.source.reads)
            reason = ("missing_column" if part.pinned else "mixed_layout") if absent else "null_value"
            raise self.found_in(name, UnusableRowError(reason))
        return value

    def optional(self, row: Mapping[str, Any], name: str) -> Any:
        """Return the value of a part that a row need not have."""
        return self.parts[name].source.get(row) if name in self.parts else None

    def text(self, row: Mapping[str, Any], name: str, when_empty: str | None = None) -> str:
        """Return a part that must be a text."""
        value = self.cell(row, name)
        kind = self.parts[name].kind
        if kind == "json" or (kind in TURN_KINDS and not isinstance(value, str)):
            raise UnusableRowError("wrong_type" if self.chat_template else "no_chat_template")
        try:
            return read_text(value, when_empty)
        except UnusableRowError as error:
            raise self.found_in(name, error) from None

    def turns(self, row: Mapping[str, Any], name: str, role: str | None = None, trained: bool = True) -> list[Row]:
        """Return a part as turns; a text is a turn of the role."""
        if not self.chat_template:
            raise UnusableRowError("no_chat_template")
        value = self.cell(row, name)
        try:
            return self.as_turns(value, name, role, trained)
        except UnusableRowError as error:
            raise self.found_in(name, error) from None

    def as_turns(self, value: Any, name: str, role: str | None, trained: bool) -> list[Row]:
        """Return the value of a part as turns."""
        kind = self.parts[name].kind
        if kind == "parts":
            return [{"role": role or "user", "content": read_content(value)}]
        if not isinstance(value, str) or kind == "json":
            return read_turns(parse_json(value) if isinstance(value, str) else value, self.speakers, trained)
        if kind == "transcript":
            return read_transcript(value, trained)
        if role is None:
            raise UnusableRowError("wrong_type")
        return [{"role": role, "content": read_text(value, empty_reason(role, trained))}]

    def found_in(self, name: str, error: UnusableRowError) -> UnusableRowError:
        """Return the error with the column that the part is read from."""
        error.column = error.column or self.parts[name].source.place
        return error

    def question(self, row: Mapping[str, Any]) -> list[Row]:
        """Return the turns of the prompt, with the input that belongs to it."""
        turns = self.turns(row, "prompt", "user", trained=False)
        if "input" in self.parts and len(turns) == 1 and turns[0]["role"] == "user":
            further = read_text(self.optional(row, "input") or "")
            turns = [{"role": "user", "content": join_input(turns[0]["content"], further)}]
        return turns

    def opened(self, row: Mapping[str, Any], turns: list[Row]) -> list[Row]:
        """Return turns with the row's history and system text before them, or the run's system prompt."""
        if "history" in self.parts:
            turns = [*history_turns(self.optional(row, "history")), *turns]
        own = SYSTEM_MARK.sub("", read_text(self.optional(row, "system") or "")) if "system" in self.parts else ""
        if turns[0]["role"] not in SYSTEM_ROLES:
            system = own if own.strip() else self.system_prompt
            return [{"role": "system", "content": system}, *turns] if system else turns
        if own.strip() and own not in turns[0]["content"]:
            return [turns[0] | {"content": join_input(own, turns[0]["content"])}, *turns[1:]]
        return turns

    def prompt_text(self, row: Mapping[str, Any], when_empty: str | None = None) -> str:
        """Return the prompt as one text, for a model without a chat template."""
        text = self.text(row, "prompt")
        if "input" in self.parts:
            text = join_input(text, read_text(self.optional(row, "input") or ""))
        earlier = [turn["content"] for turn in history_turns(self.optional(row, "history"))]
        system = read_text(self.optional(row, "system") or "")
        return read_text("\n\n".join([*([system] if system.strip() else []), *earlier, text]), when_empty)

    def extras(self, row: Mapping[str, Any]) -> Row:
        """Return what chat templates read beside the turns, present in every row so that all rows look alike."""
        tools = read_tools(self.optional(row, "tools")) if "tools" in self.parts else None
        given = "chat_template_kwargs" in self.parts
        arguments = read_template_arguments(self.optional(row, "chat_template_kwargs")) if given else {}
        return {"tools": tools, "chat_template_kwargs": arguments}

    def conversation(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a conversation in which the assistant says something."""
        turns = self.opened(row, self.turns(row, "messages"))
        if not any(turn["role"] == "assistant" for turn in turns):
            raise UnusableRowError("no_answer")
        return turns

    def answer(self, row: Mapping[str, Any], name: str) -> list[Row]:
        """Return the turns that answer a prompt."""
        turns = self.turns(row, name, "assistant")
        if name == "completion" and turns[0]["role"] in OPENING_ROLES:
            raise UnusableRowError("whole_answer")
        if not any(turn["role"] == "assistant" for turn in turns):
            raise UnusableRowError("no_answer")
        return turns
