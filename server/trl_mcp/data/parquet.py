"""Rows of Parquet files: only the columns that are needed, only the row groups that are asked for, never a whole file."""
# pyarrow ships no types; what leaves this module is typed or a RecordBatch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from trl_mcp.data.sources import HEAD_ROWS, Chunk, DataFile, Row, unreadable
from trl_mcp.errors import NotPossible

T = TypeVar("T")
MOST_BYTES = 2_000_000_000
BATCH_BYTES = 16 << 20
BATCH_ROWS = 16_384
# A row group above this is not fetched at once: its columns are streamed through buffers of that size.
WHOLE_GROUP_BYTES = 64 << 20
STREAM_BYTES = 4 << 20
# What the look at the first rows may fetch of a column that turns out not to be needed.
HEAD_BYTES = 256 << 10
FOOTERS_AT_ONCE = 8
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
    """The rows of Parquet files; a RowReader whose `rows_total` is known from the start."""

    def __init__(self, files: Sequence[DataFile], part: Any, deadline: float, most_bytes: int = MOST_BYTES) -> None:
        footers = _side_by_side(_footer, files)
        count = sum(footer.num_rows for footer in footers)
        self._start, self._stop = part.bounds(count)
        self.rows_total: int | None = max(0, min(self._stop, count) - self._start)
        self.complete = True
        schema = list(footers[0].schema.to_arrow_schema())
        self.byte_columns: Sequence[str] = [field.name for field in schema if _holds_bytes(field.type)]
        self._text_columns = [field.name for field in schema if field.name not in self.byte_columns]
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
        self.complete = len(chosen) == len(self._groups)
        batches = (chunk for group in chosen for chunk in self._group_chunks(group, columns))
        try:
            for chunk in _read_ahead(batches):
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
        raise _fault(file, error) from None


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


def _side_by_side(work: Callable[[DataFile], T], files: Sequence[DataFile]) -> list[T]:
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        return list(pool.map(work, files))


def _read_ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks while the next one is being fetched and unpacked in another thread."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk


def _is_part(path: str, columns: Sequence[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return False
