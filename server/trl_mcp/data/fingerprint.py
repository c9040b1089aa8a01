"""Names for content: what a file or folder holds, wherever it lies."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_WHOLE = 256 * 1024 * 1024
_BLOCK = 64 * 1024
_BLOCKS = 256


def fingerprint(path: Path) -> str:
    """Return a short hash of a file, or of a folder's files with their relative names.

    Files above 256 MiB are named by their size and 256 evenly spread blocks of 64 KiB, so that a model of many
    gigabytes is named in a moment.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        _add(digest.update, file)
    return digest.hexdigest()[:16]


def _add(update: Callable[[bytes], None], file: Path) -> None:
    size = file.stat().st_size
    update(size.to_bytes(8, "big"))
    with file.open("rb") as stream:
        if size <= _WHOLE:
            for block in iter(lambda: stream.read(1 << 20), b""):
                update(block)
            return
        for index in range(_BLOCKS):
            stream.seek((size - _BLOCK) * index // (_BLOCKS - 1))
            update(stream.read(_BLOCK))
