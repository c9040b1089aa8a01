"""Packages that a script needs beside those in its template's header: which wish brings which, at which version."""

from collections.abc import Iterable, Mapping

from trl_mcp.recipes.rewards import ACCURACY_REWARDS

FOUR_BITS = "bitsandbytes==0.50.2"
MATH = "math-verify==0.9.0"
FUSED = "liger-kernel==0.8.5"
# Trackio is in every training template's own header.
TRACKERS: dict[str, str | None] = {"trackio": None, "wandb": "wandb==0.31.0", "tensorboard": "tensorboard==2.21.0"}
# Marks in the names of the optimizers that bitsandbytes brings.
_OF_BITSANDBYTES = ("8bit", "bnb", "paged_", "lion", "ademamix")


def dependencies(
    tuning: str, config: Mapping[str, object], rewards: Iterable[str], report_to: Iterable[str]
) -> tuple[str, ...]:
    """Return the pinned packages that a recipe adds to its template's own, in alphabetical order.

    `rewards` are the names of those that are TRL's own.
    """
    optimizer = str(config.get("optim", ""))
    wanted = {package for name in report_to if (package := TRACKERS[name]) is not None}
    if tuning == "qlora" or any(mark in optimizer for mark in _OF_BITSANDBYTES):
        wanted.add(FOUR_BITS)
    if not ACCURACY_REWARDS.isdisjoint(rewards):
        wanted.add(MATH)
    if config.get("use_liger_kernel"):
        wanted.add(FUSED)
    return tuple(sorted(wanted))
