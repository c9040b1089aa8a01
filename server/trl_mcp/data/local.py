"""Data files on this machine: which may be read, and what a job would make of their rows."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.errors import InvalidArguments, NotFound, UnreadableData
from trl_mcp.render.templates import job_module
from trl_mcp.schema import did_you_mean
from trl_mcp.values import DataReport

SCAN_SECONDS = 18.0


@dataclass(frozen=True, slots=True)
class RowWishes:
    """What the caller said about the rows: the split, the one to evaluate on (None: no split of its own), the columns by target, a system prompt."""

    method: str
    split: str = "train"
    eval_split: str | None = None
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
    part = _part_of(path, "dataset_split", wishes.split)
    if wishes.eval_split is not None:
        _part_of(path, "eval_split", wishes.eval_split)
    deadline = time.monotonic() + SCAN_SECONDS
    dropped: Counter[str] = Counter()
    first: Mapping[str, Any] = {}
    kept = 0
    try:
        names = _check_columns(path, part, wishes)
        rows = job_module("source").path_rows(path, part, rows_module.source_columns(rules))
        scan = _Scan(rows, deadline)
        for row in rows_module.convert_rows(scan, rules, dropped):
            first = first or row
            kept += 1
    except (job_module("files").UnreadableFileError, RecursionError) as error:
        fault = f"{path.name} holds a row that is nested too deeply" if isinstance(error, RecursionError) else error
        raise UnreadableData(f"{fault}.", next_step="Mend the file and call again. Nothing was started.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableData(f"{path.name} cannot be read: {reason}.", next_step="Nothing was started.") from None
    return DataReport(
        name=path.name,
        layout=rows_module.layout_of(first) or ", ".join(names) or "no rows",
        conversion=_conversion(first, wishes),
        rows_checked=scan.count,
        rows_kept=kept,
        complete=scan.complete,
        fingerprint=fingerprint(path),
        dropped=rows_module.explain_dropped(dropped),
    )


def check_targets(method: str, targets: Iterable[str]) -> None:
    """Raise InvalidArguments for a column that the method does not read."""
    known: list[str] = list(job_module("rows").METHOD_TARGETS[method])
    for target in targets:
        if target not in known:
            raise InvalidArguments(
                f'columns: {method} reads no "{target}".{did_you_mean(target, known)}',
                allowed=f'Each entry is "target=source"; targets: {", ".join(known)}.',
                next_step="Nothing was started.",
            )


class _Scan:
    """Rows that pass by until the time is up, counted."""

    def __init__(self, rows: Iterator[Mapping[str, Any]], deadline: float) -> None:
        self.count = 0
        self.complete = True
        self._rows = rows
        self._deadline = deadline

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            self.count += 1
            yield row
            if self.count % 512 == 0 and time.monotonic() > self._deadline:
                self.complete = False
                return


def _check_columns(path: Path, part: Any, wishes: RowWishes) -> list[str]:
    """Return the names of the columns, as the first row has them; each source that was named must be among them."""
    only_first = replace(part, start=None, stop=1, percent=False)
    rows = cast(Iterator[Mapping[str, Any]], job_module("source").path_rows(path, only_first, []))
    row = next(rows, cast(Mapping[str, Any], {}))
    names = [str(name) for name in row]
    missing = [source for source in wishes.columns.values() if source not in names]
    if missing and names:
        raise InvalidArguments(
            f"The data has no column {', '.join(missing)}.{did_you_mean(missing[0], names)}",
            allowed=f"It has: {', '.join(names)}.",
            next_step='columns takes "target=source" with one of these as source. Nothing was started.',
        )
    return names


def _part_of(path: Path, argument: str, text: str) -> Any:
    """Return the part of the data that an argument names. Raises InvalidArguments, NotFound."""
    files = job_module("files")
    try:
        part = job_module("rows").parse_split(text)
    except ValueError as error:
        raise InvalidArguments(f"{argument}: {error}.", next_step="Nothing was started.") from None
    splits = files.list_splits(path)
    if (files.split_called(part.name) or part.name) not in splits:
        raise NotFound(
            f'{argument}: "{path.name}" has no split "{part.name}".',
            allowed=f"It has: {', '.join(splits)}.",
            next_step="Nothing was started.",
        )
    return part


def _check_path(path: Path) -> None:
    """Refuse what is no data: hidden places, devices, other kinds of file."""
    files = job_module("files")
    kinds = ", ".join(f".{kind}" for kind in files.DATA_KINDS)
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise NotFound(
            f'There is no data file or folder "{path.name}" at the path given.',
            allowed=f"A data file ends in {kinds}; a folder of such files will do.",
            next_step="Give its absolute path. Nothing was started.",
        ) from None
    if any(part.startswith(".") for part in (*path.parts, *resolved.parts)):
        raise InvalidArguments(
            f'"{path.name}" lies in a hidden folder or is hidden; such files are never read.',
            next_step="Give the path of a copy elsewhere, without dots as folders. Nothing was started.",
        )
    found = files.data_files(resolved) if resolved.is_dir() else [resolved]
    if not found:
        raise InvalidArguments(
            f'The folder "{path.name}" holds no data file.',
            allowed=f"A data file ends in {kinds}.",
            next_step="Nothing was started.",
        )
    odd = next((file.name for file in found if not _is_data_file(file.resolve())), None)
    if odd is not None:
        raise InvalidArguments(
            f'"{odd}" is no data file.', allowed=f"A data file ends in {kinds}.", next_step="Nothing was started."
        )


def _is_data_file(resolved: Path) -> bool:
    """Tell whether a path without links is that of a regular file of a known kind."""
    is_hidden = any(part.startswith(".") for part in resolved.parts)
    return resolved.is_file() and not is_hidden and job_module("files").file_kind(resolved.name) is not None


def _conversion(row: Mapping[str, Any], wishes: RowWishes) -> str:
    """Say in a few words what becomes of a row."""
    renamed = ", ".join(f"{source} as {target}" for target, source in wishes.columns.items())
    turns = "as conversations" if isinstance(row.get("prompt"), list) else "as they are"
    return f"{renamed}, {turns}" if renamed else turns
