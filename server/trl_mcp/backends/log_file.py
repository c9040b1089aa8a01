"""Reads a growing log by lines, in memory that does not depend on its size. Positions are byte offsets."""

import os
from itertools import accumulate
from pathlib import Path

from trl_mcp.backends.base import LogPiece

_BLOCK = 64 * 1024
_LONGEST_LINE = 64 * 1024
_MOST_BYTES = 1_000_000


def read_tail(path: Path, lines: int, *, finished: bool) -> LogPiece:
    """Return the last `lines` lines; a last line without its end counts only when the log is
    `finished`, or as far as a bar was drawn on it.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return LogPiece([], 0, 0, [])
    try:
        data, end = _last_bytes(file, lines)
    finally:
        os.close(file)
    # A progress bar is drawn over and over on one line, which ends when the bar is full.
    drawn = data.rfind(b"\r") + 1
    complete = data[: max(drawn, _complete_bytes(data, finished=finished))]
    pieces = _split(complete)
    kept = pieces[max(0, len(pieces) - lines) :]
    end -= len(data) - len(complete)
    return _piece(kept, end - sum(map(len, kept)))


def read_after(path: Path, cursor: int, *, finished: bool) -> LogPiece:
    """Return the lines from byte `cursor` on; what has no end yet is left for a later call unless `finished`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return LogPiece([], 0, 0, [])
    try:
        size = os.fstat(file).st_size
        start = min(max(cursor, 0), size)
        data = os.pread(file, _MOST_BYTES, start)
    finally:
        os.close(file)
    at_end = finished and start + len(data) >= size
    complete = data[: _complete_bytes(data, finished=at_end)]
    return _piece(_split(complete), start)


def _last_bytes(file: int, lines: int) -> tuple[bytes, int]:
    """Return the end of the file, enough for `lines` lines and an unfinished one, and where it ends."""
    end = start = os.fstat(file).st_size
    blocks: list[bytes] = []
    breaks = 0
    while start and breaks <= lines + 1 and end - start < _MOST_BYTES:
        start, stop = max(0, start - _BLOCK, end - _MOST_BYTES), start
        blocks.append(os.pread(file, stop - start, start))
        breaks += blocks[-1].count(b"\n")
    return b"".join(reversed(blocks)), end


def _complete_bytes(data: bytes, *, finished: bool) -> int:
    """Return how many bytes of `data` can be given out: up to the last line end, or whole pieces of an endless line."""
    if finished:
        return len(data)
    ended = data.rfind(b"\n") + 1
    if ended:
        return ended
    return sum(len(piece) for piece in _split(data) if len(piece) > _LONGEST_LINE - 4)


def _split(data: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    for line in _lines(data):
        start = 0
        while len(line) - start > _LONGEST_LINE:
            stop = _character_start(line, start + _LONGEST_LINE - 1)
            pieces.append(line[start:stop])
            start = stop
        pieces.append(line[start:])
    return pieces


def _lines(data: bytes) -> list[bytes]:
    """Return the lines that end with a newline; progress bars' carriage returns do not end one."""
    parts = [part + b"\n" for part in data.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return parts if parts[-1] else parts[:-1]


def _character_start(line: bytes, near: int) -> int:
    """Return the nearest position at or up to 3 bytes before `near` where a UTF-8 character begins."""
    for position in range(near, near - 4, -1):
        if line[position] & 0xC0 != 0x80:
            return position
    return near


def _piece(lines: list[bytes], start: int) -> LogPiece:
    texts = [line.removesuffix(b"\n").decode("utf-8", errors="replace") for line in lines]
    ends = list(accumulate(map(len, lines), initial=start))
    return LogPiece(texts, start, ends[-1], ends[1:])
