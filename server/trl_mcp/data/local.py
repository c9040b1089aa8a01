"""Data files on this machine: which may be read, and what a job would make of their rows."""

import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.errors import InvalidArguments, NotFound, UnreadableData
from trl_mcp.render.templates import job_module
from trl_mcp.values import DataReport

SCAN_SECONDS = 18.0


@dataclass(frozen=True, slots=True)
class RowWishes:
    """What the caller said about the rows: the split, the columns by target, a system prompt."""

    method: str
    split: str = "train"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    has_chat_template: bool = True


def scan_local(path: Path, wishes: RowWishes) -> DataReport:
    """Convert every row as the job will and return what came of it.

    Raises NotFound for a path or split that is not there, InvalidArguments for one that may not be read or columns
    that are not there, UnreadableData for a file that is not what its name says (with the line).
    """
    _check_path(path)
    rows_module = job_module("rows")
    rules = rows_module.RowRules(wishes.method, wishes.columns, wishes.system_prompt, wishes.has_chat_template)
    scan = _Scan(_rows(path, wishes.split, rules), wishes.columns, time.monotonic() + SCAN_SECONDS)
    dropped: Counter[str] = Counter()
    first: Mapping[str, Any] = {}
    kept = 0
    try:
        for row in rows_module.convert_rows(scan, rules, dropped):
            first = first or row
            kept += 1
    except job_module("files").UnreadableFile as error:
        raise UnreadableData(f"{error}.", next_step="Mend the file and call again. Nothing was started.") from None
    return DataReport(
        name=path.name,
        layout=rows_module.layout_of(first) or ", ".join(scan.names) or "no rows",
        conversion=_conversion(first, wishes),
        rows_checked=scan.count,
        rows_kept=kept,
        complete=scan.complete,
        fingerprint=fingerprint(path),
        dropped=rows_module.explain_dropped(dropped),
    )


class _Scan:
    """Rows that pass by until the time is up; the first one must have the columns that were named."""

    def __init__(self, rows: Iterator[Mapping[str, Any]], columns: Mapping[str, str], deadline: float) -> None:
        self.count = 0
        self.complete = True
        self.names: list[str] = []
        self._rows = rows
        self._columns = columns
        self._deadline = deadline

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            if self.count == 0:
                self._begin(row)
            self.count += 1
            yield row
            if self.count % 512 == 0 and time.monotonic() > self._deadline:
                self.complete = False
                return

    def _begin(self, row: Mapping[str, Any]) -> None:
        self.names = [str(name) for name in row]
        missing = [source for source in self._columns.values() if source not in row]
        if missing:
            raise InvalidArguments(
                f"The data has no column {', '.join(missing)}.",
                allowed=f"It has: {', '.join(self.names)}.",
                next_step='columns takes "target=source" with one of these as source.',
            )


def _rows(path: Path, split: str, rules: Any) -> Iterator[Mapping[str, Any]]:
    rows_module, source = job_module("rows"), job_module("source")
    try:
        part = rows_module.parse_split(split)
    except ValueError as error:
        raise InvalidArguments(f"dataset_split: {error}.") from None
    try:
        return source.path_rows(path, part, rows_module.source_columns(rules))
    except job_module("files").UnreadableFile as error:
        raise NotFound(f"{str(error).replace(str(path), path.name)}.", next_step="Name one of these.") from None


def _check_path(path: Path) -> None:
    """Refuse what is no data: hidden places, devices, other kinds of file."""
    kinds = ", ".join(f".{kind}" for kind in job_module("files").DATA_KINDS)
    try:
        resolved = path.resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError):
        raise NotFound(
            f'There is no data file or folder "{path.name}" at the path given.',
            allowed=f"A data file ends in {kinds}; a folder of such files will do.",
            next_step="Give its absolute path. Nothing was started.",
        ) from None
    if any(part.startswith(".") for part in (*path.parts, *resolved.parts)):
        raise InvalidArguments(f'"{path.name}" lies in a hidden folder or is hidden; such files are never read.')
    is_data = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and job_module("files").file_kind(resolved.name))
    if not is_data:
        raise InvalidArguments(f'"{path.name}" is no data file.', allowed=f"A data file ends in {kinds}.")


def _conversion(row: Mapping[str, Any], wishes: RowWishes) -> str:
    """Say in a few words what becomes of a row."""
    renamed = ", ".join(f"{source} as {target}" for target, source in wishes.columns.items())
    turns = "as conversations" if isinstance(row.get("prompt"), list) else "as they are"
    return f"{renamed}, {turns}" if renamed else turns
