"""Entries of trainer_args that are no fields of a trainer: its devices, where it reports to, what judges go by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.extras import TRACKERS
from trl_mcp.recipes.judges import RUBRIC, check_rubric
from trl_mcp.recipes.kernels import with_loading
from trl_mcp.recipes.sharding import read_strategy
from trl_mcp.schema import did_you_mean, shorten

_NOWHERE = ("none", "null", "[]", "")
_IMPLIED_TRACKER = "trackio"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The strategy (None: left open), the trackers that metrics go to, a rubric for judges, the other arguments."""

    strategy: str | None
    report_to: tuple[str, ...]
    trainer_args: dict[str, object]
    judge_rubric: str | None = None


def take_wishes(trainer_args: Mapping[str, object]) -> Wishes:
    """Take what a trainer does not know out of its arguments. Raises InvalidArguments for what it cannot be."""
    rest = with_loading(trainer_args)
    strategy, trackers = read_strategy(rest.pop("strategy", None)), _trackers(rest.pop("report_to", _IMPLIED_TRACKER))
    return Wishes(strategy, trackers, judge_rubric=check_rubric(rest.pop(RUBRIC, None)), trainer_args=rest)


def _trackers(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _listed(value)
    names = [str(name) for name in cast(list[object], value or []) if name != "none"]
    for name in names:
        if name not in TRACKERS:
            raise InvalidArguments(
                f"report_to cannot be {shorten(name)}.{did_you_mean(name, TRACKERS)}",
                allowed=f"It is none, or any of {', '.join(TRACKERS)}.",
                next_step="Loss and metrics are in job_status in any case. Nothing was started.",
            )
    return tuple(dict.fromkeys(names))


def _listed(text: str) -> list[object]:
    if text.strip().lower() in _NOWHERE:
        return []
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    return cast(list[object], read) if isinstance(read, list) else [part.strip() for part in text.split(",")]
