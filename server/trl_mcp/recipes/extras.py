"""What a script needs beside its template's own header: packages at their versions, and an image."""

from collections.abc import Iterable, Mapping

from trl_mcp.recipes.kernels import asks_for_kernels
from trl_mcp.recipes.rewards import ACCURACY_REWARDS
from trl_mcp.recipes.sharding import ZERO

FOUR_BITS = "bitsandbytes==0.50.2"
MATH = "math-verify==0.9.0"
FUSED = "liger-kernel==0.8.5"
# What transformers 5.23.0 takes (its extra "kernels": 0.18.2 to 0.19).
KERNELS = "kernels==0.18.2"
# Within what TRL 1.16.0 takes (0.22.0 to 0.31.0) the version made for the templates' torch, 2.13.0.
VLLM = "vllm==0.30.0"
# TRL 1.16.0 takes 0.18.6 and later.
DEEPSPEED = "deepspeed==0.19.8"
# vLLM's own image: CUDA's compiler, Python 3.12 and uv. Both packages compile for the card that they find.
COMPILER_IMAGE = "vllm/vllm-openai:v0.30.0"
# Trackio is in every training template's own header.
TRACKERS: dict[str, str | None] = {"trackio": None, "wandb": "wandb==0.31.0", "tensorboard": "tensorboard==2.21.0"}
# Marks in the names of the optimizers that bitsandbytes brings.
_OF_BITSANDBYTES = ("8bit", "bnb", "paged_", "lion", "ademamix")


def dependencies(
    tuning: str,
    config: Mapping[str, object],
    rewards: Iterable[str],
    report_to: Iterable[str],
    strategy: str | None = None,
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
    if asks_for_kernels(config):
        wanted.add(KERNELS)
    if config.get("use_vllm"):
        wanted.add(VLLM)
    if strategy in ZERO:
        wanted.add(DEEPSPEED)
    return tuple(sorted(wanted))


def image(config: Mapping[str, object], strategy: str | None) -> str:
    """Return the image that a script needs on Hugging Face Jobs; empty where the usual one will do."""
    return COMPILER_IMAGE if config.get("use_vllm") or strategy in ZERO else ""
