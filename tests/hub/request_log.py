"""The requests that an emulated Hub has answered, kept so that tests can count them."""

from __future__ import annotations

from collections import deque
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
    """The newest requests, in the order of their arrival."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=LIMIT)

    def add(self, entry: LoggedRequest) -> None:
        """Remember a request."""
        self._entries.append(entry)

    def matching(self, path_glob: str = "*", method: str = "*") -> list[LoggedRequest]:
        """Return the requests whose path matches a pattern."""
        return [
            entry for entry in self._entries if fnmatchcase(entry.path, path_glob) and method in {"*", entry.method}
        ]

    def clear(self) -> None:
        """Forget all requests."""
        self._entries.clear()
