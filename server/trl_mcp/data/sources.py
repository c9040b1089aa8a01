"""Where rows come from: files that are read alike, be they on this machine, on the Hub or on the web."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from trl_mcp.errors import InvalidArguments, NotFound, NotPossible, UnreadableData
from trl_mcp.render.templates import job_module
from trl_mcp.schema import did_you_mean

Row = Mapping[str, Any]
Progress = Callable[[int, int | None], None]
HEAD_ROWS = 100


# How files begin that are often given another name, and what is to be done then.
_BEGINNINGS = {
    b"version https://git-lfs": "is the pointer of Git LFS, not the data: fetch the file itself (git lfs pull)",
    b"<!doctype html": "is a web page, not data: download the file itself",
    b"<html": "is a web page, not data: download the file itself",
    b"PAR1\x15": "is a Parquet file: name it .parquet",
    b"\x1f\x8b": "is packed with gzip: add .gz to its name",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xff\xfe": "is UTF-16 or UTF-32 text, not UTF-8 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text, not UTF-8 text; save it as UTF-8",
}


class TimeIsUp(Exception):
    """The deadline came in the middle of a file; the rows before it were read."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of rows. `kind` is one of files.DATA_KINDS; `open` starts at its first byte, from any thread.

    `changed_ns` is when a file of this machine was changed last. Parquet is read through a seekable file, everything
    else from front to back.
    """

    name: str
    kind: str
    open: Callable[[], BinaryIO]
    size: int | None = None
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """The files of a data set on the Hub that a job reads as they were looked at: at which commit, and those of each
    split.
    """

    revision: str
    files: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class RowSource:
    """A data set that can be read: `reference` is what the caller named it by, `splits` are the files of each split.

    `fingerprint` changes with the content; `canonical` gives the name in `splits` of a split as a caller calls it;
    `rows_total` is what others say of how many rows a split has, `notes` what a reader should know beside, `named`
    are the files of a data set on the Hub that a job is to read.
    """

    name: str
    reference: str
    fingerprint: str
    splits: Mapping[str, tuple[DataFile, ...]]
    revision: str | None = None
    canonical: Callable[[str], str] = str
    rows_total: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()
    named: NamedFiles | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that follow each other: dicts, or a pyarrow RecordBatch; `first_row` is the number of the first one in the
    whole split, from 0.
    """

    first_row: int
    rows: Any
    is_batch: bool = False


class RowReader(Protocol):
    """The rows of one part of a split. `rows_total` (of the part) and `complete` are settled once `chunks` has ended;
    `byte_columns` hold no text but bytes, as images do.
    """

    rows_total: int | None
    complete: bool
    byte_columns: Sequence[str]

    def head(self) -> list[Row]:
        """Return the first rows, up to HEAD_ROWS, with every column that may matter."""
        ...

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Yield all rows with these columns (more may come along) until the deadline."""
        ...


def read_split(source: RowSource, argument: str, text: str, deadline: float) -> RowReader:
    """Return a reader of the rows that `text` names, as in train or train[10%:20%].

    `argument` names the text in errors; `deadline` is in seconds of time.monotonic. Raises InvalidArguments, NotFound,
    UnreadableData.
    """
    from trl_mcp.data.parquet import ParquetRows
    from trl_mcp.data.sequence import SequenceRows

    part = split_part(source, argument, text)
    files = source.splits[source.canonical(part.name)]
    if all(file.kind == "parquet" for file in files):
        return ParquetRows(files, part, deadline)
    return SequenceRows(files, part, deadline)


def read_ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks while the next one is being fetched and unpacked in another thread."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk


def split_part(source: RowSource, argument: str, text: str) -> Any:
    """Return the part of the data that an argument names. Raises InvalidArguments, NotFound."""
    part = parse_part(argument, text)
    if source.canonical(part.name) not in source.splits:
        raise NotFound(
            f'{argument}: "{source.name}" has no split "{part.name}".{did_you_mean(part.name, source.splits)}',
            allowed=f"It has: {', '.join(source.splits)}.",
            next_step="Nothing was started.",
        )
    return part


def parse_part(argument: str, text: str) -> Any:
    """Return a split, or a slice of it, that an argument names. Raises InvalidArguments."""
    try:
        return job_module("rows").parse_split(text)
    except ValueError as error:
        raise InvalidArguments(f"{argument}: {error}.", next_step="Nothing was started.") from None


def kind_in_truth(block: bytes) -> str | None:
    """Say what a file is by its first bytes, where it is none of those that hold rows of text."""
    start = block[:64].lstrip()
    return next((what for mark, what in _BEGINNINGS.items() if start.lower().startswith(mark.lower())), None)


def uncounted(split: str) -> NotPossible:
    """Return the error of a part of a split that depends on how many rows there are."""
    return NotPossible(
        f"The rows of the split {split} could not be counted in time, which a share or a negative number of rows "
        "needs.",
        next_step=f"Give row numbers, as in {split}[:100000]. Nothing was started.",
    )


def unreadable(fault: object) -> UnreadableData:
    """Return the error of a file that is not what its name says."""
    return UnreadableData(f"{str(fault).rstrip('.')}.", next_step="Mend the file and call again. Nothing was started.")
