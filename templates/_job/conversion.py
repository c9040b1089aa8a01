"""What becomes of the rows of a data set: found from its first rows, said in a sentence, done to each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from _job.columns import ColumnSource, SeveralColumnsError, SourceMap, UnclearColumnsError, map_sources
from _job.layouts import PROMPT_METHODS, Layout, LayoutFinder
from _job.reading import Part
from _job.shaping import RowShaper
from _job.suggestions import VERDICT_WORDS, judge_of, no_layout, several_columns
from _job.survey import ColumnFacts, reached, survey_columns, survey_places
from _job.texts import Row, UnusableRowError
from _job.wording import layout_name, say_conversion

FIRST_ROWS = 100
CHOICE_ROWS = 20
COLUMNS_LIMIT = 4
STRAY_SHARE = 20
MEDIA_COLUMNS = ("image", "images", "audio", "audios", "video", "videos")
WHOLE_KINDS = frozenset(
    {"text", "messages", "from_value", "message", "from_value_message", "label", "strings", "labels"}
)


@dataclass(frozen=True)
class RowRules:
    """What a run says about its rows: `columns` names, for a target, the source that it is read from."""

    method: str = "sft"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    chat_template: bool = True


@dataclass(frozen=True)
class Conversion:
    """How the rows of a data set become rows of a trainer.

    `layout` names what the rows hold, `sentence` says what becomes of them. `targets` are the columns that make the
    layout of a converted row, `names` all columns that are there, `source_names` those that are needed. `reads` gives the kind of the cells of each source column, where all of them are read
    whole and as they are; it is empty where a part of a cell is read, or text that has to be taken apart. `use` are
    the `columns` that lead here.
    """

    layout: str
    sentence: str
    targets: tuple[str, ...]
    reads: Mapping[str, str]
    use: Mapping[str, str]
    names: tuple[str, ...]
    source_names: tuple[str, ...]
    shaper: RowShaper

    def convert(self, row: Mapping[str, Any]) -> list[Row]:
        """Return the rows that a trainer reads in place of this one: one, or two for a pair under kto.

        Raises UnusableRowError for a row that must be dropped. The row itself is never changed.
        """
        return self.shaper.shape(row)


def find_conversion(rows: Sequence[Mapping[str, Any]], rules: RowRules) -> Conversion:
    """Return the conversion that the first rows call for.

    Raises UnclearColumnsError where only the user knows which column is which, or where the method cannot be trained
    on such rows; WrongColumnsError, which is one of them, for `columns` that the data does not have.
    """
    sample = rows[:FIRST_ROWS]
    names = column_names(sample)
    if not names:
        raise UnclearColumnsError("there is no row to train on", "invalid")
    sources = map_sources(rules.columns, names, sample)
    facts = survey_columns(sources.sources, sample)
    check_media(sample, rules, names)
    try:
        shaper, share = choose_shaper(sample, sources, facts, rules)
    except UnclearColumnsError:
        found = choose_without_strays(sample, sources, facts, rules)
        if found is None:
            raise
        shaper, _ = found
    else:
        found = choose_without_strays(sample, sources, facts, rules) if share < 0.5 else None
        if found is not None and found[1] > share:
            shaper, _ = found
    return make_conversion(shaper, sources, rules, sample)


def choose_without_strays(
    sample: Sequence[Mapping[str, Any]], sources: SourceMap, facts: Mapping[str, ColumnFacts], rules: RowRules
) -> tuple[RowShaper, float] | None:
    """Return what choose_shaper does where stray columns are not there; None without any, or where that is unclear."""
    kept = {
        name: each
        for name, each in facts.items()
        if name in sources.pinned or not is_stray(sources.sources[name], sample)
    }
    if len(kept) in (0, len(facts)):
        return None
    try:
        return choose_shaper(sample, sources, kept, rules)
    except UnclearColumnsError:
        return None


def verdict_beside(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return the column that says row by row which of two answers is better, where `columns` say it for all; or ""."""
    if "chosen" not in columns or "rejected" not in columns:
        return ""
    sample = rows[:FIRST_ROWS]
    sources = map_sources({}, column_names(sample), sample)
    judge = judge_of(LayoutFinder(survey_columns(sources.sources, sample)), VERDICT_WORDS)
    return judge[1] if judge and {columns["chosen"], columns["rejected"]} == set(judge[0]) else ""


