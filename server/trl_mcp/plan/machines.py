"""Which machines can run a recipe at all, however small its model."""

from collections.abc import Mapping, Sequence

from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.machine import card_of
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.sharding import ZERO, wants_several
from trl_mcp.values import Flavor


def unfit(strategy: str | None, config: Mapping[str, object], machine: Flavor) -> str:
    """Return why a machine cannot run a strategy and a trainer's config, whatever its memory; empty where it can."""
    if wants_several(strategy) and machine.gpu_count < 2:
        has = "has one" if machine.gpu_count else "has none"
        return f"strategy {strategy} is for several GPUs, and {machine.name} {has}"
    if config.get("use_vllm") and not _runs_vllm(machine):
        return f"use_vllm needs GPUs from Ampere on, and {machine.name} has {machine.accelerator or 'none'}"
    return ""


def _runs_vllm(machine: Flavor) -> bool:
    card = card_of(machine)
    return machine.gpu_count > 0 and (card is None or card.bf16)


def able(recipe: Recipe, machines: Sequence[Flavor], on_offer: Sequence[Flavor] = ()) -> list[Flavor]:
    """Return the machines that can run a recipe. Raises InvalidArguments with those on offer where none of them can."""
    faults = {machine.name: unfit(recipe.strategy, recipe.config, machine) for machine in (*machines, *on_offer)}
    found = [machine for machine in machines if not faults[machine.name]]
    if found or not machines:
        return found
    others = [machine.name for machine in on_offer if not faults[machine.name]]
    what = "strategy" if wants_several(recipe.strategy) else "use_vllm"
    raise InvalidArguments(
        f"{faults[machines[0].name]}.",
        allowed=f"What can: {', '.join(others)}." if others else "",
        next_step=f"Leave {what} out, or name other hardware. Nothing was started.",
    )


def check_move(strategy: str | None, config: Mapping[str, object], before: Flavor | None, now: Flavor) -> None:
    """Raise InvalidArguments where a run cannot go on, on another machine than before."""
    why = unfit(strategy, config, now)
    if not why and strategy in ZERO and before is not None and before.gpu_count != now.gpu_count:
        why = (
            f"strategy {strategy} goes on with as many GPUs as it began with: {before.name} has {before.gpu_count}, and "
            f"{now.name} {now.gpu_count}"
        )
    if why:
        raise InvalidArguments(f"{why}.", next_step="Name other hardware, or leave it out. Nothing was started.")
