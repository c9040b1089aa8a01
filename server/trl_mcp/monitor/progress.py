"""Progress lines of a job -> what it has done so far."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

_PREFIX = "TRL_MCP "
_NO_METRIC = {"kind", "step", "max_steps", "epoch", "elapsed_s", "total_flos", "eval_num_tokens", "eval_entropy"}
_NO_METRIC_ENDINGS = ("_runtime", "_per_second")
_WINDOW = 40
_PACE = 12
_FLAT = 0.02


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One progress line: its kind and its fields."""

    kind: str
    fields: dict[str, Any]

    @property
    def step(self) -> int:
        """The optimizer step the event speaks of, 0 where it names none."""
        step = self.fields.get("step")
        return step if isinstance(step, int) else 0


def parse_line(line: str, tag: str) -> ProgressEvent | None:
    """Return the event of a progress line of the job with this tag, None for any other line."""
    prefix = f"{_PREFIX}{tag} "
    if not tag or not line.startswith(prefix):
        return None
    try:
        fields = json.loads(line.removeprefix(prefix))
    except ValueError:
        return None
    if not isinstance(fields, dict) or not isinstance(kind := cast(dict[str, Any], fields).get("kind"), str):
        return None
    return ProgressEvent(kind, cast(dict[str, Any], fields))


def parse_lines(lines: Iterable[str], tag: str) -> Iterator[ProgressEvent]:
    """Return the events among the lines."""
    return (event for line in lines if (event := parse_line(line, tag)) is not None)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, from the last lines of its log. Times are seconds, `percent` 0 to 100."""

    step: int = 0
    max_steps: int = 0
    epoch: float | None = None
    metrics: dict[str, float | str] = field(default_factory=dict[str, "float | str"])
    trend: str | None = None
    loss: str | None = None
    eval_loss: str | None = None
    eta_s: int | None = None
    resume_step: int | None = None
    is_training: bool = False
    samples: tuple[dict[str, Any], ...] = ()
    error: str = ""
    pushed: str = ""
    warnings: tuple[str, ...] = ()
    files: tuple[dict[str, Any], ...] = ()
    ollama_run: str = ""

    @property
    def percent(self) -> float:
        """The share of steps done."""
        return round(100 * self.step / self.max_steps, 1) if self.max_steps else 0.0


def summarize(events: Iterable[ProgressEvent]) -> Progress:
    """Return where the job stands. The events are those of its last attempt's log, oldest first."""
    events = list(events)
    logs = [event for event in events if event.kind == "log"]
    starts = [event for event in events if event.kind == "start"]
    saved = [event.step for event in events if event.kind == "checkpoint"]
    errors = [str(event.fields.get("message", "")) for event in events if event.kind == "error"]
    last = max((event.step for event in events), default=0)
    return Progress(
        step=last,
        max_steps=_latest(events, "max_steps"),
        epoch=next((event.fields["epoch"] for event in reversed(logs) if "epoch" in event.fields), None),
        metrics=_metrics(logs),
        trend=trend([event.fields["loss"] for event in logs if "loss" in event.fields]),
        loss=_first_to_last(logs, "loss"),
        eval_loss=_first_to_last(logs, "eval_loss"),
        eta_s=_eta(logs),
        resume_step=saved[-1] if saved else _latest(starts, "resume_step") or None,
        is_training=bool(logs) or any("max_steps" in event.fields for event in starts),
        samples=tuple(event.fields for event in events if event.kind == "sample" and "prompt" in event.fields),
        error=errors[-1] if errors else "",
        pushed=next((str(event.fields.get("url", "")) for event in reversed(events) if event.kind == "push"), ""),
        warnings=_warnings(events),
        files=_files(events),
        ollama_run=next((str(event.fields["ollama_run"]) for event in events if "ollama_run" in event.fields), ""),
    )


def _files(events: list[ProgressEvent]) -> tuple[dict[str, Any], ...]:
    """Return the files a conversion has made: all of them from its last line, until then those made in this job."""
    listed: object = next((event.fields.get("files") for event in reversed(events) if event.kind == "end"), None)
    if isinstance(listed, list):
        return tuple(
            cast(list[dict[str, Any]], [each for each in cast(list[object], listed) if isinstance(each, dict)])
        )
    return tuple(event.fields for event in events if event.kind == "file")


def _warnings(events: list[ProgressEvent]) -> tuple[str, ...]:
    """Return what the job warned of, each once, in the order in which it was said first."""
    messages = [event.fields.get("message") for event in events if event.kind == "warning"]
    return tuple(dict.fromkeys(message for message in messages if isinstance(message, str) and message))


def _latest(events: list[ProgressEvent], name: str) -> int:
    values = [event.fields[name] for event in events if isinstance(event.fields.get(name), int)]
    return values[-1] if values else 0


def _metrics(logs: list[ProgressEvent]) -> dict[str, float | str]:
    """Return the newest value of every metric; evaluation and training report in lines of their own."""
    merged: dict[str, float | str] = {}
    for event in logs[-_WINDOW:]:
        merged |= {name: value for name, value in event.fields.items() if _is_metric(name)}
    return merged


def _is_metric(name: str) -> bool:
    return name not in _NO_METRIC and not name.endswith(_NO_METRIC_ENDINGS)


def _first_to_last(logs: list[ProgressEvent], name: str) -> str | None:
    """Return a metric's way in words: `5.81 (step 1) -> 3.13 (step 60)`, without the steps where they are not known."""
    seen = [(event.step, event.fields[name]) for event in logs if isinstance(event.fields.get(name), (int, float))]
    if len(seen) < 2:
        return None
    (first_step, first), (last_step, last) = seen[0], seen[-1]
    if not last_step:
        return f"{first:.4g} -> {last:.4g}"
    return f"{first:.4g} (step {first_step}) -> {last:.4g} (step {last_step})"


def trend(losses: list[float | str]) -> str | None:
    """Tell where a loss goes: falling, flat or rising by more than 2 % between the halves of its last 40 values, or nan.

    None for fewer than four values.
    """
    window = losses[-_WINDOW:]
    if any(isinstance(value, str) or not math.isfinite(value) for value in window):
        return "nan"
    numbers = cast(list[float], window)
    if len(numbers) < 4:
        return None
    half = len(numbers) // 2
    before, after = sum(numbers[:half]) / half, sum(numbers[-half:]) / half
    if abs(after - before) <= _FLAT * max(abs(before), 1e-12):
        return "flat"
    return "falling" if after < before else "rising"


def _eta(logs: list[ProgressEvent]) -> int | None:
    """Return the seconds left by the pace of the last log lines."""
    timed = [event for event in logs[-_PACE:] if {"step", "elapsed_s"} <= event.fields.keys()]
    if len(timed) < 2 or timed[-1].step <= timed[0].step or "max_steps" not in timed[-1].fields:
        return None
    first, last = timed[0], timed[-1]
    pace = (last.fields["elapsed_s"] - first.fields["elapsed_s"]) / (last.step - first.step)
    return max(0, round(pace * (last.fields["max_steps"] - last.step)))
