"""Xet's content-addressed storage: uploaded xorbs and shards become blobs, blobs are served as chunks again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from tests.hub.blobs import BlobStore
from tests.hub.errors import HubError
from tests.hub.tables import lz4_decompress

SERVED_CHUNK = 64 * 1024
CHUNK_HEADER = 8
SHARD_HEADER = 48
SHARD_ENTRY = 48
HAS_VERIFICATION = 1 << 31
HAS_SHA256 = 1 << 30


@dataclass(frozen=True)
class Term:
    """A run of chunks of one xorb inside a file."""

    xorb: str
    start: int
    end: int


def hash_text(raw: bytes) -> str:
    """Write a 32-byte Xet hash as text: four little-endian 64-bit words in hexadecimal."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def _ungroup_bytes(data: bytes) -> bytes:
    """Undo the byte grouping by four that a chunk of type 2 got before compression."""
    out, position = bytearray(len(data)), 0
    for lane in range(4):
        length = (len(data) - lane + 3) // 4
        out[lane::4] = data[position : position + length]
        position += length
    return bytes(out)


def _decode_chunk(kind: int, data: bytes, length: int) -> bytes:
    if kind == 0:
        return data
    plain = lz4_decompress(data, length)
    return _ungroup_bytes(plain) if kind == 2 else plain


def xorb_chunks(raw: bytes) -> list[bytes]:
    """Decode the chunks of a xorb."""
    chunks, position = list[bytes](), 0
    while position + CHUNK_HEADER <= len(raw) and raw[position : position + 7] != b"XETBLOB":
        stored = int.from_bytes(raw[position + 1 : position + 4], "little")
        kind = raw[position + 4]
        length = int.from_bytes(raw[position + 5 : position + 8], "little")
        body = raw[position + CHUNK_HEADER : position + CHUNK_HEADER + stored]
        if stored == 0 or len(body) != stored:
            raise HubError(400, "Invalid xorb")
        chunks.append(_decode_chunk(kind, body, length))
        position += CHUNK_HEADER + stored
    return chunks


def shard_files(raw: bytes) -> Iterator[tuple[str, list[Term]]]:
    """Read the file section of a shard: each file's hash and the terms it is made of."""
    position = SHARD_HEADER
    while raw[position : position + 32] != b"\xff" * 32:
        file_hash = hash_text(raw[position : position + 32])
        flags, count = struct.unpack("<II", raw[position + 32 : position + 40])
        position += SHARD_ENTRY
        terms = list[Term]()
        for _ in range(count):
            _flags, _length, start, end = struct.unpack("<4I", raw[position + 32 : position + 48])
            terms.append(Term(hash_text(raw[position : position + 32]), start, end))
            position += SHARD_ENTRY
        position += SHARD_ENTRY * count if flags & HAS_VERIFICATION else 0
        position += SHARD_ENTRY if flags & HAS_SHA256 else 0
        yield file_hash, terms


class XetStore:
    """Xorbs on disk, and which blob each Xet file hash stands for."""

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._root = root
        self._blobs = blobs
        self._blob_of: dict[str, str] = {}
        self._hash_of: dict[str, str] = {}
        self._grants: dict[str, bool] = {}
        root.mkdir(parents=True, exist_ok=True)

    def grant(self, *, write: bool) -> str:
        """Issue an access token of the storage."""
        token = "xet_" + token_hex(16)
        self._grants[token] = write
        return token

    def check(self, header: str | None, *, write: bool) -> None:
        """Refuse a request whose token was not issued here, or only for reading."""
        allowed = self._grants.get((header or "").removeprefix("Bearer "))
        if allowed is None or (write and not allowed):
            raise HubError(401 if allowed is None else 403, "Invalid Xet access token")

    def add_xorb(self, xorb: str, raw: bytes) -> None:
        """Keep an uploaded xorb."""
        (self._root / xorb).write_bytes(raw)

    def add_shard(self, raw: bytes) -> None:
        """Reassemble the files that a shard describes and keep each as a blob."""
        for file_hash, terms in shard_files(raw):
            sha256 = self._blobs.add_chunks(self._assemble(terms))
            self._blob_of[file_hash] = sha256
            self._hash_of[sha256] = file_hash

    def hash_of(self, sha256: str) -> str:
        """Return the Xet hash of a blob; one that came in another way is known by its SHA-256."""
        file_hash = self._hash_of.setdefault(sha256, sha256)
        self._blob_of.setdefault(file_hash, sha256)
        return file_hash

    def blob_of(self, file_hash: str) -> str | None:
        """Return the SHA-256 of the content that a Xet hash stands for."""
        return self._blob_of.get(file_hash)

    def reconstruction(self, file_hash: str, base: str, span: tuple[int, int | None]) -> dict[str, object]:
        """Tell a client which chunks to fetch for a byte span of a file."""
        size = self._blobs.size(self._known(file_hash))
        start, last = span[0], min(size - 1, size - 1 if span[1] is None else span[1])
        if start >= size > 0:
            raise HubError(416, "Range not satisfiable")
        if size == 0:
            return {"offset_into_first_range": 0, "terms": [], "fetch_info": {}}
        first, end = start // SERVED_CHUNK, last // SERVED_CHUNK + 1
        chunks = {"start": first, "end": end}
        length = min(size, end * SERVED_CHUNK) - first * SERVED_CHUNK
        frame = SERVED_CHUNK + CHUNK_HEADER
        url_range = {"start": first * frame, "end": first * frame + length + (end - first) * CHUNK_HEADER - 1}
        return {
            "offset_into_first_range": start - first * SERVED_CHUNK,
            "terms": [{"hash": file_hash, "unpacked_length": length, "range": chunks}],
            "fetch_info": {file_hash: [{"range": chunks, "url": f"{base}/{file_hash}", "url_range": url_range}]},
        }

    def framed(self, file_hash: str, start: int, last: int) -> bytes:
        """Return a byte span of a file's uncompressed xorb form."""
        frame = SERVED_CHUNK + CHUNK_HEADER
        first, out = start // frame, bytearray()
        with self._blobs.path(self._known(file_hash)).open("rb") as content:
            content.seek(first * SERVED_CHUNK)
            while first * frame + len(out) <= last and (chunk := content.read(SERVED_CHUNK)):
                length = len(chunk).to_bytes(3, "little")
                out += b"\0" + length + b"\0" + length + chunk
        return bytes(out[start - first * frame : last + 1 - first * frame])

    def _known(self, file_hash: str) -> str:
        sha256 = self._blob_of.get(file_hash)
        if sha256 is None:
            raise HubError(404, "File not found")
        return sha256

    def _assemble(self, terms: list[Term]) -> Iterator[bytes]:
        for term in terms:
            path = self._root / term.xorb
            if not path.exists():
                raise HubError(400, f"Shard refers to an unknown xorb: {term.xorb}")
            yield from xorb_chunks(path.read_bytes())[term.start : term.end]
