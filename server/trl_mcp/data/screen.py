"""Whole batches of rows told apart at once: those that are surely fine, and those that must be looked at one by one.

Being fine is decided strictly: a row is fine only where its conversion and all checks of `checks` are sure to find
nothing. Whatever is unusual goes the slow way, which is the truth.
"""
# pyarrow ships no types; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from trl_mcp.data.checks import NEAR_EDGE, SUSPECT_TEXT, are_edges_far, role_notes

TURN_FIELDS = {"messages": ("role", "content"), "from_value": ("from", "value")}
SPEAKER_NAMES = {
    "messages": {"system": "s", "user": "u", "assistant": "a"},
    "from_value": {"system": "s", "human": "u", "user": "u", "gpt": "a", "assistant": "a"},
}
_UNKNOWN = 250


@dataclass(frozen=True, slots=True)
class Screened:
    """One batch: for each row whether it is fine, its characters, the hash of its text, and its label.

    `labels` is empty where rows have none.
    """

    fine: Sequence[bool]
    characters: Sequence[int]
    hashes: Sequence[int]
    labels: Sequence[bool]


@dataclass(slots=True)
class _Column:
    """One column of a batch: the numbers of rows that are not fine, and what `Screened` says for each row."""

    odd: set[int]
    characters: list[int]
    hashes: list[int]


class Screen:
    """Screens batches whose columns are read whole and as they are: `reads` maps each to the kind of its cells."""

    def __init__(self, reads: Mapping[str, str], pair: tuple[str, str] | None = None) -> None:
        """Make a screen for columns by the kind of their cells; `pair` are those of a chosen and a rejected text."""
        self._texts = [name for name, kind in reads.items() if kind != "label"]
        self._label = next((name for name, kind in reads.items() if kind == "label"), None)
        self._kinds = reads
        self._pair = pair
        self._patterns: dict[tuple[str, bytes], bool] = {}

    @staticmethod
    def can_screen(reads: Mapping[str, str]) -> bool:
        """Tell whether rows with these columns can be screened: texts, or one conversation, with or without a label."""
        kinds = sorted(kind for kind in reads.values() if kind != "label")
        labels = len(reads) - len(kinds)
        return labels <= 1 and bool(kinds) and (set(kinds) == {"text"} or (len(kinds) == 1 and kinds[0] in TURN_FIELDS))

    def look(self, batch: Any) -> Screened | None:
        """Return what can be told of the batch at once, None where its columns are not of the kinds that were said."""
        if batch is None or any(batch.schema.get_field_index(name) < 0 for name in self._kinds):
            return None
        count = batch.num_rows
        columns = [self._column(batch.column(name), self._kinds[name]) for name in self._texts]
        known = [column for column in columns if column is not None]
        if len(known) < len(columns):
            return None
        odd = set[int]().union(*(column.odd for column in known))
        labels: list[bool] = []
        if self._label is not None:
            if not _is_label(batch.column(self._label)):
                return None
            labels = batch.column(self._label).to_pylist()
            odd.update(number for number, label in enumerate(labels) if label not in (True, False))
        if self._pair is not None:
            odd |= _near_pairs(*(batch.column(name) for name in self._pair))
        fine = [True] * count
        for number in odd:
            fine[number] = False
        if len(known) == 1:
            return Screened(fine, known[0].characters, known[0].hashes, labels)
        characters = [sum(row) for row in zip(*(column.characters for column in known), strict=True)]
        hashes = [hash(row) for row in zip(*(column.hashes for column in known), strict=True)]
        return Screened(fine, characters, hashes, labels)

    def _column(self, array: Any, kind: str) -> _Column | None:
        if kind == "text":
            return _text_column(array) if _is_text(array.type) else None
        return self._turns(array, kind) if _is_turns(array.type, kind) else None

    def _turns(self, array: Any, kind: str) -> _Column:
        """Look at conversations: lists of turns, each with a speaker and a content."""
        from pyarrow import compute

        speaker_name, content_name = TURN_FIELDS[kind]
        bounds = _places(array.offsets.cast("int64"), "q")
        rows = [bound - bounds[0] for bound in bounds]
        turns = array.values.slice(bounds[0], rows[-1])
        content = turns.field(content_name)
        names = SPEAKER_NAMES[kind]
        speakers = _positions(turns.field(speaker_name), list(names))
        extra = [turns.field(field.name) for field in turns.type if field.name not in TURN_FIELDS[kind]]
        bad = compute.or_(_odd_texts(content), compute.is_null(turns))
        for more in extra:
            bad = compute.or_(bad, compute.is_valid(more))
        odd = {bisect_right(rows, turn) - 1 for turn in compute.indices_nonzero(bad).to_pylist()}
        odd.update(compute.indices_nonzero(compute.is_null(array)).to_pylist())
        letters = "".join(names.values())
        odd.update(
            number
            for number, (start, stop) in enumerate(pairwise(rows))
            if not self._is_usual(letters, speakers[start:stop])
        )
        ends = _places(compute.cumulative_sum(compute.utf8_length(content).cast("int64").fill_null(0)), "q")
        sums = [0, *ends]
        characters = [sums[stop] - sums[start] for start, stop in pairwise(rows)]
        offsets, data = _text_buffers(content)
        hashes = [hash(data[offsets[start] : offsets[stop]]) for start, stop in pairwise(rows)]
        return _Column(odd, characters, hashes)

    def _is_usual(self, letters: str, speakers: bytes) -> bool:
        """Tell whether turns by these speakers, as positions in `letters`, are in an order that no check minds."""
        key = (letters, speakers)
        found = self._patterns.get(key)
        if found is None:
            known = all(speaker < len(letters) for speaker in speakers)
            order = "".join(letters[speaker] for speaker in speakers) if known else ""
            found = "a" in order and "u" in order and not role_notes(order, ends_open=False)
            if len(self._patterns) < 10_000:
                self._patterns[key] = found
        return found


