"""Entries of trainer_args that are no fields of a trainer: on how many devices it trains, and where it reports to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.extras import TRACKERS
from trl_mcp.schema import did_you_mean, shorten

_STRATEGIES = ("single_gpu", "multi_gpu")
_SHARDING = ("fsdp1", "fsdp2", "zero1", "zero2", "zero3")
_NOWHERE = ("none", "null", "[]", "")


@dataclass(frozen=True, slots=True)
class Wishes:
    """The strategy (None: left open), the trackers that metrics go to, and the other trainer arguments."""

    strategy: str | None
    report_to: tuple[str, ...]
    trainer_args: dict[str, object]


def take_wishes(trainer_args: Mapping[str, object]) -> Wishes:
    """Take strategy and report_to out of the trainer arguments. Raises InvalidArguments for what they cannot be."""
    rest = dict(trainer_args)
    return Wishes(_strategy(rest.pop("strategy", None)), _trackers(rest.pop("report_to", None)), rest)


def _strategy(value: object) -> str | None:
    if value is None or value in _STRATEGIES:
        return cast(str | None, value)
    if value in _SHARDING:
        what = f"strategy cannot be {value} in this version: models are not split over devices."
    else:
        what = f"strategy cannot be {shorten(value)}.{did_you_mean(str(value), _STRATEGIES)}"
    raise InvalidArguments(
        what,
        allowed=f"It is {' or '.join(_STRATEGIES)}; left out, all GPUs are used.",
        next_step="Nothing was started.",
    )


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
