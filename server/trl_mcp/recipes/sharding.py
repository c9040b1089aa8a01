"""Strategies: how several GPUs share a training, by the names of TRL's own configurations of Accelerate."""

from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import did_you_mean, shorten

FSDP = ("fsdp1", "fsdp2")
ZERO = ("zero1", "zero2", "zero3")
STRATEGIES = ("single_gpu", "multi_gpu", *FSDP, *ZERO)
# Each GPU holds a part of the weights; else each holds all of them.
SPREADS_WEIGHTS = frozenset({*FSDP, "zero3"})
_OWN_LOOP = frozenset({"ppo", "prm"})
_NOTHING_STARTED = "Nothing was started."


def read_strategy(value: object) -> str | None:
    """Return a strategy; None where it is left open. Raises InvalidArguments for a name that is none."""
    if value is None or value in STRATEGIES:
        return cast(str | None, value)
    raise InvalidArguments(
        f"strategy cannot be {shorten(value)}.{did_you_mean(str(value), STRATEGIES)}",
        allowed=f"It is {', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}; left out, all GPUs are used.",
        next_step=_NOTHING_STARTED,
    )


def shards(strategy: str | None) -> bool:
    """Tell whether a strategy spreads weights, gradients or the optimizer's state over several GPUs."""
    return strategy in (*FSDP, *ZERO)


def wants_several(strategy: str | None) -> bool:
    """Tell whether a strategy that was named makes sense on several GPUs only."""
    return strategy == "multi_gpu" or shards(strategy)


def check_strategy(strategy: str | None, method: str, tuning: str, *, merge: bool) -> None:
    """Raise InvalidArguments where a training cannot be spread over several GPUs so."""
    if not shards(strategy):
        return
    if why := cannot_shard(str(strategy), method, tuning):
        raise InvalidArguments(
            f"strategy {strategy}: {why}.",
            allowed=f"What works with {method} and {tuning}: {', '.join(_working(method, tuning))}.",
            next_step=_NOTHING_STARTED,
        )
    if merge and strategy in SPREADS_WEIGHTS:
        raise InvalidArguments(
            f"merge: not with strategy {strategy}, under which no process has the whole base model.",
            allowed="merge works with zero1, zero2, multi_gpu and single_gpu.",
            next_step=f"Leave merge out: the adapter is saved, and convert_gguf merges it. {_NOTHING_STARTED}",
        )


def cannot_shard(strategy: str, method: str, tuning: str) -> str:
    """Return why a method and tuning cannot be trained under a strategy that shards; empty where they can."""
    if method in _OWN_LOOP:
        return f"{method} trains with an older TRL, under which models are not spread over GPUs here"
    if method == "online_dpo" and strategy == "zero3":
        return "its trainer cannot copy a model whose weights are spread for its reference"
    if tuning == "qlora" and strategy in SPREADS_WEIGHTS:
        return "weights in 4 bits are not spread over GPUs"
    return ""


def _working(method: str, tuning: str) -> list[str]:
    return [name for name in STRATEGIES if not shards(name) or not cannot_shard(name, method, tuning)]
