"""Rows of text files, read from front to back: JSON, JSON Lines and CSV, packed or not, of any length."""

import gzip
import io
import itertools
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, cast

from trl_mcp.data.parquet import iterate_file
from trl_mcp.data.sources import (
    HEAD_ROWS,
    Chunk,
    DataFile,
    Row,
    TimeIsUp,
    kind_in_truth,
    read_ahead,
    uncounted,
    unreadable,
)
from trl_mcp.errors import NotPossible
from trl_mcp.render.templates import job_module

CHUNK_ROWS = 1024
CHUNK_BYTES = 4 << 20
READ_BYTES = 1 << 17


class SequenceRows:
    """The rows of files one after the other; a RowReader."""

    def __init__(self, files: Sequence[DataFile], part: Any, deadline: float) -> None:
        self.rows_total: int | None = None
        self.complete = True
        self.byte_columns: Sequence[str] = ()
        self._files = files
        self._part = part
        self._deadline = deadline
        self._first: Chunk | None = None
        self._rest: Iterator[Chunk] | None = None

    def head(self) -> list[Row]:
        """Return the first rows; they are not read a second time for `chunks`."""
        self._rest = self._rest or self._read()
        self._first = self._first or next(self._rest, None)
        return list(self._first.rows) if self._first else []

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:  # noqa: ARG002 # as RowReader has it
        """Yield all rows, whatever columns are asked for: text comes whole."""
        self.head()
        rest = cast(Iterator[Chunk], self._rest)
        count = 0
        for chunk in itertools.chain([self._first] if self._first else [], read_ahead(rest)):
            count += len(chunk.rows)
            yield chunk
        self.rows_total = count if self.complete else None

    def _read(self) -> Iterator[Chunk]:
        start, stop = self._bounds()
        meter = _Meter(self._deadline)
        numbered = itertools.islice(enumerate(self._rows(meter)), start, stop)
        size = HEAD_ROWS
        while True:
            rows: list[Row] = []
            first = start
            try:
                for number, row in numbered:
                    first = first if rows else number
                    rows.append(row)
                    if len(rows) == size or meter.taken > CHUNK_BYTES:
                        break
            except TimeIsUp:
                self.complete = False
            if rows:
                yield Chunk(first, rows)
            self.complete = self.complete and not (rows and meter.is_late)
            if not rows or not self.complete:
                return
            meter.taken = 0
            size = CHUNK_ROWS

    def _bounds(self) -> tuple[int, int | None]:
        """Return the first row and the one after the last; the rows are counted first only where it must be."""
        if not self._part.needs_count:
            return self._part.start or 0, self._part.stop
        try:
            return self._part.bounds(sum(1 for _ in self._rows(_Meter(self._deadline))))
        except TimeIsUp:
            raise uncounted(self._part.name) from None

    def _rows(self, meter: "_Meter") -> Iterator[Row]:
        for file in self._files:
            try:
                yield from _file_rows(file, meter)
            except job_module("files").UnreadableFileError as error:
                raise unreadable(error) from None
            except RecursionError:
                raise unreadable(f"{file.name} holds a row that is nested too deeply") from None
            except NotPossible:
                # Files elsewhere are no longer read after the deadline either.
                if meter.is_late:
                    raise TimeIsUp from None
                raise
            except OSError as error:
                raise unreadable(f"{file.name} cannot be read: {error.strerror or type(error).__name__}") from None


class _Meter:
    """What was taken from files, in bytes after unpacking, and when to stop."""

    def __init__(self, deadline: float) -> None:
        self.taken = 0
        self._deadline = deadline

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def take(self, count: int) -> None:
        if self.is_late:
            raise TimeIsUp
        self.taken += count


class _Metered(io.BufferedIOBase):
    """A stream whose bytes are counted, and that ends with TimeIsUp when the time has come.

    `line` is the number of the line in which the last block begins, from 1. Raises UnreadableData for a file of
    another kind than its name says.
    """

    def __init__(self, stream: Any, meter: _Meter, name: str) -> None:
        self._stream = stream
        self._meter = meter
        self._name = name
        self._last: bytes | None = None
        self.line = 1

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes; there is no reading to the end at once."""
        return self.read1(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what one reading gives, which may be more than was asked for."""
        block = self._stream.read(max(size, READ_BYTES))
        self._meter.take(len(block))
        if self._last is None and (kind := kind_in_truth(block)):
            raise unreadable(f"{self._name} {kind}")
        self.line += (self._last or b"").count(b"\n")
        self._last = block
        return block


def _file_rows(file: DataFile, meter: _Meter) -> Iterator[Row]:
    if file.kind == "parquet":
        for batch in iterate_file(file):
            meter.take(batch.nbytes)
            yield from batch.to_pylist()
        return
    with closing(file.open()) as raw:
        plain: Any = gzip.GzipFile(fileobj=raw) if file.kind.endswith(".gz") else raw
        yield from _parsed(_Metered(plain, meter, file.name), file)


def _parsed(metered: _Metered, file: DataFile) -> Iterator[Row]:
    files = job_module("files")
    readers = {"jsonl": files.read_json_lines, "json": files.read_json_values, "csv": files.read_csv}
    try:
        with io.TextIOWrapper(cast(Any, metered), encoding="utf-8-sig", newline="") as stream:
            yield from readers[file.kind.removesuffix(".gz")](stream, file.name)
    except UnicodeDecodeError as error:
        line = metered.line + error.object[: error.start].count(b"\n")
        raise unreadable(f"{file.name} is not UTF-8 text ({error.reason} in line {line}); save it as UTF-8") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise unreadable(f"{file.name} is no whole gzip file ({error})") from None
