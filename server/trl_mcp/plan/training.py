"""What was asked -> plan: the facts gathered, the recipe completed, the script rendered."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio.to_thread

from trl_mcp.data.local import RowWishes, check_targets, scan_local
from trl_mcp.plan.models import inspect_model
from trl_mcp.plan.plan import Plan, run_key
from trl_mcp.recipes.recipe import RECIPE_VERSION, Asked, Recipe, make_recipe, one_line
from trl_mcp.render.script import render
from trl_mcp.values import DataReport, Finding, ModelReport, Severity

SAVE_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs and for how long: `timeout_s` in seconds per attempt, None for no limit."""

    hardware: str
    namespace: str
    timeout_s: int | None = None
    attempts: int = 1


async def plan_training(asked: Asked, place: Place, translated: tuple[Finding, ...] = ()) -> Plan:
    """Return the plan of a training, with every finding. Starts nothing.

    Raises the errors of recipes and data for arguments that cannot be understood or name what does not exist.
    """
    recipe = make_recipe(asked)
    model = await anyio.to_thread.run_sync(inspect_model, recipe.model)
    data = await anyio.to_thread.run_sync(_scan, recipe, model)
    key = run_key(recipe.identity | {"model": model.fingerprint, "data": data.fingerprint} | _place_identity(place))
    run = run_values(recipe, key)
    return Plan(
        kind="training",
        method=recipe.method,
        run=key,
        script=render(recipe.method, run),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        recipe=one_line(run, recipe.model.short_name),
        data=data_line(data, recipe.eval_split),
        facts={"model": model.fingerprint, "dataset": data.fingerprint},
        asked=asdict(asked),
        findings=(*translated, *recipe.findings, *data_findings(data)),
    )


def run_values(recipe: Recipe, run: str) -> dict[str, object]:
    """Return the RUN literal of a recipe's script."""
    return {
        "recipe_version": RECIPE_VERSION,
        "method": recipe.method,
        "run_key": run,
        "model": recipe.model.id,
        "model_revision": recipe.model.revision,
        "dataset": recipe.dataset.id,
        "dataset_config": recipe.dataset.config,
        "dataset_revision": recipe.dataset.revision,
        "dataset_split": recipe.dataset_split,
        "eval_split": recipe.eval_split,
        "columns": recipe.columns,
        "system_prompt": recipe.system_prompt,
        "tuning": recipe.tuning,
        "config": recipe.config,
        "lora": recipe.lora,
        "output_repo": None,
        "private": True,
        "merge": False,
        "save_minutes": SAVE_MINUTES,
    }


def _place_identity(place: Place) -> dict[str, object]:
    return {"namespace": place.namespace, "hardware": place.hardware}


def _scan(recipe: Recipe, model: ModelReport) -> DataReport:
    reference = recipe.dataset
    check_targets(recipe.method, recipe.columns)
    if not reference.is_path:
        name = ":".join(part for part in (reference.id, reference.config) if part)
        revision = f"@{reference.revision}" if reference.revision else ""
        return DataReport(name, "", "", 0, 0, False, name + revision)
    has_template = model.has_chat_template is not False
    eval_split = recipe.eval_split if isinstance(recipe.eval_split, str) else None
    wishes = RowWishes(
        recipe.method, recipe.dataset_split, eval_split, recipe.columns, recipe.system_prompt, has_template
    )
    return scan_local(Path(reference.id), wishes)


def data_line(data: DataReport, eval_split: str | float | None = None) -> str:
    """Return what is known of the data in one line."""
    if not data.rows_checked:
        return f"{data.name}: not looked at before the job"
    share = "" if data.complete else "the first "
    kept = f"{data.rows_kept} of {share}{data.rows_checked} rows kept"
    held_out = math.ceil(data.rows_kept * eval_split) if isinstance(eval_split, float) else 0
    parts = (
        f"{data.name}: {kept}",
        f"{held_out} of them held out at random" if held_out else "",
        data.layout,
        data.conversion,
        data.dropped,
    )
    return ", ".join(part for part in parts if part)


def data_findings(data: DataReport) -> list[Finding]:
    """Return what stands in the way of training on the data, and what is left out of it."""
    if not data.rows_checked and not data.complete:
        message = f"{data.name} was not looked at: the job stops within a minute where no row can be used."
        return [Finding("data.unchecked", Severity.INFO, message)]
    if not data.rows_kept:
        reason = data.dropped or "it has no rows"
        fix = 'Name the columns: columns=["prompt=<question column>", "completion=<answer column>"].'
        return [
            Finding("data.no_rows", Severity.ERROR, f"No row can be trained on: {reason}. It has: {data.layout}.", fix)
        ]
    if data.dropped:
        return [
            Finding(
                "data.dropped", Severity.WARNING, f"Rows are left out: {data.dropped}.", "Mend them, or go on without."
            )
        ]
    return []


def changes(before: Plan, now: Plan) -> list[str]:
    """Return in words what has changed since a plan was made."""
    found = [f"the {name} has changed" for name, value in before.facts.items() if now.facts.get(name) != value]
    if before.attempts != now.attempts:
        found.append(f"attempts were {before.attempts} and are {now.attempts}")
    if not found and before.script != now.script:
        found.append("the script that this version of the server makes has changed")
    return found
