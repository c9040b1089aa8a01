"""Every row of a split, converted as the job will convert it and checked; whole batches at once where that can be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, cast

from trl_mcp.data.checks import cell_texts, row_notes, text_notes
from trl_mcp.data.problems import Tally
from trl_mcp.data.sample import Sample, SampledRow
from trl_mcp.data.screen import Screen, Screened, batch_of
from trl_mcp.data.sources import Chunk, Row
from trl_mcp.render.templates import job_module

MOST_TEXTS = 1 << 20


class Texts:
    """The texts that were met, by their hash; beyond MOST_TEXTS only those of one hash in `one_in`, a power of two."""

    def __init__(self, most: int = MOST_TEXTS) -> None:
        self.one_in = 1
        self._most = most
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, text_hash: int) -> bool:
        return text_hash in self._seen

    def is_known(self, text_hash: int) -> bool:
        """Tell whether the text was met before, and remember it."""
        if text_hash in self._seen:
            return True
        if text_hash % self.one_in == 0:
            self._seen.add(text_hash)
            while len(self._seen) > self._most:
                self.one_in *= 2
                self._seen = self._kept()
        return False

    def _kept(self) -> set[int]:
        return {known for known in self._seen if known % self.one_in == 0}


class RowScan:
    """What was found in the rows so far.

    `trained` are the texts of the training split where these rows are to evaluate on. With `screened` false every row
    goes the slow way, which finds the same.
    """

    def __init__(self, conversion: Any, trained: Texts | None = None, *, screened: bool = True) -> None:
        self.checked = 0
        self.kept = 0
        self.dropped = Tally()
        self.noted = Tally()
        self.labels = Counter[bool]()
        self.characters = Counter[int]()
        self.texts = Texts()
        self.sample = Sample()
        self._trained = trained
        self.conversion = conversion
        self._jsonable = [name for part in conversion.shaper.parts.values() for name in _jsonable(part)]
        self._measured = [name for name, kind in conversion.reads.items() if kind != "label"]
        self.screen = _screen_of(conversion) if screened else None

    def take(self, chunk: Chunk) -> None:
        """Look at the rows of a chunk."""
        self.checked += len(chunk.rows)
        screened = self.screen.look(self._batch(chunk)) if self.screen else None
        if screened is not None:
            self._take_screened(chunk, screened)
            return
        rows: list[Row] = chunk.rows.to_pylist() if chunk.is_batch else chunk.rows
        for number, row in enumerate(rows, chunk.first_row):
            self._take_row(number, row)

    def _batch(self, chunk: Chunk) -> Any:
        return chunk.rows if chunk.is_batch else batch_of(chunk.rows, tuple(self.conversion.reads))

    def _take_screened(self, chunk: Chunk, screened: Screened) -> None:
        """Count the rows that are fine as they are, and look at each of the others."""
        odd = [place for place, is_fine in enumerate(screened.fine) if not is_fine]
        others = dict(zip(odd, _rows_at(chunk, odd), strict=True))
        for place, (is_fine, text_hash) in enumerate(zip(screened.fine, screened.hashes, strict=True)):
            if is_fine:
                self._meet(chunk.first_row + place, text_hash)
            else:
                self._take_row(chunk.first_row + place, others[place])
        self.kept += len(screened.fine) - len(odd)
        self.characters.update(compress(screened.characters, screened.fine))
        self.labels.update(compress(screened.labels, screened.fine))
        wanted = [place for place in self.sample.wanted(chunk.first_row, screened.characters) if screened.fine[place]]
        for place, row in zip(wanted, _rows_at(chunk, wanted), strict=True):
            self._add_to_sample(chunk.first_row + place, screened.characters[place], row)

    def _add_to_sample(self, number: int, characters: int, row: Row) -> None:
        if self.sample.wants(number, characters):
            for converted in self.conversion.convert(row):
                self.sample.add(SampledRow(number, characters, converted))

    def _take_row(self, number: int, row: Row) -> None:
        """Convert and check one row."""
        try:
            converted: list[Row] = self.conversion.convert(row)
        except job_module("cells").UnusableRowError as problem:
            self.dropped.add(problem.reason, number, problem.column)
            return
        notes = {note: None for each in converted for note in row_notes(each, self.conversion.targets)}
        for note in notes:
            self.noted.add(note, number)
        if any(_is_json(row.get(name)) for name in self._jsonable):
            self.noted.add("json_text", number)
        self.labels.update(each["label"] for each in converted if isinstance(each.get("label"), bool))
        self.kept += 1
        self._measure(number, row, converted)

    def _measure(self, number: int, row: Row, converted: Sequence[Row]) -> None:
        """Count the characters of a kept row, compare its text with the others, and offer it to the sample."""
        if self._measured and len(converted) == 1:
            texts = [_texts_of(row, self._measured)]
        else:
            texts = [_texts_of(each, self.conversion.targets) for each in converted]
        self._meet(number, _hash_of([text for each in texts for text in each]))
        for each, parts in zip(converted, texts, strict=True):
            characters = sum(map(len, parts))
            self.characters[characters] += 1
            if self.sample.wants(number, characters):
                self.sample.add(SampledRow(number, characters, each))

    def _meet(self, number: int, text_hash: int) -> None:
        if self._trained is not None and text_hash in self._trained:
            self.noted.add("leakage", number)
        if self.texts.is_known(text_hash):
            self.noted.add("duplicate", number)


def needed_columns(conversion: Any) -> list[str]:
    """Return the columns that decide what becomes of a row; what is passed on whole for a reward is not among them."""
    shaper = conversion.shaper
    sources = [part.source for part in shaper.parts.values()] + _taken_apart(shaper)
    return list(dict.fromkeys(name for source in sources for name in source.reads))


def _taken_apart(shaper: Any) -> list[Any]:
    """Return the sources of values for a reward that are not whole columns, and so may not be there in a row."""
    return [source for source in shaper.others.values() if source.column is None]


def _screen_of(conversion: Any) -> Screen | None:
    """Return what tells the fine rows apart; None where rows are shaped in ways that it does not know."""
    shaper, reads = conversion.shaper, cast(Mapping[str, str], conversion.reads)
    makes_two_rows = "label" in conversion.targets and "label" not in reads.values()
    cuts_turns = shaper.form == "question" and "text" not in reads.values()
    is_marked = shaper.form in ("stepwise", "marked")
    system = shaper.system_prompt
    adds_oddity = system is not None and (not system.strip() or text_notes([system]))
    if makes_two_rows or cuts_turns or is_marked or adds_oddity or _taken_apart(shaper) or not Screen.can_screen(reads):
        return None
    if "chosen" not in shaper.parts:
        return Screen(reads)
    return Screen(reads, tuple(shaper.parts[side].source.column for side in ("chosen", "rejected")))


def _jsonable(part: Any) -> Sequence[str]:
    """Return the columns of a part whose cells should be turns, and may be JSON text instead."""
    return () if part.kind in ("text", "transcript") or part.name in ("tools", "label") else part.source.reads


def _rows_at(chunk: Chunk, places: Sequence[int]) -> list[Row]:
    if not chunk.is_batch:
        return [chunk.rows[place] for place in places]
    return chunk.rows.take(places).to_pylist() if places else []


def _texts_of(row: Row, columns: Iterable[str]) -> list[str]:
    """Return what each column says, as one text."""
    return ["".join(cell_texts(row.get(column))) for column in columns]


def _hash_of(texts: Sequence[str]) -> int:
    """Return the hash that Screen gives the same texts."""
    hashes = tuple(hash(text.encode("utf-8", "surrogatepass")) for text in texts)
    return hashes[0] if len(hashes) == 1 else hash(hashes)


def _is_json(cell: Any) -> bool:
    return isinstance(cell, str) and job_module("cells").text_kind(cell) == "json"
