"""Names for content: what a file or folder holds, wherever it lies."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_WHOLE = 256 * 1024 * 1024
_BLOCK = 64 * 1024
_BLOCKS = 256
_FEW_BLOCKS = 3


def fingerprint(path: Path) -> str:
    """Return a short hash of a file, or of a folder's files with their relative names.

    Files above 256 MiB are named by their size and 256 evenly spread blocks of 64 KiB, so that a model of many
    gigabytes is named in a moment; of the files that come after 256 MiB of others, three blocks are read.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    left = _WHOLE
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        left -= _add(digest.update, file, _BLOCKS if left > 0 else _FEW_BLOCKS)
    return digest.hexdigest()[:16]


def _add(update: Callable[[bytes], None], file: Path, most_blocks: int) -> int:
    """Add a file to a hash, a small one whole unless only few blocks may be read; return how many bytes were read."""
    size = file.stat().st_size
    update(size.to_bytes(8, "big"))
    with file.open("rb") as stream:
        if size <= (_WHOLE if most_blocks == _BLOCKS else most_blocks * _BLOCK):
            for block in iter(lambda: stream.read(1 << 20), b""):
                update(block)
            return size
        for index in range(most_blocks):
            stream.seek((size - _BLOCK) * index // (most_blocks - 1))
            update(stream.read(_BLOCK))
    return most_blocks * _BLOCK
