"""Data files on this machine: which may be read, and which split each belongs to."""

from functools import partial
from pathlib import Path
from typing import Any

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.data.sources import DataFile, RowSource, unreadable
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.render.templates import job_module


def local_source(path: Path) -> RowSource:
    """Return the data file, or the files of the folder sorted into splits as a job sorts them.

    Raises NotFound for a path that is not there, InvalidArguments for one that may not be read.
    """
    _check_path(path)
    files = job_module("files")
    try:
        splits = {name: tuple(map(_data_file, paths)) for name, paths in files.list_splits(path).items()}
        content = fingerprint(path)
    except OSError as error:
        raise unreadable(f"{path.name} cannot be read: {error.strerror or type(error).__name__}") from None
    return RowSource(path.name, str(path), content, splits, canonical=_canonical)


def _canonical(split: str) -> str:
    return str(job_module("files").split_called(split) or split)


def _data_file(path: Path) -> DataFile:
    kind: Any = job_module("files").file_kind(path.name)
    known = path.stat()
    return DataFile(path.name, str(kind), partial(path.open, "rb"), known.st_size, known.st_ctime_ns)


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
    try:
        found = files.data_files(resolved) if resolved.is_dir() else [resolved]
    except files.UnreadableFileError:
        raise InvalidArguments(
            f'The folder "{path.name or path}" holds more than {files.MOST_ENTRIES:,} files.',
            next_step="Give the path of the folder that holds the data alone. Nothing was started.",
        ) from None
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
