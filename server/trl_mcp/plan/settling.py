"""From what was found to what is agreed: the estimate closes a place that is still open, and splits the batch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

import anyio
import anyio.to_thread

from trl_mcp.concurrency import both
from trl_mcp.errors import HubUnreachable, TrlMcpError
from trl_mcp.estimate.money import ceiling
from trl_mcp.plan.estimation import Choice, choose_machine, judged, weigh, with_split
from trl_mcp.plan.gather import Facts, gather
from trl_mcp.plan.machines import able
from trl_mcp.plan.place import Gathering, Place, closed
from trl_mcp.plan.plan import Estimate
from trl_mcp.plan.shapes import Shapes, find_shapes
from trl_mcp.plan.this_machine import this_machine
from trl_mcp.plan.workload import Workload, measured_size, used_part
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.values import Finding, Flavor, Severity

SHAPE_SECONDS = 18.0
_SPLIT = (DEVICE_BATCH, ACCUMULATION)


@dataclass(frozen=True, slots=True)
class Known:
    """What an estimate is made from beside the facts; without shapes `error` is what is in the way."""

    shapes: Shapes | None = None
    error: TrlMcpError | None = None
    machine: Flavor | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a job runs and how its batch is split, with the estimate; `agreed` is what a plan keeps of it."""

    place: Place
    recipe: Recipe
    estimate: Estimate | None
    agreed: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    devices: int = 1


async def gather_all(recipe: Recipe, place: Place, gathering: Gathering, *, is_agreed: bool) -> tuple[Facts, Known]:
    """Return the facts and, side by side with them, what the estimate needs where nothing is agreed yet.

    Raises what `gather` raises. What cannot be found for the estimate is no error here.
    """
    if is_agreed:
        return await gather(recipe, place, gathering), Known()
    return await both(lambda: gather(recipe, place, gathering), lambda: find_known(recipe, place, gathering))


async def find_known(recipe: Recipe, place: Place, gathering: Gathering) -> Known:
    """Return the shapes of the models, or why there are none, and for a local place this machine."""
    shapes: Shapes | None = None
    error: TrlMcpError | None = HubUnreachable("The model's files were not read in time.")
    with anyio.move_on_after(SHAPE_SECONDS):
        try:
            shapes, error = await find_shapes(recipe, gathering), None
        except TrlMcpError as found:
            error = found
    machine = await anyio.to_thread.run_sync(this_machine, gathering, recipe.strategy) if place.is_local else None
    return Known(shapes, error, machine)


def settle(
    recipe: Recipe, place: Place, facts: Facts, known: Known, *, cap: Decimal | None, agreed: Mapping[str, Any] | None
) -> Settled:
    """Return what is agreed on, else what the estimate makes of it.

    Raises InvalidArguments where hardware or timeout were left open and no estimate can tell them, and for a machine
    that cannot run the recipe at all.
    """
    if agreed is not None:
        return Settled(place, with_split(recipe, agreed["split"]), None, dict(agreed))
    if fixed := known.machine if place.is_local else place.flavor:
        able(recipe, [fixed], place.candidates)
    place = replace(place, candidates=tuple(able(recipe, place.candidates)))
    if known.shapes is None:
        why = known.error.what if known.error else ""
        finding = Finding("hw.unestimated", Severity.INFO, f"Memory, time and cost are not known: {why}")
        return _settled(closed(place, finding.message), recipe, None, (finding,))
    work = Workload(recipe, known.shapes, measured_size(recipe, facts.data))
    choice = _choice(work, place, known, cap)
    found = choice.option
    if not place.is_local:
        flavor = next(each for each in place.candidates if each.name == found.hardware)
        place = replace(place, hardware=flavor.name, flavor=flavor, timeout_s=place.timeout_s or found.timeout_s)
    place = closed(place, "How long it takes here is not known.")
    if found.possible:
        recipe = with_split(recipe, {DEVICE_BATCH: found.device_batch, ACCUMULATION: found.accumulation})
    estimate = Estimate(
        verdict=found.verdict,
        peak_gb=found.peak_gb,
        hours_low=found.hours_low,
        hours_high=found.hours_high,
        usd_expected=found.usd_expected,
        why=": ".join(part for part in (choice.why, found.reason) if part),
        offers=_offers(work, place),
    )
    settled = _settled(place, recipe, estimate, choice.findings)
    machine = place.flavor or known.machine
    return replace(settled, devices=used_part(machine, recipe.strategy).gpu_count or 1 if machine else 1)


def _settled(place: Place, recipe: Recipe, estimate: Estimate | None, findings: tuple[Finding, ...]) -> Settled:
    split = {name: cast(int, recipe.config[name]) for name in _SPLIT}
    agreed = {"hardware": place.hardware, "timeout_s": place.timeout_s, "split": split}
    return Settled(place, recipe, estimate, agreed, findings)


def _choice(work: Workload, place: Place, known: Known, cap: Decimal | None) -> Choice:
    fixed = known.machine if place.is_local else place.flavor
    if fixed is not None:
        return judged(weigh(work, fixed))
    return choose_machine(work, place.candidates, cap, place.attempts)


def _offers(work: Workload, place: Place) -> dict[str, Decimal]:
    """Return the machines on offer on which it fits, each with the most it can cost there with the timeout left open."""
    if place.is_local:
        return {}
    found = [weigh(work, flavor) for flavor in place.candidates]
    return {
        each.hardware: ceiling(each.micro_usd_per_minute, each.timeout_s, place.attempts)
        for each in found
        if each.verdict == "fits" and each.timeout_s
    }
