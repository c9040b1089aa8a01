"""File contents on disk, addressed by their SHA-256."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from secrets import token_hex


class BlobStore:
    """A directory of immutable files named by the SHA-256 of their content."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def __contains__(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def path(self, sha256: str) -> Path:
        """Return where a blob lies."""
        return self._root / sha256

    def read(self, sha256: str) -> bytes:
        """Return a blob's whole content."""
        return self.path(sha256).read_bytes()

    def size(self, sha256: str) -> int:
        """Return a blob's length in bytes."""
        return self.path(sha256).stat().st_size

    def add(self, content: bytes) -> str:
        """Store bytes and return their SHA-256."""
        return self.add_chunks([content])

    def add_file(self, source: Path) -> str:
        """Store a copy of a file as it is now and return its SHA-256."""
        draft = self._draft()
        shutil.copyfile(source, draft)
        with draft.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._keep(draft, sha256)

    def add_chunks(self, chunks: Iterable[bytes]) -> str:
        """Store a sequence of byte strings as one blob."""
        digest, draft = hashlib.sha256(), self._draft()
        with draft.open("wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
        return self._keep(draft, digest.hexdigest())

    async def add_stream(self, stream: AsyncIterator[bytes]) -> str:
        """Store a request body as one blob."""
        digest, draft = hashlib.sha256(), self._draft()
        with draft.open("wb") as out:
            async for chunk in stream:
                digest.update(chunk)
                out.write(chunk)
        return self._keep(draft, digest.hexdigest())

    def _draft(self) -> Path:
        return self._root / f".{token_hex(8)}"

    def _keep(self, draft: Path, sha256: str) -> str:
        draft.replace(self.path(sha256))
        return sha256
