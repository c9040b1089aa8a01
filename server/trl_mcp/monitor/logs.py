"""Views of a job's log, each bounded: the end, what went wrong, the metrics, the samples."""

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from trl_mcp.backends.base import Backend, Job, LogPiece
from trl_mcp.monitor.masking import clean_line
from trl_mcp.monitor.progress import ProgressEvent, parse_line
from trl_mcp.monitor.trainer_lines import TrainerLog, fold_bars, is_script

LEAST_BYTES = 8000
BYTES_PER_LINE = 200
_LINE = 1000
_SAMPLE = 4000
_SAMPLE_IN_TAIL = 60
_SCRIPT_TAIL = 4000
_AFTER_FAULT = 3
_AFTER_TRACEBACK = 60
_FAULT = ("error", "exception", "traceback", "out of memory", "no space left", "killed", "cannot ", "failed")
# A line that says what could go wrong, or that nothing did, as warnings of libraries do.
_FORETOLD = re.compile(
    r"\b(?:may|might|can|could|would|will|to avoid)\b[^.:]{0,80}(?:error|exception|fail)"
    r"|\b(?:no|0|without) (?:error|exception|failure)",
    re.IGNORECASE,
)
_RAISED = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b(?::|\s*$)|^Traceback")


@dataclass(frozen=True, slots=True)
class LogView:
    """Lines for a reader, the cursor to read on from, and how many lines were left out for room."""

    lines: list[str]
    cursor: int
    omitted: int = 0


async def tail_view(backend: Backend, job: Job, lines: int, cursor: int | None, secrets: Iterable[str]) -> LogView:
    """Return the last lines, or those after the cursor, progress lines in words."""
    # Most lines of a script may be states of one bar.
    tail = max(lines, _SCRIPT_TAIL) if is_script(job) else lines
    piece = await backend.logs(job.id, tail=tail) if cursor is None else await backend.logs(job.id, cursor=cursor)
    shown = _Shown(job.run_tag, secrets)
    for line, end in zip(piece.lines, piece.ends, strict=True):
        shown.add(line, end)
    if cursor is None:
        return _newest(list(shown.texts)[-lines:], lines, piece.end)
    kept = _fitting(list(shown.texts), lines)
    return LogView(kept, shown.ends[len(kept) - 1] if kept else piece.end)


async def filtered_view(
    backend: Backend, job: Job, lines: int, cursor: int | None, keep: Callable[[str], bool], secrets: Iterable[str]
) -> LogView:
    """Return the last lines that `keep` accepts of the whole log, or of what came after the cursor, in constant memory."""
    shown = _Shown(job.run_tag, secrets, most=lines, longest=_SAMPLE)
    end = cursor or 0
    async for piece in pieces(backend, job.id, end):
        end = piece.end
        for line in filter(keep, piece.lines):
            shown.add(line)
    return shown.newest(lines, end)


async def metrics_view(
    backend: Backend, job: Job, lines: int, cursor: int | None, pattern: str, secrets: Iterable[str]
) -> LogView:
    """Return the metrics in words as `filtered_view` does: those of progress lines, or else a Trainer's in a script."""
    secrets = list(secrets)
    own = _Shown(job.run_tag, secrets, most=lines)
    printed = _Shown(job.run_tag, secrets, most=lines)
    trainer = TrainerLog()

    def take(events: Iterable[ProgressEvent]) -> None:
        for event in events:
            words = in_words(event)
            if event.kind == "log" and "epoch" in event.fields and pattern in words:
                printed.add(words)

    end = cursor or 0
    async for piece in pieces(backend, job.id, end):
        end = piece.end
        for line in piece.lines:
            event = parse_line(line, job.run_tag)
            if event is not None and event.kind == "log" and pattern in line:
                own.add(line)
            elif is_script(job):
                take(trainer.read(line))
    take(trainer.flush())
    return (own if own.texts else printed).newest(lines, end)


class _Shown:
    """Collects lines as a person would want them, the newest ones; of bars on consecutive lines the newest state."""

    def __init__(self, tag: str, secrets: Iterable[str], most: int | None = None, longest: int = _LINE) -> None:
        self.texts: deque[str] = deque(maxlen=most)
        self.ends: deque[int] = deque(maxlen=most)
        self._tag, self._secrets, self._longest = tag, list(secrets), longest
        self._count = 0
        self._in_bars = False

    def add(self, line: str, end: int = 0) -> None:
        """Take the next line of the log, and the position of its end."""
        bar = fold_bars(line)
        if bar == "":
            return
        if bar is not None and self._in_bars:
            self.texts.pop()
            self.ends.pop()
            self._count -= 1
        self._in_bars = bar is not None
        self.texts.append(readable(bar or line, self._tag, self._secrets, self._longest))
        self.ends.append(end)
        self._count += 1

    def newest(self, limit: int, cursor: int) -> LogView:
        """Return the newest lines as far as there is room, and how many were left out."""
        view = _newest(list(self.texts), limit, cursor)
        return LogView(view.lines, cursor, self._count - len(view.lines))


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
        if any(word in lowered for word in _FAULT) and not _is_foretold(clean_line(line)):
            self._left = max(self._left, _AFTER_TRACEBACK if "traceback" in lowered else _AFTER_FAULT)
        self._left -= 1
        return self._left >= 0


def _is_foretold(line: str) -> bool:
    """Tell whether a line only warns of faults: "you may observe exceptions", "will result in indexing errors"."""
    return _RAISED.search(line) is None and _FORETOLD.search(line) is not None


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
    step, total = fields.pop("step", None), fields.pop("max_steps", "?")
    place = [] if step is None else [f"step {step}/{total}"]
    return "  ".join([*place, *(f"{name} {_number(value)}" for name, value in fields.items())])


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