def is_stray(source: ColumnSource, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether hardly a row has this column: a row of another layout among the first ones must not decide."""
    return sum(reached(source, row) is not None for row in sample) * STRAY_SHARE < len(sample)


def choose_shaper(
    sample: Sequence[Mapping[str, Any]], sources: SourceMap, facts: Mapping[str, ColumnFacts], rules: RowRules
) -> tuple[RowShaper, float]:
    """Return what shapes the rows by the layout that most of them have, and the share of the sample that it keeps."""
    names = column_names(sample)
    finder = LayoutFinder(
        facts, sources.pinned, rules.chat_template, rules.method, survey_places(facts, sample[:CHOICE_ROWS])
    )

    def complete(choice: dict[str, str]) -> dict[str, str] | None:
        return complete_columns(choice, sample[:CHOICE_ROWS], rules)

    try:
        layouts = finder.find()
    except SeveralColumnsError as error:
        raise several_columns(error, finder, names, complete) from None
    if not layouts:
        raise no_layout(finder, names, complete)
    shapers = [make_shaper(layout, sources, facts, rules) for layout in layouts]
    shares = [share_kept(shaper, sample) for shaper in shapers]
    best = next((place for place, share in enumerate(shares) if share >= 0.5), shares.index(max(shares)))
    return shapers[best], shares[best]


def complete_columns(
    choice: dict[str, str], sample: Sequence[Mapping[str, Any]], rules: RowRules
) -> dict[str, str] | None:
    """Return a choice with what it leaves open, if most rows of the sample can be used with it."""
    columns = dict(rules.columns) | choice
    if len(columns) > COLUMNS_LIMIT or not choice.keys() - rules.columns.keys():
        return None
    try:
        conversion = find_conversion(sample, replace(rules, columns=columns))
    except UnclearColumnsError as error:
        further = error.suggestions[0] if error.suggestions else {}
        return choice | further if further.keys() - choice.keys() else None
    return choice if share_kept(conversion.shaper, sample) >= 0.5 else None


def column_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all columns in the order in which they appear."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def check_media(sample: Sequence[Mapping[str, Any]], rules: RowRules, names: Sequence[str]) -> None:
    """Refuse rows most of which come with images: without them the text is about nothing."""
    if rules.columns:
        return
    for name in MEDIA_COLUMNS:
        if sum(bool(row.get(name)) for row in sample) * 2 > len(sample):
            raise UnclearColumnsError(
                f"the rows come with {name}, which a text model cannot read; name the text columns in `columns` to "
                "train on them alone",
                "invalid",
                names=names,
            )


def make_shaper(layout: Layout, sources: SourceMap, facts: Mapping[str, ColumnFacts], rules: RowRules) -> RowShaper:
    """Return what shapes the rows of a layout."""
    parts = {
        part: Part(part, sources.sources[name], facts[name].kind, name in sources.pinned)
        for part, name in layout.parts.items()
    }
    others: dict[str, ColumnSource] = {}
    if rules.method in PROMPT_METHODS:
        taken = {*layout.parts.values(), "prompt"}
        others = {name: source for name, source in sources.sources.items() if name not in taken | set(MEDIA_COLUMNS)}
    texts = frozenset(name for name in others if name in facts and facts[name].is_text)
    return RowShaper(parts, sources.speakers, rules.system_prompt, rules.chat_template, layout.form, others, texts)


def share_kept(shaper: RowShaper, sample: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of the sample's rows that can be used in this layout."""
    return sum(converts(shaper, row) for row in sample) / len(sample)


def converts(shaper: RowShaper, row: Mapping[str, Any]) -> bool:
    """Tell whether a row can be used."""
    try:
        return bool(shaper.shape(row))
    except UnusableRowError:
        return False


def shaped_columns(shaper: RowShaper, sample: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns that make the layout of a converted row."""
    aside = {"tools", "chat_template_kwargs", *shaper.others}
    for row in sample:
        try:
            return tuple(name for name in shaper.shape(row)[0] if name not in aside)
        except UnusableRowError:
            continue
    return ()


def make_conversion(
    shaper: RowShaper, sources: SourceMap, rules: RowRules, sample: Sequence[Mapping[str, Any]]
) -> Conversion:
    """Return the conversion, with what is to be said of it."""
    read = list(dict.fromkeys(name for part in shaper.parts.values() for name in part.source.reads))
    passed_on = [name for source in shaper.others.values() for name in source.reads]
    return Conversion(
        layout=layout_name(shaper),
        sentence=say_conversion(shaper, [name for name in sources.sources if name not in shaper.others]),
        targets=shaped_columns(shaper, sample),
        reads=whole_kinds(shaper, sources),
        use=dict(rules.columns),
        names=tuple(column_names(sample)),
        source_names=tuple(dict.fromkeys([*read, *passed_on])),
        shaper=shaper,
    )


def whole_kinds(shaper: RowShaper, sources: SourceMap) -> dict[str, str]:
    """Return the kind of each column that is read, empty where any of them is not read whole and as it is."""
    parts = list(shaper.parts.values())
    known = WHOLE_KINDS if shaper.chat_template else ("text", "label")
    if sources.speakers or "better" in shaper.parts or any(part.kind not in known for part in parts):
        return {}
    if any(part.source.column is None for part in parts):
        return {}
    return {part.source.column: part.kind for part in parts if part.source.column is not None}
