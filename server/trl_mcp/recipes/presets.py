"""The presets of trl-jobs: settings for one model and tuning that were made to fill an 80 GB card.

Taken over without what belongs to its launcher and machine (output folder, pushing, log level, 96 processes for the
data) and without bf16, which scripts use wherever the card has it. Its liger kernels are today's use_kernels.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import prod
from typing import Any, cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.names import PRESET
from trl_mcp.recipes.ready_made import Brought
from trl_mcp.recipes.references import model_reference
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.schema import did_you_mean, shorten

TRL_JOBS = "trl-jobs"
_METHOD = "sft"
_ARGUMENTS = {"num_train_epochs": "epochs", "learning_rate": "learning_rate", "max_length": "max_length"}
_NOTHING_STARTED = "Nothing was started."


@dataclass(frozen=True, slots=True)
class Preset:
    """The settings for a model and tuning (lora or full), by the names of the trainer's config."""

    model: str
    tuning: str
    flavor: str
    fields: Mapping[str, object]


@cache
def presets() -> tuple[Preset, ...]:
    """Return every preset there is."""
    text = (files("trl_mcp.recipes") / "tables" / "trl_jobs_presets.json").read_text(encoding="utf-8")
    table = cast(dict[str, Any], json.loads(text))
    return tuple(
        Preset(entry.pop("model"), entry.pop("tuning"), table["flavor"], {**entry, **table["all"]})
        for entry in cast(list[dict[str, Any]], table["presets"])
    )


def from_preset(name: object, given: Mapping[str, object]) -> Brought:
    """Return what the preset for a call's method, model and tuning brings; without a tuning that of the preset.

    qlora takes the settings for lora. Raises InvalidArguments, naming what there is, where there is none.
    """
    _check(name, str(given["method"]))
    model, tuning = model_reference(str(given["model"])).id, given.get("tuning")
    ours = {preset.tuning: preset for preset in presets() if preset.model.lower() == model.lower()}
    if not ours:
        raise InvalidArguments(
            f"{TRL_JOBS} has no preset for {shorten(model)}.{did_you_mean(model, _by_id())}",
            allowed=f"It has presets for {_all_models()}.",
            next_step=f"Leave preset out, or train one of these. {_NOTHING_STARTED}",
        )
    wanted = {"qlora": "lora", None: "lora" if "lora" in ours else "full"}.get(cast(str | None, tuning), tuning)
    if wanted not in ours:
        raise InvalidArguments(
            f"{TRL_JOBS} has no preset for {model} with tuning {tuning}.",
            allowed=f"It has one with tuning {' and '.join(ours)}.",
            next_step=f"Leave tuning or preset out. {_NOTHING_STARTED}",
        )
    return _brought(ours[cast(str, wanted)])


def _check(name: object, method: str) -> None:
    if name != TRL_JOBS:
        raise InvalidArguments(
            f"{PRESET} cannot be {shorten(name)}.{did_you_mean(str(name), [TRL_JOBS])}",
            allowed=f"It is {TRL_JOBS}.",
            next_step=_NOTHING_STARTED,
        )
    if method != _METHOD:
        raise InvalidArguments(
            f"{TRL_JOBS} has presets for {_METHOD} only, not for {method}.",
            next_step=f"Leave preset out: {method} has defaults of its own. {_NOTHING_STARTED}",
        )


def _brought(preset: Preset) -> Brought:
    fields = dict(preset.fields)
    arguments = {argument: fields.pop(name) for name, argument in _ARGUMENTS.items()}
    batch = prod(cast(int, fields[name]) for name in (DEVICE_BATCH, ACCUMULATION))
    remark = f"The preset was made for {preset.flavor}, one card of 80 GB; hardware stays as asked."
    return Brought(
        code="args.preset",
        name=f"preset {TRL_JOBS} for {preset.model}",
        arguments={"tuning": preset.tuning, **arguments, "batch_size": batch},
        trainer_args=fields,
        remarks=(remark,),
    )


def _by_id() -> dict[str, list[str]]:
    """Return the tunings of every model's presets by its lower-case id."""
    found: dict[str, list[str]] = {}
    for preset in presets():
        found.setdefault(preset.model.lower(), []).append(preset.tuning)
    return found


def _all_models() -> str:
    names: Iterable[str] = dict.fromkeys(preset.model for preset in presets())
    return ", ".join(f"{name} ({' and '.join(_by_id()[name.lower()])})" for name in names)
