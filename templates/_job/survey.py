"""What the first rows show of each column, and of the places inside those that hold objects."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from _job.cells import cell_kind
from _job.columns import ColumnSource, parse_source
from _job.steps import STEP_MARK
from _job.texts import UnusableRowError

CATEGORY_LENGTH = 40
INNER_DEPTH = 2
LIST_PLACES = ("0", "1")


@dataclass(frozen=True)
class ColumnFacts:
    """What the sample shows of a column: the kind of its cells, how long they are, whether they look like prose.

    `is_text`: whether all values are texts; `is_choice`: whether there are but two different ones; `marked`: whether
    texts hold the mark of a step's end; `varies`: whether not all values are the same.
    """

    kind: str
    length: float = 0.0
    prose: bool = False
    is_text: bool = False
    is_choice: bool = False
    marked: bool = False
    varies: bool = False


def survey_columns(sources: Mapping[str, ColumnSource], sample: Iterable[Mapping[str, Any]]) -> dict[str, ColumnFacts]:
    """Return what the sample shows of every column that holds anything, in the order of the columns."""
    rows = list(sample)
    found = {name: survey_column(source, rows) for name, source in sources.items()}
    return {name: facts for name, facts in found.items() if facts.kind != "null"}


def survey_column(source: ColumnSource, rows: Iterable[Mapping[str, Any]]) -> ColumnFacts:
    """Return what the sample shows of one column."""
    values = [value for row in rows if (value := reached(source, row)) is not None]
    is_text = all(isinstance(value, str) for value in values)
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    shown = [str(value) for value in values]
    length = sum(map(len, shown)) / max(len(values), 1)
    is_marked = any(STEP_MARK in text for text in texts)
    prose = is_prose(texts) and not (is_text and length < CATEGORY_LENGTH and len(set(shown)) * 2 < len(shown))
    count = len(set(shown))
    return ColumnFacts(common_kind(values), length, prose, is_text, count == 2, is_marked, count > 1)


def is_prose(texts: Sequence[str]) -> bool:
    """Tell whether most texts have more than one word and are no JSON."""
    return sum(any(map(str.isspace, text.strip())) and text.lstrip()[0] not in "[{" for text in texts) * 2 > len(texts)


def reached(source: ColumnSource, row: Mapping[str, Any]) -> Any:
    """Return the value of a source in a row, None where it cannot be had."""
    try:
        return source.get(row)
    except UnusableRowError:
        return None


def common_kind(values: Iterable[Any]) -> str:
    """Return the kind of most cells; texts are JSON if nine in ten of them are, transcripts only if all of them are."""
    counts = Counter(cell_kind(value) for value in values)
    is_blank = bool(counts.pop("blank", 0))
    empty = bool(counts.pop("empty", 0))
    if counts["text"] and counts["json"] + counts["json_strings"] < 9 * counts["text"]:
        counts["text"] += sum(counts.pop(kind, 0) for kind in ("json", "json_strings", "transcript"))
    if any(counts.values()):
        return counts.most_common(1)[0][0]
    return "text" if is_blank else "empty" if empty else "null"


def survey_places(facts: Mapping[str, ColumnFacts], sample: Sequence[Mapping[str, Any]]) -> dict[str, ColumnFacts]:
    """Return what the sample shows of the places inside columns of objects, by their paths, as `columns` reads them."""
    holders = [name for name, each in facts.items() if each.kind == "other"]
    paths = dict.fromkeys(path for row in sample for name in holders for path in inner_paths(row.get(name), name))
    names = list(dict.fromkeys(str(name) for row in sample for name in row))
    found = {path: survey_column(parse_source(path, names), sample) for path in paths if path not in facts}
    return {path: each for path, each in found.items() if each.kind != "null"}


def inner_paths(value: Any, path: str, depth: int = INNER_DEPTH) -> Iterable[str]:
    """Yield the paths to what is no object in an object, or in the first two of a list of objects."""
    if isinstance(value, Mapping) and depth:
        for name, inner in value.items():
            yield from inner_paths(inner, f"{path}.{name}", depth - 1)
    elif isinstance(value, list | tuple) and value and depth and all(isinstance(item, Mapping | str) for item in value):
        yield path
        for place in LIST_PLACES[: len(value)]:
            yield from inner_paths(value[int(place)], f"{path}.{place}", depth)
    elif not isinstance(value, Mapping | list | tuple):
        yield path
