"""Files on the Hub, read in parts as if they lay here.

The client library's file system asks further questions per file, reads ahead and repeats for minutes; here a read is
one request for exactly its bytes. The address in the storage behind the Hub is remembered, so that only the first
read of a file asks the Hub itself. The token goes to the Hub alone.
"""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import BinaryIO, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import httpx2

from trl_mcp import __version__
from trl_mcp.errors import TrlMcpError
from trl_mcp.hub import faults

T = TypeVar("T")
_TIMEOUT_S = 10.0
_PAUSES_S = (0.3, 1.0)
_LONGEST_PAUSE_S = 5.0
_MOST_REDIRECTS = 5
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_TAIL = 1 << 16
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the Hub: its address and bytes, who reads it, and until when in seconds of the client's clock."""

    address: str
    size: int
    doing: str
    token: str | None = field(default=None, repr=False)
    deadline: float | None = None


class RangeClient:
    """Opens files of one Hub for reading in parts, from any thread, over connections it keeps until `close`."""

    def __init__(
        self, endpoint: str, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.endpoint = endpoint
        self.sleep = sleep
        self.clock = clock
        self._http: httpx2.Client | None = None
        self._lock = threading.Lock()

    def open(self, file: RemoteFile, *, in_order: bool = False) -> BinaryIO:
        """Return the file for reading, seekable; `in_order` if it is read from start to end, in one request then.

        Nothing is asked before the first read. Reads raise HubError, HubUnreachable after the deadline.
        """
        remote = _Remote(self, file)
        return cast("BinaryIO", io.BufferedReader(_InOrder(remote), _PIECE) if in_order else _InParts(remote))

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def connections(self) -> httpx2.Client:
        """Return what requests are sent with."""
        with self._lock:
            if self._http is None:
                self._http = httpx2.Client(
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                    headers={"User-Agent": f"trl-mcp/{__version__}", "Accept-Encoding": "identity"},
                )
            return self._http


class _Again(Exception):
    """An answer after which the same request can help."""

    def __init__(self, error: TrlMcpError, wait_s: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s


class _Remote:
    """Sends the requests for one file, each repeated where that can help."""

    def __init__(self, client: RangeClient, file: RemoteFile) -> None:
        self.size = file.size
        self._client = client
        self._file = file
        self._address = file.address

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from start to stop."""

        def whole() -> bytes:
            response = self._send(start, stop)
            try:
                return b"".join(self.pieces(response, start, stop))
            finally:
                response.close()

        return self.persistently(whole)

    def begin(self, start: int) -> httpx2.Response:
        """Return an answer that goes on from start to the end of the file; it is to be closed."""
        return self.persistently(lambda: self._send(start, self.size))

    def pieces(self, response: httpx2.Response, start: int, stop: int) -> Iterator[bytes]:
        """Return the bytes from start to stop as they come; a storage that cannot send parts sends what is before too."""
        skip = start if response.status_code == HTTPStatus.OK else 0
        left = stop - start
        for chunk in response.iter_raw(_PIECE):
            self._remaining_s()
            piece = chunk[skip : skip + left]
            skip -= min(skip, len(chunk))
            left -= len(piece)
            if piece:
                yield piece
            if not left:
                return
        raise httpx2.RemoteProtocolError("the answer ended early", request=response.request)

    def persistently(self, act: Callable[[], T]) -> T:
        """Do something, up to three times while it fails for a reason that may pass."""
        for pause in (*_PAUSES_S, None):
            try:
                return act()
            except _Again as again:
                if pause is None or again.wait_s > _LONGEST_PAUSE_S:
                    raise again.error from None
                self._client.sleep(max(pause, again.wait_s))
            except httpx2.RequestError as error:
                if pause is None:
                    raise faults.unreachable(self._file.doing, error) from None
                self._client.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _send(self, start: int, stop: int) -> httpx2.Response:
        """Ask for the bytes from start to stop and return the answer, which is to be closed."""
        address = self._address
        for _ in range(_MOST_REDIRECTS):
            response = self._request(address, start, stop)
            if response.has_redirect_location:
                response.close()
                address = urljoin(address, response.headers["Location"])
            elif response.is_success:
                self._address = address
                return response
            elif response.status_code in _EXPIRED and address != self._file.address:
                response.close()
                if address != self._address:
                    raise faults.unreachable(self._file.doing, f"its storage answers {response.status_code}")
                address = self._address = self._file.address
            else:
                raise self._refusal(response)
        raise faults.unreachable(self._file.doing, "its answers lead in a circle")

    def _request(self, address: str, start: int, stop: int) -> httpx2.Response:
        http, headers = self._client.connections(), {"Range": f"bytes={start}-{stop - 1}"}
        if self._file.token and _origin(address) == _origin(self._client.endpoint):
            headers["Authorization"] = f"Bearer {self._file.token}"
        timeout = min(_TIMEOUT_S, self._remaining_s())
        return http.send(http.build_request("GET", address, headers=headers, timeout=timeout), stream=True)

    def _refusal(self, response: httpx2.Response) -> Exception:
        response.read()
        error = faults.refusal(response, self._file.doing, self._client.endpoint)
        if response.status_code in faults.BUSY:
            return _Again(error, 0)
        return _Again(error, faults.wait_s(response)) if response.status_code == 429 else error

    def _remaining_s(self) -> float:
        if self._file.deadline is None:
            return _TIMEOUT_S
        remaining = self._file.deadline - self._client.clock()
        if remaining <= 0:
            raise faults.unreachable(self._file.doing, "the time for it is over")
        return remaining


class _File(io.RawIOBase):
    """The place in a remote file."""

    def __init__(self, remote: _Remote) -> None:
        super().__init__()
        self._remote = remote
        self._at: int = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._remote.size}[whence]
        if base + offset < 0:
            raise ValueError(f"there is nothing before the start of the file: {base + offset}")
        self._at = base + offset
        return self._at


class _InParts(_File):
    """A file whose reads are requests for exactly these bytes; its last 64 kB are read at once and kept."""

    _tail = b""

    def read(self, size: int | None = -1, /) -> bytes:
        stop = self._remote.size if size is None or size < 0 else min(self._at + size, self._remote.size)
        if self._at >= stop:
            return b""
        content = self._part(self._at, stop)
        self._at = stop
        return content

    def readall(self) -> bytes:
        return self.read()

    def _part(self, start: int, stop: int) -> bytes:
        tail_start = max(self._remote.size - _TAIL, 0)
        if start < tail_start:
            return self._remote.read(start, stop)
        self._tail = self._tail or self._remote.read(tail_start, self._remote.size)
        return self._tail[start - tail_start : stop - tail_start]


class _InOrder(_File):
    """A file that arrives from its start to its end in one answer; a seek begins a new one."""

    def __init__(self, remote: _Remote) -> None:
        super().__init__(remote)
        self._response: httpx2.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._rest = b""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # narrower than any buffer
        if not self._rest and self._at < self._remote.size:
            self._rest = self._remote.persistently(self._next_piece)
        given, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(given)] = given
        self._at += len(given)
        return len(given)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        before = self._at
        if super().seek(offset, whence) != before:
            self._end()
        return self._at

    def close(self) -> None:
        self._end()
        super().close()

    def _next_piece(self) -> bytes:
        try:
            if self._response is None:
                self._response = self._remote.begin(self._at)
                self._pieces = self._remote.pieces(self._response, self._at, self._remote.size)
            return next(self._pieces)
        except httpx2.RequestError:
            self._end()
            raise

    def _end(self) -> None:
        self._rest = b""
        if self._response is not None:
            self._response.close()
            self._response = None


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc
