"""Where rows come from: files that are read alike, be they on this machine, on the Hub or on the web."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from trl_mcp.errors import InvalidArguments, NotFound, UnreadableData
from trl_mcp.render.templates import job_module
from trl_mcp.schema import did_you_mean

Row = Mapping[str, Any]
Progress = Callable[[int, int | None], None]
HEAD_ROWS = 100


class TimeIsUp(Exception):
    """The deadline came in the middle of a file; the rows before it were read."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of rows. `kind` is one of files.DATA_KINDS; `open` starts at its first byte, from any thread.

    Parquet is read through a seekable file, everything else from front to back.
    """

    name: str
    kind: str
    open: Callable[[], BinaryIO]
    size: int | None = None


@dataclass(frozen=True, slots=True)
class HubParquet:
    """The Hub's conversion of a data set to Parquet, read in place of its own files: at which commit, and the files of
    each split.
    """

    revision: str
    files: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class RowSource:
    """A data set that can be read: `reference` is what the caller named it by, `splits` are the files of each split.

    `fingerprint` changes with the content; `canonical` gives the name in `splits` of a split as a caller calls it;
    `rows_total` is what others say of how many rows a split has, `notes` what a reader should know beside, `parquet`
    says that the files are not the data set's own.
    """

    name: str
    reference: str
    fingerprint: str
    splits: Mapping[str, tuple[DataFile, ...]]
    revision: str | None = None
    canonical: Callable[[str], str] = str
    rows_total: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()
    parquet: HubParquet | None = None


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


def unreadable(fault: object) -> UnreadableData:
    """Return the error of a file that is not what its name says."""
    return UnreadableData(f"{str(fault).rstrip('.')}.", next_step="Mend the file and call again. Nothing was started.")
