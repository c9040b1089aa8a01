"""Rows of Parquet files: only the columns that are needed, only the row groups that are asked for, never a whole file."""
# pyarrow ships no types; what leaves this module is typed or a RecordBatch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trl_mcp.data.sources import HEAD_ROWS, Chunk, DataFile, Row, kind_in_truth, read_ahead, uncounted, unreadable
from trl_mcp.errors import NotPossible

MOST_BYTES = 2_000_000_000
BATCH_BYTES = 16 << 20
BATCH_ROWS = 16_384
# A row group above this is not fetched at once: its columns are streamed through buffers of that size.
WHOLE_GROUP_BYTES = 64 << 20
STREAM_BYTES = 4 << 20
# What the look at the first rows may fetch of a column that turns out not to be needed.
HEAD_BYTES = 256 << 10
FOOTERS_AT_ONCE = 16
# The share of the time in which files are looked into, before rows are read.
FOOTERS_SHARE = 0.4
_BYTES: Mapping[str, object] = MappingProxyType({"bytes": None})


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: in which file, which one there, the number of its first row in the split, how many rows."""

    file: DataFile
    footer: Any
    number: int
    first_row: int
    rows: int

    def bytes(self, columns: Sequence[str]) -> tuple[int, int]:
        """Return the bytes of some columns, as they are stored and unpacked."""
        group = self.footer.row_group(self.number)
        wanted = [group.column(index) for index in range(group.num_columns)]
        wanted = [column for column in wanted if _is_part(column.path_in_schema, columns)]
        return sum(column.total_compressed_size for column in wanted), sum(
            column.total_uncompressed_size for column in wanted
        )


class ParquetRows:
    """The rows of Parquet files; a RowReader whose `rows_total` is known from the start.

    Of more files than can be looked into in time the first ones are read.
    """

    def __init__(self, files: Sequence[DataFile], part: Any, deadline: float, most_bytes: int = MOST_BYTES) -> None:
        now = time.monotonic()
        footers = _footers(files, now + (deadline - now) * FOOTERS_SHARE)
        self._has_all = len(footers) == len(files)
        files = files[: len(footers)]
        count = sum(footer.num_rows for footer in footers)
        if part.needs_count and not self._has_all:
            raise uncounted(part.name)
        self._start, self._stop = part.bounds(count)
        self.rows_total: int | None = max(0, min(self._stop, count) - self._start) if self._has_all else None
        self.complete = self._has_all
        columns = _columns(files, footers)
        self.byte_columns: Sequence[str] = [name for name, holds_bytes in columns.items() if holds_bytes]
        self._text_columns = [name for name, holds_bytes in columns.items() if not holds_bytes]
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._groups = [
            group
            for group in _groups(files, footers)
            if group.first_row < self._stop and group.first_row + group.rows > self._start
        ]

    def head(self) -> list[Row]:
        """Return the first rows; of bytes, as images and sound are kept, only that they are there."""
        rows: list[Row] = []
        media = dict.fromkeys(self.byte_columns, _BYTES)
        for group in self._groups:
            for chunk in self._group_chunks(group, self._text_columns, HEAD_BYTES):
                rows += [row | media for row in chunk.rows.slice(0, HEAD_ROWS - len(rows)).to_pylist()]
                if len(rows) >= HEAD_ROWS:
                    return rows
        return rows

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows; of more than MOST_BYTES, those of evenly spread row groups."""
        chosen = self._spread(columns)
        self.complete = self._has_all and len(chosen) == len(self._groups)
        batches = (chunk for group in chosen for chunk in self._group_chunks(group, columns))
        try:
            for chunk in read_ahead(batches):
                yield chunk
                if time.monotonic() > self._deadline:
                    self.complete = self.complete and self._is_last(chunk)
                    return
        except NotPossible:
            # Files elsewhere are no longer read after the deadline either.
            if time.monotonic() < self._deadline:
                raise
            self.complete = False

    def _is_last(self, chunk: Chunk) -> bool:
        last = self._groups[-1]
        return chunk.first_row + len(chunk.rows) >= min(self._stop, last.first_row + last.rows)

    def _spread(self, columns: Sequence[str]) -> list[_Group]:
        sizes = [group.bytes(columns)[0] for group in self._groups]
        if sum(sizes) <= self._most_bytes:
            return self._groups
        count = max(1, len(sizes) * self._most_bytes // sum(sizes))
        return [self._groups[index * len(sizes) // count] for index in range(count)]

    def _group_chunks(self, group: _Group, columns: Sequence[str], buffer: int = 0) -> Iterator[Chunk]:
        """Yield the rows of a group that lie in the part; `buffer` limits what is fetched at once."""
        stored, unpacked = group.bytes(columns)
        rows_at_once = max(16, min(BATCH_ROWS, group.rows * BATCH_BYTES // max(unpacked, 1)))
        fetch_whole = not buffer and stored <= WHOLE_GROUP_BYTES
        first = group.first_row
        options = {
            "metadata": group.footer,
            "pre_buffer": fetch_whole,
            "buffer_size": 0 if fetch_whole else buffer or STREAM_BYTES,
        }
        size = min(rows_at_once, HEAD_ROWS) if buffer else rows_at_once
        for batch in _batches(group.file, options, {"row_groups": [group.number], "columns": columns}, size):
            _check_text(group.file, batch, first)
            start, stop = max(self._start - first, 0), min(self._stop - first, batch.num_rows)
            if start < stop:
                yield Chunk(first + start, batch.slice(start, stop - start), is_batch=True)
            first += batch.num_rows


def iterate_file(file: DataFile) -> Iterator[Any]:
    """Yield the batches of a whole file."""
    return _batches(file, {}, {}, 1024)


def _batches(file: DataFile, options: dict[str, Any], wanted: dict[str, Any], size: int) -> Iterator[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with file.open() as stream, ParquetFile(stream, **options) as opened:
            yield from opened.iter_batches(size, **wanted)
    except (ArrowException, OSError) as error:
        raise _fault(file, error) from None


def _footer(file: DataFile) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        with file.open() as stream:
            return read_metadata(stream)
    except (ArrowException, OSError) as error:
        with file.open() as stream:
            start = stream.read(64)
        kind = None if start.startswith(b"PAR1") else kind_in_truth(start)
        raise unreadable(f"{file.name} {kind}") if kind else _fault(file, error) from None


def _columns(files: Sequence[DataFile], footers: Sequence[Any]) -> dict[str, bool]:
    """Return the columns of all files, and of each whether it holds bytes. Raises UnreadableData for two of one name."""
    columns: dict[str, bool] = {}
    known: Any = None
    for file, footer in zip(files, footers, strict=True):
        if known is not None and footer.schema.equals(known):
            continue
        known = footer.schema
        fields = list(known.to_arrow_schema())
        names = Counter(field.name for field in fields)
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice is not None:
            raise unreadable(f'{file.name} has more than one column named "{twice}"')
        columns |= {field.name: columns.get(field.name, False) or _holds_bytes(field.type) for field in fields}
    return columns


def _check_text(file: DataFile, batch: Any, first_row: int) -> None:
    """Raise UnreadableData, naming the row, where text is not UTF-8: Parquet files are not checked when written."""
    from pyarrow import ArrowInvalid

    try:
        batch.validate(full=True)
    except ArrowInvalid as error:
        if batch.num_rows > 1:
            half = batch.num_rows // 2
            _check_text(file, batch.slice(0, half), first_row)
            _check_text(file, batch.slice(half), first_row + half)
        raise unreadable(f"{file.name}: row {first_row} holds what cannot be read ({error})") from None


def _fault(file: DataFile, error: Exception) -> Exception:
    return unreadable(f"{file.name} is no readable Parquet file: {error}")


def _groups(files: Sequence[DataFile], footers: Sequence[Any]) -> Iterator[_Group]:
    first_row = 0
    for file, footer in zip(files, footers, strict=True):
        for number in range(footer.num_row_groups):
            rows = footer.row_group(number).num_rows
            yield _Group(file, footer, number, first_row, rows)
            first_row += rows


def _footers(files: Sequence[DataFile], until: float) -> list[Any]:
    """Return what the files say of themselves: of all, or of the first ones that say it in time."""

    def footer(file: DataFile) -> Any:
        return _footer(file) if time.monotonic() < until else None

    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        return list(itertools.takewhile(lambda found: found is not None, pool.map(footer, files)))


def _is_part(path: str, columns: Sequence[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return False
