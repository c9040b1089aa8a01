"""Views of a job's log, each bounded: the end, what went wrong, the metrics, the samples."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from trl_mcp.backends.base import Backend, Job, LogPiece
from trl_mcp.monitor.masking import clean_line
from trl_mcp.monitor.progress import ProgressEvent, parse_line

LEAST_BYTES = 8000
BYTES_PER_LINE = 200
_LINE = 1000
_SAMPLE = 4000
_SAMPLE_IN_TAIL = 60
_AFTER_FAULT = 3
_AFTER_TRACEBACK = 60
_FAULT = ("error", "exception", "traceback", "out of memory", "no space left", "killed", "cannot ", "failed")


@dataclass(frozen=True, slots=True)
class LogView:
    """Lines for a reader, the cursor to read on from, and how many lines were left out for room."""

    lines: list[str]
    cursor: int
    omitted: int = 0


async def tail_view(backend: Backend, job: Job, lines: int, cursor: int | None, secrets: Iterable[str]) -> LogView:
    """Return the last lines, or those after the cursor, progress lines in words."""
    secrets = list(secrets)
    piece = await backend.logs(job.id, tail=lines) if cursor is None else await backend.logs(job.id, cursor=cursor)
    shown = [readable(line, job.run_tag, secrets) for line in piece.lines]
    if cursor is None:
        return _newest(shown, lines, piece.end)
    kept = _fitting(shown, lines)
    return LogView(kept, piece.ends[len(kept) - 1] if kept else piece.end)


async def filtered_view(
    backend: Backend, job: Job, lines: int, cursor: int | None, keep: Callable[[str], bool], secrets: Iterable[str]
) -> LogView:
    """Return the last lines that `keep` accepts of the whole log, or of what came after the cursor, in constant memory."""
    secrets = list(secrets)
    kept: deque[str] = deque(maxlen=lines)
    found = 0
    end = cursor or 0
    async for piece in pieces(backend, job.id, end):
        end = piece.end
        for line in filter(keep, piece.lines):
            found += 1
            kept.append(readable(line, job.run_tag, secrets, longest=_SAMPLE))
    view = _newest(list(kept), lines, end)
    return LogView(view.lines, end, view.omitted + found - len(kept))


class NearFault:
    """Accepts lines that speak of a fault and those right after; progress lines only of kind error."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._left = 0

    def __call__(self, line: str) -> bool:
        """Return whether the line, the next one of the log, is accepted."""
        event = parse_line(line, self._tag)
        if event is not None:
            return event.kind == "error"
        lowered = line.lower()
        if any(word in lowered for word in _FAULT):
            self._left = max(self._left, _AFTER_TRACEBACK if "traceback" in lowered else _AFTER_FAULT)
        self._left -= 1
        return self._left >= 0


def script_view(script: str, lines: int, cursor: int | None, pattern: str, secrets: Iterable[str]) -> LogView:
    """Return the first lines of a script that contain the pattern, or those after the cursor, which counts them."""
    secrets = list(secrets)
    found = [line for line in script.split("\n") if pattern in line]
    start = cursor or 0
    kept = _fitting([readable(line, "", secrets) for line in found[start : start + lines]], lines)
    end = start + len(kept)
    return LogView(kept, end, max(0, len(found) - end))


async def pieces(backend: Backend, job_id: str, cursor: int = 0) -> AsyncIterator[LogPiece]:
    """Return the log from the cursor on piece by piece, as long as there is more."""
    while (piece := await backend.logs(job_id, cursor=cursor)).end > cursor:
        yield piece
        cursor = piece.end


def readable(line: str, tag: str, secrets: Iterable[str], longest: int = _LINE) -> str:
    """Return a line as a person would want it: progress in words, no terminal codes, no secrets, not too long."""
    event = parse_line(line, tag)
    text = clean_line(in_words(event, whole_samples=longest > _LINE) if event else line, secrets)
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text) - longest} characters more)"


def in_words(event: ProgressEvent, *, whole_samples: bool = True) -> str:
    """Return a progress event as text: `step 20/150  loss 1.234  ...`; a whole sample as one JSON object."""
    fields = {name: value for name, value in event.fields.items() if name != "kind" and value is not None}
    if event.kind == "sample" and "prompt" in fields:
        if whole_samples:
            return json.dumps(fields, ensure_ascii=False)
        fields = {name: str(value)[:_SAMPLE_IN_TAIL] for name, value in fields.items() if name in ("prompt", "after")}
    if event.kind != "log":
        return "  ".join([f"[{event.kind}]", *(f"{name} {_number(value)}" for name, value in fields.items())])
    step, total = fields.pop("step", "?"), fields.pop("max_steps", "?")
    return "  ".join([f"step {step}/{total}", *(f"{name} {_number(value)}" for name, value in fields.items())])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _newest(lines: list[str], limit: int, cursor: int) -> LogView:
    kept = _fitting(lines[::-1], limit)[::-1]
    return LogView(kept, cursor, len(lines) - len(kept))


def _fitting(lines: list[str], limit: int) -> list[str]:
    """Return the first `limit` lines as far as they fit into 200 bytes a line, 8 KB at the least; at least one."""
    room = max(LEAST_BYTES, BYTES_PER_LINE * limit)
    for index, line in enumerate(lines[:limit]):
        room -= len(line.encode()) + 1
        if room < 0 and index:
            return lines[:index]
    return lines[:limit]
