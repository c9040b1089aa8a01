"""What a tool is: arguments, result, one function, and what a client may be told about it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar, cast

from trl_mcp.context import CallContext
from trl_mcp.schema import Arguments, Result
from trl_mcp.values import Finding, ToolName

_LINE = 120
_SHORT = 32
_NOTHING: tuple[object, ...] = ("", None, [])

ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)
ResultT = TypeVar("ResultT", bound=Result)
Translate = Callable[[Mapping[str, object]], tuple[dict[str, object], tuple[Finding, ...]]]


def as_given(arguments: Mapping[str, object]) -> tuple[dict[str, object], tuple[Finding, ...]]:
    """Translate nothing."""
    return dict(arguments), ()


@dataclass(frozen=True, slots=True)
class Tool(Generic[ArgumentsT, ResultT]):
    """A tool: its description is the docstring of `run`; `translate` brings arguments into today's names first."""

    name: ToolName
    title: str
    arguments: type[ArgumentsT]
    result: type[ResultT]
    run: Callable[[ArgumentsT, CallContext], Awaitable[ResultT]]
    reads_only: bool = False
    is_destructive: bool = False
    is_idempotent: bool = True
    translate: Translate = as_given

    @property
    def description(self) -> str:
        """What a model reads of the tool."""
        return " ".join((self.run.__doc__ or "").split())


def compact_text(result: Result) -> str:
    """Return the result as short lines that say what the structured result says."""
    return "\n".join(_lines(result.model_dump(mode="json", exclude_none=True)))


def _lines(values: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, list):
            items = cast(list[object], value)
            lines += [f"{name}:", *map(_item, items)] if items else []
        elif inline := _inline(value):
            lines.append(f"{name}: {inline}")
    return lines


def _item(value: object) -> str:
    """Return an entry of a list: on one line where that can be read, else short fields together, others on their own."""
    line = f"- {_inline(value)}"
    if not isinstance(value, dict) or len(line) <= _LINE:
        return line
    items = cast(dict[str, object], value).items()
    fields = [f"{name}: {_inline(item)}" for name, item in items if item not in _NOTHING]
    groups = groupby(fields, key=lambda field: len(field) <= _SHORT)
    lines = [line for is_short, group in groups for line in ([", ".join(group)] if is_short else group)]
    return "- " + "\n  ".join(lines)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return ", ".join(f"{name} {_inline(item)}" for name, item in items if item not in _NOTHING)
    return f"{value:g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
