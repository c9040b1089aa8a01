"""Settings that somebody has made before, a preset or a configuration file: what the call itself gives wins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from trl_mcp.recipes.kernels import LOADING
from trl_mcp.recipes.names import RENAMED
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.schema import shorten
from trl_mcp.values import Finding, Severity

_SPLIT = frozenset({DEVICE_BATCH, ACCUMULATION})
_PADDING = "pad_to_multiple_of"
# Fields that say one thing: giving one of them leaves the others out.
_ALIKE = (frozenset({"bf16", "fp16"}), frozenset({"gradient_checkpointing", "activation_checkpointing"}))
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Brought:
    """What settings bring: arguments of the tool, entries of trainer_args, and what is to be said of them.

    `completed` are a model and a data set that the call names without revision or config, or not at all. Where both
    the batch_size and its split are brought, the split counts only beside one that the call gives a part of.
    """

    code: str
    name: str
    arguments: Mapping[str, object]
    trainer_args: Mapping[str, object]
    completed: Mapping[str, object] = field(default_factory=dict[str, object])
    remarks: tuple[str, ...] = ()


def today(name: str) -> str:
    """Return the name of today of a trainer argument."""
    return RENAMED.get(name, name)


def merged(
    brought: Brought, given: Mapping[str, object], known: Iterable[str]
) -> tuple[dict[str, object], tuple[Finding, ...]]:
    """Return the arguments of a call with what is brought beside them, of the `known` arguments, and what was taken.

    `given` are the arguments that the call gives, trainer_args among them.
    """
    own = cast(Mapping[str, object], given.get("trainer_args", {}))
    arguments = {name: value for name, value in brought.arguments.items() if name in known and name not in given}
    if _SPLIT.intersection(own):
        arguments.pop("batch_size", None)
    left = _left_out(brought, own, {**given, **arguments})
    fields = {name: value for name, value in brought.trainer_args.items() if today(name) not in left}
    taken = {**arguments, **fields}
    whole = {**given, **brought.completed, **arguments, "trainer_args": {**own, **fields}}
    return whole, _told(brought, {**brought.completed, **taken})


def _left_out(brought: Brought, own: Mapping[str, object], arguments: Mapping[str, object]) -> set[str]:
    """Return the trainer arguments, under today's names, that are not taken: something else says it."""
    names = {today(name) for name in [*own, *_inside(own.get(LOADING))]}
    left = names.union(*(group for group in _ALIKE if group & names))
    if "batch_size" in arguments:
        left |= _SPLIT
    length, padding = arguments.get("max_length"), brought.trainer_args.get(_PADDING)
    if isinstance(length, int) and isinstance(padding, int) and length < padding:
        left.add(_PADDING)
    return left


def _inside(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, Mapping) else {}


def _told(brought: Brought, taken: Mapping[str, object]) -> tuple[Finding, ...]:
    values = ", ".join(f"{name} {shorten(value, _SHOWN)}" for name, value in taken.items())
    words = (f"{brought.name} sets {values or 'nothing that the call does not give'}.", *brought.remarks)
    return tuple(Finding(brought.code, Severity.INFO, message) for message in words)
