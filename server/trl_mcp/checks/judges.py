"""Checks of judges: what they cost beside the job."""

import math
from typing import cast

from trl_mcp.checks.check import Check, Fault, Gathered
from trl_mcp.checks.training import steps_of
from trl_mcp.estimate.duration import JUDGE_CALL_S, JUDGES_AT_ONCE
from trl_mcp.recipes.batch import group_size
from trl_mcp.recipes.methods import METHODS
from trl_mcp.values import Severity

# Online DPO compares two answers to each prompt.
_PAIR = 2


def judge_cost(gathered: Gathered) -> Fault | None:
    """Find judges, each of whose calls is paid beside the job."""
    names = [reward.name for reward in gathered.recipe.rewards if reward.kind == "judge"]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are each"
    return Fault(
        f"{' and '.join(names)} {verb} asked once for each answer{_calls(gathered, len(names))}. Inference Providers "
        "bill the account of the token for that, beside the job: it is not in usd_ceiling, and max_cost_usd does not "
        "limit it.",
        "Look the price up on the page of the model. Fewer max_steps, num_generations or rows make fewer calls.",
    )


def _calls(gathered: Gathered, judges: int) -> str:
    """Return in words how many calls there will be, and how long they take; nothing where the steps are not known."""
    steps, answers = steps_of(gathered), _answers_per_step(gathered)
    if steps is None:
        return ""
    calls = math.ceil(steps * answers) * judges
    minutes = math.ceil(calls * JUDGE_CALL_S / JUDGES_AT_ONCE / 60)
    return (
        f", about {calls:,} calls in all ({steps} steps of {answers:g} answers), which at {JUDGE_CALL_S} s each are "
        f"{minutes} min of the estimate"
    )


def _answers_per_step(gathered: Gathered) -> float:
    recipe = gathered.recipe
    method = METHODS[recipe.method]
    group = group_size(method, recipe.config) if method.answers_in_groups else _PAIR
    reused = cast(int, recipe.config.get("num_iterations") or 1)
    return recipe.batch_size * group / reused


JUDGE_CHECKS = (
    Check(
        code="reward.judge_cost",
        severity=Severity.WARNING,
        looks_for="a language model as judge, whose calls are paid beside the job",
        why="The ceiling is the price of the machine: it does not hold what a provider asks for its answers.",
        fix="Look the price of the model up; make fewer calls.",
        source="Hugging Face documentation, Inference Providers: pricing and billing",
        find=judge_cost,
    ),
)