def batch_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """Return the columns of rows as one batch; None where cells of a column are of several types."""
    import pyarrow as pa

    try:
        return pa.RecordBatch.from_arrays([pa.array([row.get(name) for row in rows]) for name in columns], columns)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None


def _text_column(array: Any) -> _Column:
    from pyarrow import compute

    odd = set[int](compute.indices_nonzero(_odd_texts(array)).to_pylist())
    offsets, data = _text_buffers(array)
    hashes = [hash(data[start:stop]) for start, stop in pairwise(offsets)]
    return _Column(odd, compute.utf8_length(array).fill_null(0).to_pylist(), hashes)


def _odd_texts(texts: Any) -> Any:
    """Mark the texts that are missing, blank, or hold what may be a placeholder or a secret."""
    from pyarrow import compute

    blank = compute.equal(compute.binary_length(compute.utf8_trim_whitespace(texts)), 0)
    suspect = compute.match_substring_regex(texts, SUSPECT_TEXT)
    return compute.or_(blank, suspect).fill_null(True)


def _near_pairs(chosen: Any, rejected: Any) -> set[int]:
    """Return the rows whose two texts begin or end alike, and so may be nearly the same."""
    from pyarrow import compute

    edges: list[list[Any]] = [
        compute.utf8_slice_codeunits(texts, *place).to_pylist()
        for place in ((0, NEAR_EDGE), (-NEAR_EDGE, None))
        for texts in (chosen, rejected)
    ]
    numbered: Iterable[tuple[int, tuple[Any, ...]]] = enumerate(zip(*edges, strict=True))
    return {number for number, (a, b, c, d) in numbered if None in (a, b) or not are_edges_far(a, b, c, d)}


def _positions(texts: Any, names: Sequence[str]) -> bytes:
    """Return for each text one byte: its position among the names, _UNKNOWN for another text."""
    import pyarrow as pa
    from pyarrow import compute

    found = compute.index_in(texts, value_set=pa.array(names, texts.type)).fill_null(_UNKNOWN).cast("uint8")
    return bytes(_places(found, "B"))


def _places(numbers: Any, form: Literal["B", "q"]) -> memoryview:
    """Return the numbers of an array without missing ones, by their form in the struct module."""
    buffer = numbers.buffers()[1]
    return memoryview(buffer if buffer is not None else b"").cast("B").cast(form)[numbers.offset :][: len(numbers)]


def _text_buffers(texts: Any) -> tuple[Sequence[int], memoryview]:
    """Return where each text begins (one more than there are texts), and the bytes of all."""
    from pyarrow import types

    _, offsets, data = texts.buffers()
    if offsets is None:
        return [0], memoryview(b"")
    form = "q" if types.is_large_string(texts.type) else "i"
    places = memoryview(offsets).cast("B").cast(form)[texts.offset :][: len(texts) + 1]
    # Only views on bytes can be hashed.
    return places, memoryview(data.to_pybytes() if data is not None else b"")


def _is_label(array: Any) -> bool:
    from pyarrow import types

    return types.is_boolean(array.type)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _is_turns(kind: Any, layout: str) -> bool:
    from pyarrow import types

    if not (types.is_list(kind) or types.is_large_list(kind)) or not types.is_struct(kind.value_type):
        return False
    turn = kind.value_type
    return all(turn.get_field_index(name) >= 0 and _is_text(turn.field(name).type) for name in TURN_FIELDS[layout])
