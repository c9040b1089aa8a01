"""A training weighed on machines: what fits, how long it takes, what it costs, how its batch is split; and the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.machine import card_of
from trl_mcp.estimate.options import DISK, Option, cheapest, choose, highest_cost, lack, option
from trl_mcp.estimate.processors import with_hours
from trl_mcp.plan.place import LOCAL
from trl_mcp.plan.workload import Workload, used_part
from trl_mcp.recipes.batch import least_device_batch, split_as
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.values import Finding, Flavor, Severity

#: Without a GPU a machine is a choice only for what nine in ten times is done within an hour.
_MOST_HOURS_ON_PROCESSORS = 1.0
_PROCESS_GB = 4.0
_VERDICTS = {"no": Severity.ERROR, "tight": Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Choice:
    """The machine that a training runs on, what is to be said about it, and whether it was chosen for the caller."""

    option: Option
    findings: tuple[Finding, ...] = ()
    why: str = ""


def weigh(work: Workload, flavor: Flavor) -> Option:
    """Return what a training needs on a machine, its batch split as memory allows, or as the caller has split it."""
    machine = used_part(flavor, work.recipe.strategy)
    gpus = max(1, machine.gpu_count)
    found = _split(work, machine, gpus)
    job = work.job(gpus, found.device_batch)
    if not machine.gpu_count and machine.vcpu:
        found = with_hours(found, work.shapes.model, job, machine)
    found = _doubted(work, found, machine)
    if given := work.given_split(gpus):
        found = replace(found, device_batch=given[0], accumulation=given[1])
    return found if work.size.rows is not None or job.max_steps > 0 else _without_hours(found)


def _split(work: Workload, machine: Flavor, gpus: int) -> Option:
    """Return the option whose batch is split best: where the card's speed is not known, the usual split if that fits."""

    def tried(device_batch: int) -> Option:
        return option(work.shapes.model, work.job(gpus, device_batch), machine, work.recipe.tuning)

    usual = cast(int, work.recipe.config[DEVICE_BATCH])
    if card_of(machine) is None and usual % gpus == 0:
        found = tried(usual)
        if found.verdict == "fits":
            return found
    found = tried(0)
    least = least_device_batch(work.method, work.recipe.config)
    if found.device_batch >= least:
        return found
    rows = found.device_batch * found.accumulation
    return tried(next((size for size in range(least, rows + 1) if rows % size == 0), usual))


def _doubted(work: Workload, found: Option, machine: Flavor) -> Option:
    """Return a "no" of this machine as "tight" where only what is assumed beside the training makes it one.

    Packages and models may lie on its disk already, and small models on processors need little beside themselves.
    """
    if found.verdict != "no" or machine.name != LOCAL:
        return found
    beside = 0.0 if machine.gpu_count else _PROCESS_GB
    roomy = replace(machine, disk_gb=float("inf"), ram_gb=machine.ram_gb + beside)
    again = option(work.shapes.model, work.job(max(1, machine.gpu_count), found.device_batch), roomy, found.tuning)
    if not again.possible:
        return found
    return replace(found, verdict="tight", reason=found.reason.replace("does not fit:", "may run out:", 1))


def _without_hours(found: Option) -> Option:
    return replace(found, hours_low=None, hours_high=None, usd_expected=None, usd_p90=None, timeout_s=None)


def is_quick_enough(found: Option, flavors: Mapping[str, Flavor]) -> bool:
    """Whether a machine is a choice for somebody who names none: those without a GPU are for what is done in an hour."""
    flavor = flavors[found.hardware]
    return bool(flavor.gpu_count) or (found.hours_high or 99) <= _MOST_HOURS_ON_PROCESSORS


def choose_machine(work: Workload, candidates: Sequence[Flavor], cap: Decimal | None, attempts: int) -> Choice:
    """Return the machine for hardware="auto": the cheapest that fits, its ceiling below the cap.

    Where none does it is the nearest, with the error that says so. Raises InvalidArguments where there is no machine.
    """
    flavors = {flavor.name: flavor for flavor in candidates}
    weighed = [weigh(work, flavor) for flavor in flavors.values()]
    found = [each for each in weighed if is_quick_enough(each, flavors)]
    chosen, why = choose(found, cap, attempts)
    if chosen is not None:
        return Choice(chosen, why="the cheapest that fits")
    if fitting := [each for each in found if each.verdict == "fits" and each.usd_expected is not None]:
        # Money alone forbids it, and says so itself.
        return Choice(
            min(fitting, key=lambda each: highest_cost(each, attempts)),
            why="of those that fit the one with the lowest ceiling",
        )
    nearest = cheapest(found) or min(found, key=lack, default=None)
    if nearest is None:
        raise InvalidArguments(
            "Hugging Face Jobs offer no machine with a GPU today.", next_step="Name hardware. Nothing was started."
        )
    return Choice(nearest, (Finding("hw.memory", Severity.ERROR, why, _mend(nearest, work.recipe)),), "the nearest")


def judged(found: Option) -> Choice:
    """Return the option with what its verdict means for somebody who has named it."""
    if found.verdict == "fits":
        return Choice(found)
    fix = "Name larger hardware, or a smaller tuning."
    if found.possible:
        fix = "A smaller max_length or batch leaves more room."
        if found.bound == DISK:
            fix = "Free disk space on this machine, or name larger hardware."
    elif found.is_unable:
        fix = "Change what the message names: more memory does not help."
    code = "hw.tight" if found.possible else "hw.memory"
    message = f"{found.tuning} on {found.hardware}: {found.reason}."
    return Choice(found, (Finding(code, _VERDICTS[found.verdict], message, fix),))


def _mend(nearest: Option, recipe: Recipe) -> str:
    """Return what to do where no machine fits."""
    if nearest.verdict == "fits":
        return f'Name hardware="{nearest.hardware}" and a timeout.'
    if nearest.possible:
        return f'Name hardware="{nearest.hardware}" to take the risk.'
    if nearest.is_unable:
        return "Name another model or another tuning."
    smaller = {"full": 'tuning="lora"', "lora": 'tuning="qlora"'}.get(recipe.tuning, "a smaller model")
    spread = (
        f'Name hardware="{nearest.hardware}" and trainer_args=["strategy=fsdp2"], or use' if nearest.remedy else "Use"
    )
    return f"{spread} {smaller}, a smaller max_length, or a smaller model."


def with_split(recipe: Recipe, split: Mapping[str, Any]) -> Recipe:
    """Return the recipe with its batch split so. Raises InvalidArguments where the method cannot take it."""
    config = split_as(METHODS[recipe.method], recipe.config, split[DEVICE_BATCH], split[ACCUMULATION])
    return replace(recipe, config=config)
