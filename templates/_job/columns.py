"""Where the values of a row come from: a column, a place inside it, a text made of several, and who speaks there.

The right side of `columns` ("target=source"), in the order in which it is understood:

* the name of a column, even if there is a dot in it;
* `a text with {columns}`: each {...} is a column or a path; {{ and }} are braces;
* `column | after MARKER`: the text after the last MARKER, without white space around it;
* a path: `turns.0`, `data.text`, `conversation.-1.content`; JSON text on the way is read.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from _job.texts import UnusableRowError, parse_json
from _job.turns import ROLE_SPEAKERS

Getter = Callable[[Mapping[str, Any]], Any]
ROLE_PREFIX = "role."
SPEAKER_ROLES = ("system", "user", "assistant", "tool")
FIELD_PATTERN = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
FILTERS = ("after",)


class UnclearColumnsError(ValueError):
    """Rows of which it is not clear what to train on.

    `verdict` is needs_columns or invalid; `suggestions` are sets of `columns` to pass, the best first; `names` the
    columns that are there.
    """

    def __init__(
        self, message: str, verdict: str, suggestions: Sequence[dict[str, str]] = (), names: Iterable[str] = ()
    ) -> None:
        """Keep what is known."""
        super().__init__(message)
        self.verdict = verdict
        self.suggestions = list(suggestions)
        self.names = tuple(names)


class WrongColumnsError(UnclearColumnsError):
    """`columns` that name what is not there, or that cannot be understood."""

    def __init__(self, message: str, names: Iterable[str]) -> None:
        """Keep what is known."""
        super().__init__(message, "invalid", names=names)


class SeveralColumnsError(Exception):
    """A part that several columns could play; `choices` are the entries of `columns` that would decide it.

    `why` is what is said in place of that.
    """

    def __init__(self, part: str, choices: Sequence[dict[str, str]], why: str = "") -> None:
        """Keep the choices."""
        super().__init__(part)
        self.choices = list(choices)
        self.why = why or f"more than one column could be the {part}; say which with `columns`"


@dataclass(frozen=True)
class ColumnSource:
    """How a value is taken out of a row; `column` is set where it is a column's whole value, `path` where a part."""

    get: Getter
    reads: tuple[str, ...]
    column: str | None = None
    path: str | None = None

    @property
    def place(self) -> str | None:
        """The column or the path that the value is; None where it is made of several."""
        return self.column or self.path


@dataclass(frozen=True)
class SourceMap:
    """All values that a row offers by the names they are known by; `pinned` are those that `columns` names."""

    sources: Mapping[str, ColumnSource]
    pinned: frozenset[str] = frozenset()
    speakers: Mapping[str, str] = field(default_factory=dict[str, str])


def map_sources(columns: Mapping[str, str], names: Sequence[str], sample: Sequence[Mapping[str, Any]]) -> SourceMap:
    """Return what a row offers once `columns` is applied; a column that was renamed is gone by its old name.

    Raises WrongColumnsError for what is not in the names, or nowhere in the sample.
    """
    speakers = {name.removeprefix(ROLE_PREFIX): role for name, role in columns.items() if name.startswith(ROLE_PREFIX)}
    check_speakers(speakers, names)
    named = {
        target: parse_source(text, names) for target, text in columns.items() if not target.startswith(ROLE_PREFIX)
    }
    for target, source in named.items():
        check_reach(f"{target}={columns[target]}", source, sample, names)
    moved = {source.column for source in named.values()}
    kept = {name: whole_column(name) for name in names if name not in moved}
    return SourceMap(kept | named, frozenset(named), speakers)


