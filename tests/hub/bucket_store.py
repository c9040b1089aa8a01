"""Buckets: directories whose files are the bucket's content, also while a job writes into them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from secrets import token_hex
from stat import S_ISREG

from tests.hub.accounts import Accounts, Token
from tests.hub.blobs import BlobStore
from tests.hub.clock import utcnow
from tests.hub.errors import HubError, missing_permission, repo_not_found
from tests.hub.xet_store import XetStore


@dataclass(frozen=True)
class BucketFile:
    """A file of a bucket as it was when it was looked at."""

    path: str
    size: int
    sha256: str
    xet_hash: str
    mtime: datetime


@dataclass
class Bucket:
    """A bucket and the directory that holds its files."""

    id: str
    root: Path
    creator: str
    private: bool = False
    internal_id: str = field(default_factory=lambda: token_hex(12))
    created: datetime = field(default_factory=utcnow)

    def locate(self, path: str) -> Path:
        """Return where a file of the bucket lies, refusing paths that leave it."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts:
            raise HubError(400, f"Invalid path: {path}")
        return self.root.joinpath(*parts)

    def sizes(self) -> dict[str, int]:
        """Return the size of each file, sorted by path; a job may add and remove files meanwhile."""
        found = dict[str, int]()
        for path in self.root.rglob("*"):
            with suppress(FileNotFoundError):
                stat = path.lstat()
                if S_ISREG(stat.st_mode):
                    found[path.relative_to(self.root).as_posix()] = stat.st_size
        return dict(sorted(found.items()))


class BucketStore:
    """All buckets of one emulated Hub."""

    def __init__(self, root: Path, accounts: Accounts, blobs: BlobStore, xet: XetStore) -> None:
        self._root = root
        self._accounts = accounts
        self._blobs = blobs
        self._xet = xet
        self._seen: dict[tuple[Path, int, int], str] = {}
        self.buckets: dict[str, Bucket] = {}

    def create(self, bucket_id: str, creator: str, *, private: bool = False) -> Bucket:
        """Create an empty bucket."""
        self._accounts.owner(bucket_id.split("/", maxsplit=1)[0])
        root = self._root / bucket_id
        root.mkdir(parents=True)
        bucket = self.buckets[bucket_id] = Bucket(bucket_id, root, creator, private)
        return bucket

    def delete(self, bucket: Bucket) -> None:
        """Remove a bucket with its files."""
        del self.buckets[bucket.id]
        shutil.rmtree(bucket.root)

    def readable(self, bucket_id: str, token: Token | None) -> Bucket:
        """Find a bucket that the caller may read."""
        bucket = self.buckets.get(bucket_id)
        if bucket is None or (bucket.private and not self._accounts.may_read(token, "bucket", bucket_id)):
            raise repo_not_found(authenticated=token is not None)
        return bucket

    def writable(self, bucket_id: str, token: Token | None) -> Bucket:
        """Find a bucket that the caller may change."""
        bucket = self.readable(bucket_id, token)
        if not self._accounts.may_write(token, "bucket", bucket_id, bucket.creator):
            raise missing_permission(bucket_id.split("/", maxsplit=1)[0], "repo.write")
        return bucket

    def entry(self, bucket: Bucket, path: str) -> BucketFile | None:
        """Describe one file; its content of this moment stays fetchable by its hash."""
        place = bucket.locate(path)
        try:
            stat = place.lstat()
            if not S_ISREG(stat.st_mode):
                return None
            key = (place, stat.st_size, stat.st_mtime_ns)
            sha256 = self._seen.get(key) or self._blobs.add_file(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        self._seen[key] = sha256
        mtime = datetime.fromtimestamp(stat.st_mtime, UTC)
        return BucketFile(path, self._blobs.size(sha256), sha256, self._xet.hash_of(sha256), mtime)

    def entries(self, bucket: Bucket, prefix: str = "") -> Iterator[BucketFile]:
        """Describe the files below a prefix."""
        for path in bucket.sizes():
            if path.startswith(prefix) and (entry := self.entry(bucket, path)) is not None:
                yield entry

    def put(self, bucket: Bucket, path: str, xet_hash: str, mtime_ms: int | None = None) -> None:
        """Write content that is in the Xet storage to a file of the bucket."""
        sha256 = self._xet.blob_of(xet_hash)
        if sha256 is None:
            raise HubError(404, "xet hash not found")
        target = bucket.locate(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._blobs.path(sha256), target)
        if mtime_ms is not None:
            os.utime(target, (mtime_ms / 1000, mtime_ms / 1000))

    def remove(self, bucket: Bucket, path: str) -> None:
        """Delete a file, and the folders it leaves empty."""
        target = bucket.locate(path)
        if not target.is_file():
            raise HubError(404, "file not found")
        target.unlink()
        for parent in target.parents:
            if parent == bucket.root or any(parent.iterdir()):
                break
            parent.rmdir()
