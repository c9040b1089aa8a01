"""What the server remembers of each caller's answers for a while. Tokens are kept as hashes only."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import anyio

V = TypeVar("V")
_MOST = 256


@dataclass(slots=True)
class _Entry(Generic[V]):
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    value: V | None = None
    fetched_at: float | None = None


class Memory(Generic[V]):
    """Keeps one value per token for `seconds`, of the `most` tokens last seen; callers at once cause one request."""

    def __init__(self, seconds: float, clock: Callable[[], float], most: int = _MOST) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()

    async def get(self, token: str, fetch: Callable[[], Awaitable[V]]) -> tuple[V, float]:
        """Return the value and its age in seconds; it is fetched where there is none or it is too old."""
        entry = self._entry(hashlib.sha256(token.encode()).hexdigest())
        async with entry.lock:
            if entry.fetched_at is None or self._clock() - entry.fetched_at > self._seconds:
                entry.value = await fetch()
                entry.fetched_at = self._clock()
            return cast(V, entry.value), self._clock() - entry.fetched_at

    def _entry(self, key: str) -> _Entry[V]:
        entry = self._entries.setdefault(key, _Entry[V]())
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return entry