def check_speakers(speakers: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse a role that no chat template knows."""
    for name, role in speakers.items():
        if role not in ROLE_SPEAKERS:
            allowed = ", ".join(SPEAKER_ROLES)
            raise WrongColumnsError(f"columns: role.{name}={role}: {role} is no role; one of {allowed} is", names)


def parse_source(text: str, names: Sequence[str]) -> ColumnSource:
    """Read the right side of one entry of `columns`."""
    if text in names:
        return whole_column(text)
    if "{" in text:
        return text_source(text, names)
    if "|" in text:
        return filtered_source(text, names)
    return path_source(text, names)


def whole_column(name: str) -> ColumnSource:
    """Return the source that is a column's value; a row without that column gives None."""
    return ColumnSource(lambda row: row.get(name), (name,), name)


def text_source(text: str, names: Sequence[str]) -> ColumnSource:
    """Return the source that fills the {columns} of a text."""
    fields = {name: place_source(name.strip(), names) for name in FIELD_PATTERN.findall(text) if name}
    if not fields:
        raise WrongColumnsError(f"columns: no {{column}} stands in {text!r}", names)

    def get(row: Mapping[str, Any]) -> str:
        def fill(match: re.Match[str]) -> str:
            return as_written(fields[match[1]].get(row)) if match[1] else match[0][0]

        return FIELD_PATTERN.sub(fill, text)

    return ColumnSource(get, tuple(name for source in fields.values() for name in source.reads))


def as_written(value: Any) -> str:
    """Return a text or a number as it stands in a text, a list or an object of them line by line; none is missing."""
    if value is None:
        raise UnusableRowError("null_value")
    if isinstance(value, str | int | float):
        return str(value)
    lines = written_lines(value)
    if not lines or not all(isinstance(inner, str | int | float) for _, inner in lines):
        raise UnusableRowError("wrong_type")
    return "\n".join(f"{mark}{inner}" for mark, inner in lines)


def written_lines(value: Any) -> list[tuple[str, Any]]:
    """Return what stands in a list, or in an object after its field's name; empty fields are none."""
    if isinstance(value, Mapping):
        return [(f"{name}: ", inner) for name, inner in value.items() if inner is not None]
    return [("", inner) for inner in value] if isinstance(value, list | tuple) else []


def filtered_source(text: str, names: Sequence[str]) -> ColumnSource:
    """Return the source that takes a part of a text."""
    place, _, rest = text.partition("|")
    word, _, marker = rest.strip().partition(" ")
    marker = marker.strip()
    if word not in FILTERS or not marker:
        raise WrongColumnsError(f"columns: {rest.strip()!r} is no filter; write `column | after MARKER`", names)
    inner = place_source(place.strip(), names)

    def get(row: Mapping[str, Any]) -> str:
        before, found, after = as_written(inner.get(row)).rpartition(marker)
        del before
        if not found:
            raise UnusableRowError("no_marker")
        return after.strip()

    return ColumnSource(get, inner.reads)


def place_source(text: str, names: Sequence[str]) -> ColumnSource:
    """Return the source that is a column or a path."""
    return whole_column(text) if text in names else path_source(text, names)


def path_source(text: str, names: Sequence[str]) -> ColumnSource:
    """Return the source at a path; the column that it begins with may have dots in its name."""
    column = next((name for name in sorted(names, key=len, reverse=True) if text.startswith(f"{name}.")), None)
    if column is None:
        raise WrongColumnsError(f"columns: the data has no column {text!r}{near_names(text, names)}", names)
    steps = text.removeprefix(f"{column}.").split(".")

    def get(row: Mapping[str, Any]) -> Any:
        value = row.get(column)
        for step in steps:
            value = step_into(value, step)
        return value

    return ColumnSource(get, (column,), path=text)


def near_names(text: str, names: Sequence[str]) -> str:
    """Return the names that are written alike, as part of a sentence, with all of them."""
    near = difflib.get_close_matches(text.partition(".")[0], names, n=2)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"{hint}; it has: {', '.join(names)}"


def step_into(value: Any, step: str) -> Any:
    """Return the value one step further down: a field of an object, or a place in a list from its start or end."""
    if isinstance(value, str):
        value = parse_json(value)
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, list | tuple) and step.removeprefix("-").isdecimal() and -len(value) <= int(step) < len(value):
        return value[int(step)]
    raise UnusableRowError("missing_column")


def check_reach(entry: str, source: ColumnSource, sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuse a source that leads nowhere in any row of the sample."""
    if sample and not any(reaches(source, row) for row in sample):
        raise WrongColumnsError(
            f"columns: {entry} leads nowhere in the first {len(sample)} rows; the data has: {', '.join(names)}", names
        )


def reaches(source: ColumnSource, row: Mapping[str, Any]) -> bool:
    """Tell whether a source finds something in a row."""
    try:
        return source.get(row) is not None
    except UnusableRowError:
        return False
