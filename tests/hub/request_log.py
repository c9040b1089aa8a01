"""The requests that an emulated Hub has answered, kept so that tests can count them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

LIMIT = 20_000


@dataclass
class LoggedRequest:
    """One request: the status is None while it is being answered and where the connection was dropped.

    `user` is whose token it carried, `has_token` whether it carried any, `sent` the bytes of the answer's body.
    """

    method: str
    path: str
    query: str
    user: str | None
    status: int | None = None
    host: str = ""
    range: str = ""
    has_token: bool = False
    sent: int = 0


class RequestLog:
    """The newest requests, in the order of their arrival, and how many of them were answered side by side at most."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=LIMIT)
        self._at_once = 0
        self.most_at_once = 0

    @contextmanager
    def answering(self, entry: LoggedRequest) -> Generator[None]:
        """Remember a request, which is being answered until the block ends."""
        self._entries.append(entry)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            self._at_once -= 1

    def matching(self, path_glob: str = "*", method: str = "*") -> list[LoggedRequest]:
        """Return the requests whose path matches a pattern."""
        return [
            entry for entry in self._entries if fnmatchcase(entry.path, path_glob) and method in {"*", entry.method}
        ]

    def clear(self) -> None:
        """Forget all requests."""
        self._entries.clear()
        self.most_at_once = self._at_once
