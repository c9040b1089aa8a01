"""Data files on this machine: which ones a path means, which split each belongs to, and the rows in them.

Standard library only, and never more than one row (or one piece of a file) in memory. Parquet files are listed
here and read elsewhere, since they need a library.
"""

import csv
import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

DATA_KINDS = ("jsonl", "json", "csv", "jsonl.gz", "json.gz", "csv.gz", "parquet")
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
CHUNK_CHARACTERS = 1 << 20
ROW_CHARACTERS = 1 << 26
MOST_ENTRIES = 100_000
OTHER_SEPARATORS = (";", "\t", "|")
JSON_KINDS = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class UnreadableFileError(ValueError):
    """A file that is not what its name says; the message names the file and the place."""


def file_kind(name: str) -> str | None:
    """Tell a data file's kind by its name."""
    return next((kind for kind in DATA_KINDS if name.lower().endswith(f".{kind}")), None)


def list_splits(path: Path) -> dict[str, list[Path]]:
    """Return the data files of each split: a file is train, a folder is sorted out by the words in its names."""
    if path.is_file():
        return {"train": [path]}
    splits: dict[str, list[Path]] = {}
    for file in data_files(path):
        splits.setdefault(split_of(file.relative_to(path).as_posix()), []).append(file)
    return splits


def data_files(folder: Path) -> list[Path]:
    """List the data files in a folder and below it in sorted order, without hidden ones."""
    found: list[Path] = []
    entries = 0
    for place, folders, names in os.walk(folder):
        entries += len(folders) + len(names)
        if entries > MOST_ENTRIES:
            raise UnreadableFileError(f"{folder} holds more than {MOST_ENTRIES:,} files; name the folder of the data")
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if file_kind(name) and not name.startswith(".")]
    return sorted(found)


def split_of(name: str) -> str:
    """Tell the split that a file's name speaks of, the last such word deciding; train where it names none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for word in reversed(words) if (split := split_called(word))), "train")


def split_called(word: str) -> str | None:
    """Return the split that a word stands for: dev is validation, eval is test."""
    return next((split for split, words in SPLIT_WORDS.items() if word in words), None)


def read_text_file(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON, JSON Lines or CSV file, one at a time."""
    readers = {"jsonl": read_json_lines, "json": read_json_values, "csv": read_csv}
    try:
        with open_text(path, kind) as stream:
            yield from readers[kind.removesuffix(".gz")](stream, path.name)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise UnreadableFileError(f"{path.name} is no whole gzip file ({error})") from error


def open_text(path: Path, kind: str) -> TextIO:
    """Open a file as text, unpacked and without a byte order mark."""
    if kind.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def read_lines(stream: TextIO, name: str) -> Iterator[str]:
    """Yield the lines of a file that may have none at all."""
    for number, line in enumerate(iter(lambda: stream.readline(ROW_CHARACTERS), ""), 1):
        if len(line) == ROW_CHARACTERS:
            raise UnreadableFileError(f"{name} line {number} is longer than {ROW_CHARACTERS:,} characters")
        yield line


def read_json_lines(stream: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the object on each line that is not empty; those of an array where the file begins with one."""
    decode, is_first = json.JSONDecoder().decode, True
    for number, line in enumerate(read_lines(stream, name), 1):
        if line.isspace():
            continue
        if is_first and line.lstrip().startswith("["):
            yield from read_json_values(stream, name, line)
            return
        try:
            row = decode(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableFileError(f"{name} line {number} {json_fault(error, line, is_first)}") from error
        yield row if isinstance(row, dict) else checked_object(row, f"{name} line {number}")
        is_first = False


def json_fault(error: Exception, line: str, is_first: bool) -> str:
    """Say why a line is no JSON."""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if "\0" in line:
        return "holds NUL bytes, as damaged files and UTF-16 text do"
    if not isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON: {error}"
    spans_lines = is_first and line.lstrip().startswith("{") and not line.rstrip().endswith("}")
    hint = "; where an object takes several lines, name the file .json" if spans_lines else ""
    return f"is not valid JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}{hint}"


def read_csv(stream: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows below the line of column names; what a short row has not is None."""
    csv.field_size_limit(ROW_CHARACTERS)
    reader = csv.reader(read_lines(stream, name), strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in filter(None, reader):
            if names is None:
                names = checked_header(cells, name)
            elif len(cells) == len(names):
                yield dict(zip(names, cells, strict=True))
            else:
                yield uneven_row(names, cells, f"{name} line {line}")
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableFileError(f"{name} is not valid CSV in the row that begins in line {line}: {error}") from error


def checked_header(cells: list[str], name: str) -> list[str]:
    """Return the names of the columns if they can be told apart."""
    other = next((mark for mark in OTHER_SEPARATORS if mark in cells[0]), None)
    if len(cells) == 1 and other:
        raise UnreadableFileError(f"{name} separates its columns by {other!r}; save it with commas")
    twice = next((cell for cell in cells if cell and cells.count(cell) > 1), None)
    if twice is not None:
        raise UnreadableFileError(f"{name} has more than one column named {twice!r}")
    return cells


def uneven_row(names: list[str], cells: list[str], place: str) -> dict[str, Any]:
    """Return a row that has more or fewer cells than there are columns; further cells must be empty."""
    if any(cells[len(names) :]):
        raise UnreadableFileError(
            f"{place} has {len(cells)} cells for {len(names)} columns; put texts that hold commas between quotes"
        )
    return dict.fromkeys(names) | dict(zip(names, cells, strict=False))


def read_json_values(stream: TextIO, name: str, start: str = "") -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON array, or of a file that is a sequence of objects; `start` was read already."""
    window = JsonWindow(stream, start)
    is_array = window.skip("[")
    number = 0
    while window.peek() not in ("", "]"):
        try:
            row = window.value()
        except RecursionError as error:
            raise UnreadableFileError(f"{name} row {number} is nested too deeply") from error
        except ValueError as error:
            raise UnreadableFileError(
                f"{name} is not valid JSON in row {number}: {getattr(error, 'msg', error)}"
            ) from error
        yield checked_object(row, f"{name} row {number}")
        number += 1
        if is_array and not window.skip(",") and window.peek() != "]":
            raise UnreadableFileError(f"{name} is not valid JSON after row {number - 1}: a comma or the end is missing")
    if (is_array and not window.skip("]")) or window.peek():
        raise UnreadableFileError(f"{name} is not valid JSON after row {number - 1}: the end of the array is missing")


def checked_object(row: Any, place: str) -> dict[str, Any]:
    """Return the row if it is an object with named columns."""
    if not isinstance(row, dict):
        raise UnreadableFileError(f"{place} is {JSON_KINDS.get(type(row), 'null')}, not an object with columns")
    return row


class JsonWindow:
    """A view on a JSON text that moves along and holds little more than the value it is at."""

    def __init__(self, stream: TextIO, start: str = "") -> None:
        """Begin before the first character, which is in `start` where that was read from the stream already."""
        self.stream = stream
        self.text = start
        self.place = 0
        self.decoder = json.JSONDecoder()

    def read_on(self) -> bool:
        """Forget what was read and take in as much again as is left; tell whether anything came."""
        rest = self.text[self.place :]
        more = self.stream.read(max(CHUNK_CHARACTERS, len(rest))) if len(rest) < ROW_CHARACTERS else ""
        self.text, self.place = rest + more, 0
        return bool(more)

    def peek(self) -> str:
        """Return the next character that is no white space, nothing at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.text) or not self.read_on():
                return self.text[self.place : self.place + 1]

    def skip(self, mark: str) -> bool:
        """Go past the mark if it comes next."""
        found = self.peek() == mark
        self.place += found
        return found

    def value(self) -> Any:
        """Read one whole value."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.place)
            except ValueError:
                if self.read_on():
                    continue
                if len(self.text) >= ROW_CHARACTERS:
                    raise ValueError(f"it is longer than {ROW_CHARACTERS:,} characters") from None
                raise
            at_end = end == len(self.text)
            # A number at the very end may have more digits in the next piece.
            if at_end and self.read_on():
                continue
            self.place = len(self.text) if at_end else end
            return value
