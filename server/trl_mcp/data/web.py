"""Data files on the web: https only, without any token, in parts where the server can give parts."""

import hashlib
import io
import os
import ssl
import tempfile
import time
import weakref
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import httpx2

from trl_mcp import __version__
from trl_mcp.data.sources import DataFile, RowSource
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible
from trl_mcp.render.templates import job_module
from trl_mcp.web_trail import Trail, https_parts

MOST_DOWNLOAD_BYTES = 2_000_000_000
_TIMEOUT = httpx2.Timeout(10, connect=5)
_PIECE = 1 << 18
_NOTHING_STARTED = "Nothing was started."
_INSTEAD = "Download it and give its path, or put it on the Hub."


def web_source(
    address: str,
    deadline: float,
    trust: ssl.SSLContext | None = None,
    private_hosts: Collection[str] | None = (),
) -> RowSource:
    """Return the data file at an https address; `trust` says which certificates are believed (None: the system's).

    Hosts of private networks are asked only where they are named (None: all of them). Raises InvalidArguments for an
    address that may not be read, NotFound where nothing is there, NotPossible where the server does not give it.
    """
    kind = _kind(address)
    web = _WebFile(address, deadline, trust, private_hosts)
    name = urlsplit(address).path.rpartition("/")[2]
    open_file = web.open_in_parts if kind == "parquet" else web.open_in_order
    files = {"train": (DataFile(name, kind, open_file, web.size),)}
    return RowSource(name, address, web.fingerprint, files)


def _kind(address: str) -> str:
    parts = https_parts(address)
    if parts is None:
        raise InvalidArguments(
            "The address of the data cannot be read.",
            allowed="It is a public https URL without a user or password in it.",
            next_step=_NOTHING_STARTED,
        )
    files = job_module("files")
    kind = files.file_kind(parts.path)
    if kind is None:
        kinds = ", ".join(f".{known}" for known in files.DATA_KINDS)
        raise InvalidArguments(
            f'"{parts.path.rpartition("/")[2]}" is no data file.',
            allowed=f"The path of the URL ends in {kinds}.",
            next_step=_NOTHING_STARTED,
        )
    return str(kind)


class _WebFile:
    """One file on the web; the first request tells its size and whether it can be read in parts."""

    def __init__(
        self, address: str, deadline: float, trust: ssl.SSLContext | None, private_hosts: Collection[str] | None
    ) -> None:
        self._address = address
        self._private_hosts = private_hosts
        self._deadline = deadline
        self._http = httpx2.Client(
            verify=trust or True,
            timeout=_TIMEOUT,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": f"trl-mcp/{__version__}", "Accept-Encoding": "identity"},
        )
        weakref.finalize(self, self._http.close)
        with self._answer({"Range": "bytes=0-0"}) as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            self.in_parts = answer.status_code == 206 and total.isdecimal()
            length = total if self.in_parts else answer.headers.get("Content-Length", "")
            self.size = int(length) if length.isdecimal() else None
            marks = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        self.fingerprint = hashlib.sha256("\n".join([address, length, *marks]).encode()).hexdigest()[:16]

    def open_in_order(self) -> BinaryIO:
        """Open the file for reading from its start to its end."""
        return cast(BinaryIO, io.BufferedReader(_Pieces(self._pieces()), _PIECE))

    def open_in_parts(self) -> BinaryIO:
        """Open the file for reading anywhere; it is downloaded where the server does not give parts."""
        if self.in_parts and self.size is not None:
            return cast(BinaryIO, _Parts(self, self.size))
        return self._copy.open("rb")

    def part(self, start: int, stop: int) -> bytes:
        """Return the bytes from start to stop."""
        with self._answer({"Range": f"bytes={start}-{stop - 1}"}) as answer:
            if answer.status_code != 206:
                raise self._refusal("no longer gives parts of the file")
            data = b"".join(self._checked(answer))
        if len(data) != stop - start:
            raise self._refusal("gave another part than was asked for")
        return data

    @cached_property
    def _copy(self) -> Path:
        """The whole file on this machine; it is removed with this object."""
        handle, name = tempfile.mkstemp(prefix="trl-mcp-", suffix=".parquet")
        weakref.finalize(self, _remove, name)
        taken = 0
        with os.fdopen(handle, "wb") as stream, self._answer({}) as answer:
            for piece in self._checked(answer):
                taken += len(piece)
                if taken > MOST_DOWNLOAD_BYTES:
                    raise self._refusal(
                        f"gives no parts of the file, and it is larger than {MOST_DOWNLOAD_BYTES:,} bytes"
                    )
                stream.write(piece)
        return Path(name)

    def _pieces(self) -> Generator[bytes]:
        with self._answer({}) as answer:
            yield from self._checked(answer)

    def _checked(self, answer: httpx2.Response) -> Generator[bytes]:
        """Yield what an answer holds. Raises NotPossible where it breaks off or takes too long."""
        try:
            for piece in answer.iter_raw(_PIECE):
                if time.monotonic() > self._deadline:
                    raise self._refusal("did not give the file in time")
                yield piece
        except httpx2.RequestError as error:
            raise self._refusal(f"broke off ({type(error).__name__})") from None

    @contextmanager
    def _answer(self, headers: Mapping[str, str]) -> Generator[httpx2.Response]:
        """Open the answer to a request, wherever it is found. Raises NotFound, NotPossible."""
        trail = Trail(self._address, self._private_hosts, _INSTEAD)
        while True:
            trail.check()
            answer = self._send(trail.at, headers)
            try:
                if not trail.follow(answer.status_code, answer.headers.get("Location", "")):
                    self._check(answer)
                    yield answer
                    return
            finally:
                answer.close()

    def _send(self, address: str, headers: Mapping[str, str]) -> httpx2.Response:
        if time.monotonic() > self._deadline:
            raise self._refusal("did not give the file in time")
        try:
            return self._http.send(self._http.build_request("GET", address, headers=dict(headers)), stream=True)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise self._refusal(f"does not answer ({type(error).__name__})") from None

    def _check(self, answer: httpx2.Response) -> None:
        """Raise for an answer that is not the file; an empty file has no part to give."""
        host = urlsplit(self._address).hostname
        if answer.status_code in (404, 410):
            raise NotFound(f"{host} has no file at this address.", next_step=f"Check the URL. {_NOTHING_STARTED}")
        if not answer.is_success and answer.status_code != 416:
            raise self._refusal(f"does not give the file: it answered with status {answer.status_code}")

    def _refusal(self, what: str) -> NotPossible:
        return NotPossible(
            f"{urlsplit(self._address).hostname} {what}.",
            allowed="Data on the web is read without any token.",
            next_step=f"{_INSTEAD} {_NOTHING_STARTED}",
        )


def _remove(name: str) -> None:
    Path(name).unlink(missing_ok=True)


class _Pieces(io.RawIOBase):
    """What comes piece by piece, as a file that is read from start to end."""

    def __init__(self, pieces: Generator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._pieces.close()
        super().close()


class _Parts(io.RawIOBase):
    """A file of which every read asks for exactly its bytes."""

    def __init__(self, web: _WebFile, size: int) -> None:
        self._web = web
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes from where the file stands."""
        left = max(0, self._size - self._place)
        count = left if size is None or size < 0 else min(size, left)
        data = self._web.part(self._place, self._place + count) if count else b""
        self._place += count
        return data
