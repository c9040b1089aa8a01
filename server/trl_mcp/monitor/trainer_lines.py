"""What a plain Trainer prints -> progress events: its metrics as a Python dictionary, its steps as a redrawn bar."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trl_mcp.backends.base import SCRIPT, Job
from trl_mcp.monitor.progress import ProgressEvent

# Neither part can run over the character that the next match would begin with, so that reading a line stays linear.
_SIGN = re.compile(
    r"\d{1,3}%\|[^|\r\n]{0,300}\| {0,12}(?P<step>\d{1,12})/(?P<total>\d{1,12}) "
    r"\[(?P<elapsed>(?:\d{1,9}:)?\d\d:\d\d)<[^\]\r\n]{0,200}\](?P<nested>\x1b\[A)?"
    r"|\{(?P<metrics>'[^{}\r\n]{1,8000})\}"
)
_METRIC = re.compile(r"'([\w/.@-]{1,100})': (?:[a-z\d_.]{1,20}\()?'?([-+.\w]{1,40})")
_REDRAWN = re.compile(r"\x1b\[A|[\r\n]")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class _Bar:
    """A state of an unnamed bar at the outermost place; the time is in seconds."""

    step: int
    total: int
    elapsed_s: int


class TrainerLog:
    """Reads the lines of a Trainer's log in their order.

    The metrics do not name their step: it is that of the bar, which is drawn again right after them. Bars with a name
    (Map, Loading weights) and those drawn inside another one (an evaluation) are not the training's. Of the others it
    is the one that metrics with a loss come with; until there are any, the first one, or the next when that is full.
    """

    def __init__(self) -> None:
        self.total = 0
        self._bar: _Bar | None = None
        self._is_sure = False
        self._rival = 0
        self._told = -1
        self._waiting: dict[str, float | str] | None = None

    def read(self, line: str) -> Iterator[ProgressEvent]:
        """Return the events that are certain with this line: kinds log and, where training is over, end."""
        seen = 0
        for sign in _SIGN.finditer(line):
            if sign["metrics"] is not None:
                yield from self.flush()
                self._waiting = _numbers(sign["metrics"])
            elif not sign["nested"] and not _is_named(line[max(seen, sign.start() - _LONGEST_NAME) : sign.start()]):
                yield from self._take(_Bar(int(sign["step"]), int(sign["total"]), _seconds(sign["elapsed"])))
            seen = sign.end()

    def flush(self) -> Iterator[ProgressEvent]:
        """Return the event of metrics that no bar has followed yet, with the step known so far."""
        if self._waiting is None:
            return
        metrics, self._waiting = self._waiting, None
        yield self._event("end" if "train_runtime" in metrics else "log", metrics)

    def newest(self) -> Iterator[ProgressEvent]:
        """Return what is left at the end of the log: waiting metrics, and the step that the bar has come to since."""
        yield from self.flush()
        if self._bar is not None and self._bar.step > self._told:
            yield self._event("log", {})

    def _take(self, bar: _Bar) -> Iterator[ProgressEvent]:
        if bar.total != self.total:
            if not self._is_of_training(bar.total):
                return
            self._told = -1
        self.total, self._bar = bar.total, bar
        self._is_sure = self._is_sure or self._has_loss()
        yield from self.flush()
        if self._told < 0:
            yield self._event("log", {})

    def _is_of_training(self, total: int) -> bool:
        """Decide on a bar with another total than that of the training so far."""
        is_over = self._bar is None or self._bar.step >= self._bar.total
        if not self._has_loss():
            return is_over and not self._is_sure
        # A loss that comes with this bar twice: the training has begun anew, with other batches.
        is_new = is_over or not self._is_sure or total == self._rival
        self._rival = total
        return is_new

    def _has_loss(self) -> bool:
        return self._waiting is not None and "loss" in self._waiting

    def _event(self, kind: str, metrics: dict[str, float | str]) -> ProgressEvent:
        place: dict[str, int] = {}
        if self._bar is not None:
            self._told = self._bar.step
            place = {"step": self._bar.step, "max_steps": self._bar.total, "elapsed_s": self._bar.elapsed_s}
        return ProgressEvent(kind, {"kind": kind, **metrics, **place})


def is_script(job: Job) -> bool:
    """Tell whether a job runs a script of the caller's own, which need not print progress lines."""
    return job.kind == SCRIPT


def trainer_events(lines: Iterable[str]) -> list[ProgressEvent]:
    """Return the events in the log of a plain Trainer, oldest first; of several trainings those of the last one."""
    log = TrainerLog()
    events = [event for line in lines for event in log.read(line)]
    events += log.newest()
    return [event for event in events if event.fields.get("max_steps", 0) == log.total]


def fold_bars(line: str) -> str | None:
    """Return the newest state of the bars that a line consists of, empty where it only wipes them; None for others."""
    if line.isspace():
        return ""
    states = [*_SIGN.finditer(line)]
    if any(state["metrics"] is not None for state in states) or not (states or _REDRAWN.search(line)):
        return None
    parts = [part.strip() for part in _REDRAWN.split(line)]
    shown = [part for part in parts if part]
    return (shown[-1] if shown else "") if all(map(_is_bar, shown)) else None


def _is_bar(text: str) -> bool:
    state = _SIGN.search(text)
    return state is not None and state.end() == len(text) and (not state.start() or _is_named(text[: state.start()]))


def _is_named(before: str) -> bool:
    """Tell from what stands before a bar on its line whether that is the bar's name."""
    return _REDRAWN.split(before)[-1].rstrip().endswith(":")


def _numbers(text: str) -> dict[str, float | str] | None:
    """Return the numbers of a printed dictionary, "nan" and "inf" as texts; None where it is no Trainer's."""
    found: dict[str, float | str] = {}
    for name, value in _METRIC.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue
        found[name] = number if math.isfinite(number) else str(number)
    return found if "epoch" in found and len(found) > 1 else None


def _seconds(text: str) -> int:
    hours, minutes, seconds = ["0", *text.split(":")][-3:]
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)
