"""A job's log, read from the stream of events that Hugging Face Jobs send.

The stream has no line numbers, and with `tail` it starts anywhere. So a line's position is made of its timestamp: the
milliseconds since 2020 times 4096, plus its place among the lines of that millisecond. It is the same in each reading.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import httpx2

from trl_mcp.backends.base import LogPiece
from trl_mcp.hub.fields import dig, moment, text

Stream = AbstractAsyncContextManager[AsyncIterator[list[str]]]
DEADLINE_S = 8.0
FIRST_S = 1.5
IDLE_S = 0.8
_MOST_CHARACTERS = 1_000_000
_LONGEST_LINE = 64 * 1024
_HEADER = "===== Job started"
_START = datetime(2020, 1, 1, tzinfo=UTC)
_PER_MS = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log and when it was written, in milliseconds since 2020; 0 where that is not said."""

    text: str
    ms: int


async def read_piece(stream: Stream, tail: int | None, cursor: int | None) -> LogPiece:
    """Return the last `tail` lines, or those after `cursor`, as far as they come within 8 s; 1 MB at most.

    Of a job that still runs, what has come is all there is when nothing follows for 0.8 s.
    """
    collected = _Tail(tail) if cursor is None and tail is not None else _After(cursor or 0)
    with anyio.move_on_after(DEADLINE_S):
        async with stream as batches:
            await _collect(batches, collected)
    return collected.piece()


class _After:
    """Keeps the lines after a position."""

    def __init__(self, cursor: int) -> None:
        self._cursor = cursor
        self._position = 0
        self._room = _MOST_CHARACTERS
        self._lines: list[str] = []
        self._ends: list[int] = []

    def add(self, line: Line) -> bool:
        """Take the next line of the log and tell whether more may follow."""
        self._position = max(self._position + 1, line.ms * _PER_MS)
        if self._position > self._cursor:
            self._room -= len(line.text.encode())
            if self._room < 0 and self._lines:
                return False
            self._lines.append(line.text)
            self._ends.append(self._position)
        return True

    def piece(self) -> LogPiece:
        """Return what was kept."""
        return LogPiece(self._lines, self._cursor, self._ends[-1] if self._ends else self._cursor, self._ends)


class _Tail:
    """Keeps the last lines."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lines: list[Line] = []

    def add(self, line: Line) -> bool:
        """Take the next line and tell whether more may follow: always."""
        self._lines.append(line)
        if len(self._lines) > 2 * self._count + 100:
            del self._lines[: -self._count or None]
        return True

    def piece(self) -> LogPiece:
        """Return what was kept."""
        kept = _newest_that_fit(self._lines[max(0, len(self._lines) - self._count) :])
        ends = _positions_from_anywhere(kept)
        texts = [line.text for line in kept]
        return LogPiece(texts, ends[0] - 1, ends[-1], ends) if ends else LogPiece([], 0, 0, [])


async def _collect(batches: AsyncIterator[list[str]], collected: _After | _Tail) -> None:
    """Take lines until the log ends, pauses, breaks off, or is enough; what has come by then is kept."""
    silent_at = anyio.current_time() + FIRST_S
    try:
        while True:
            with anyio.fail_after(silent_at - anyio.current_time()):
                batch = await anext(batches)
            if batch:  # a comment that keeps the connection alive is no sign of more lines
                silent_at = anyio.current_time() + IDLE_S
            if not all(collected.add(line) for line in map(_line, batch) if line is not None):
                return
    except (StopAsyncIteration, TimeoutError, httpx2.RequestError):
        return


def _line(data: str) -> Line | None:
    """Return the line an event tells of; None for the mark of an attempt's start and for what is no line."""
    try:
        event: object = json.loads(data)
    except ValueError:
        return None
    content = text(event, "data").removesuffix("\n")
    if not isinstance(dig(event, "data"), str) or content.startswith(_HEADER):
        return None
    at = moment(event, "timestamp")
    return Line(content[:_LONGEST_LINE], max(0, round((at - _START).total_seconds() * 1000)) if at else 0)


def _newest_that_fit(lines: list[Line]) -> list[Line]:
    room = _MOST_CHARACTERS
    for index, line in enumerate(reversed(lines)):
        room -= len(line.text.encode())
        if room < 0 and index:
            return lines[len(lines) - index :]
    return lines


def _positions_from_anywhere(lines: list[Line]) -> list[int]:
    """Return positions for lines that start within a log.

    How many lines of the first millisecond came before is not known, so these get the last places of it.
    """
    if not lines:
        return []
    first = sum(line.ms == lines[0].ms for line in lines)
    positions = [(lines[0].ms + 1) * _PER_MS - first + index for index in range(first)]
    for line in lines[first:]:
        positions.append(max(positions[-1] + 1, line.ms * _PER_MS))
    return positions
