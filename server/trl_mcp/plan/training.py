"""What was asked -> plan: the recipe completed, the facts gathered, the script rendered."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from decimal import Decimal

import anyio.to_thread

from trl_mcp.gpus import visible_gpus
from trl_mcp.hub.storage import data_repo
from trl_mcp.hub.values import OutputRepo
from trl_mcp.plan.checking import check_findings
from trl_mcp.plan.gather import Facts
from trl_mcp.plan.outputs import REPO_FACT, is_foreign, output_repo, repo_fact, repo_findings
from trl_mcp.plan.place import Gathering, Place, Wish, find_place
from trl_mcp.plan.plan import Plan, run_key
from trl_mcp.plan.settling import Known, gather_all, settle
from trl_mcp.plan.telling import data_findings, data_line
from trl_mcp.plan.tracking import tracking_fields, tracking_findings
from trl_mcp.recipes.extras import KERNELS, image
from trl_mcp.recipes.recipe import RECIPE_VERSION, Asked, Recipe, make_recipe, one_line
from trl_mcp.recipes.sharding import wants_several
from trl_mcp.render.script import (
    header_of,
    job_table,
    read_run,
    render,
    replace_run,
    with_dependencies,
    with_job_table,
)
from trl_mcp.render.templates import template_source
from trl_mcp.values import Finding

SAVE_MINUTES = 10


async def plan_training(
    asked: Asked,
    wish: Wish,
    gathering: Gathering,
    attempts: int,
    translated: tuple[Finding, ...] = (),
    cap: Decimal | None = None,
) -> Plan:
    """Return the plan of a training, with every finding; hardware="auto" stays below `cap` in USD. Starts nothing.

    Raises the errors of recipes, data and Hub for arguments that cannot be understood or name what does not exist.
    """
    recipe = make_recipe(asked)
    place = await find_place(wish, gathering, attempts, may_be_open=True)
    facts, known = await gather_all(recipe, place, gathering, is_agreed=wish.agreed is not None)
    key = run_key(recipe.identity | _identity(facts, place))
    named_timeout_s = place.timeout_s
    settled = settle(_pinned(recipe, facts, known), place, facts, known, cap=cap, agreed=wish.agreed)
    place = settled.place
    recipe = replace(settled.recipe, config=settled.recipe.config | tracking_fields(settled.recipe, place))
    repo = await output_repo(place, f"{recipe.model.short_name}-{recipe.method}-{key}", gathering)
    run = run_values(recipe, key) | _whereabouts(facts, place, repo, key)
    return Plan(
        kind="training",
        method=recipe.method,
        run=key,
        script=render(recipe.template, run, await _header(recipe, place, gathering)),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        recipe=one_line(run, recipe.model.short_name, settled.devices),
        data=data_line(facts.data, recipe.eval_split),
        facts=_said_facts(facts, place) | repo_fact(repo, key),
        asked=asdict(asked),
        wish=asdict(replace(wish, agreed=settled.agreed)),
        estimate=settled.estimate,
        image="" if place.is_local else image(recipe.config, recipe.strategy),
        uses_all_devices=place.is_local and wants_several(recipe.strategy),
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        output_repo=repo.id if repo else None,
        needs_consent=is_foreign(repo, key),
        upload=str(facts.upload) if facts.upload else None,
        after=asked.after,
        findings=(
            *translated,
            *recipe.findings,
            *facts.findings,
            *data_findings(facts.data),
            *settled.findings,
            *check_findings(settled, facts, known, repo, named_timeout_s),
            *repo_findings(place, repo, key),
            *tracking_findings(recipe, gathering.secrets),
        ),
    )


def run_values(recipe: Recipe, run: str) -> dict[str, object]:
    """Return the RUN literal of a recipe's script, as for a job on this machine."""
    taught = {"rewards": [reward.as_run() for reward in recipe.rewards], "reward_code": recipe.reward_code}
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
        **(taught if recipe.rewards else {}),
        "output_repo": None,
        "private": True,
        "merge": recipe.merge,
        "save_minutes": SAVE_MINUTES,
        "strategy": recipe.strategy,
    }


def _whereabouts(facts: Facts, place: Place, repo: OutputRepo | None, key: str) -> dict[str, object]:
    """Return what RUN says of revisions and of the Hub."""
    values: dict[str, object] = {
        "model_revision": facts.model_revision,
        "dataset_revision": facts.dataset_revision,
    }
    if repo is not None:
        values |= {"output_repo": repo.id, "private": place.private, "overwrite": is_foreign(repo, key)}
    if facts.named is not None:
        files = {split: list(paths) for split, paths in facts.named.files.items()}
        values |= {"dataset_revision": facts.named.revision, "dataset_files": files}
    if facts.upload_name is not None:
        values |= {"dataset": data_repo(place.namespace), "dataset_file": facts.upload_name}
    return values


async def _header(recipe: Recipe, place: Place, gathering: Gathering) -> str:
    """Return the template's header with what the recipe adds; for the Hub one that `hf jobs uv run` can read."""
    packages = recipe.dependencies
    if KERNELS in packages and not await _has_gpu(place, gathering):
        packages = tuple(package for package in packages if package != KERNELS)
    header = with_dependencies(header_of(template_source(recipe.template)), packages)
    if place.is_local:
        return header
    table = job_table(place.hardware, place.timeout_s, place.namespace, image(recipe.config, recipe.strategy))
    return with_job_table(header, table)


async def _has_gpu(place: Place, gathering: Gathering) -> bool:
    if place.flavor is not None:
        return bool(place.flavor.gpu_count)
    return bool(await anyio.to_thread.run_sync(visible_gpus, gathering.environ))


def _pinned(recipe: Recipe, facts: Facts, known: Known) -> Recipe:
    """Return the recipe with the max_length that the rows call for, and each other model at its commit."""
    config = dict(recipe.config)
    if not recipe.max_length_given and isinstance(usual := config.get("max_length"), int):
        context = known.shapes.model.context if known.shapes else 0
        config["max_length"] = facts.max_length or min(usual, context or usual)
    if recipe.teacher is not None:
        config["teacher_model_revision"] = facts.others[recipe.teacher.id].commit
    rewards = tuple(
        replace(reward, revision=facts.others[reward.name].commit) if reward.name in facts.others else reward
        for reward in recipe.rewards
    )
    return replace(recipe, config=config, rewards=rewards)


def _identity(facts: Facts, place: Place) -> dict[str, object]:
    """Return what a run key says beside the recipe: content, place, and the repository where it was named."""
    named: dict[str, object] = {"output_repo": place.output_repo} if place.output_repo else {}
    others = {name: report.fingerprint for name, report in facts.others.items()}
    return {
        "model": facts.model.fingerprint,
        "data": facts.data.fingerprint,
        "namespace": place.namespace,
        "hardware": place.hardware_asked or place.hardware,
        **({"other_models": others} if others else {}),
    } | named


def _said_facts(facts: Facts, place: Place) -> dict[str, str]:
    """Return what a plan was made on, in words that can be compared."""
    others = {f"model {name}": report.fingerprint for name, report in facts.others.items()}
    return {"model": facts.model.fingerprint, "dataset": facts.data.fingerprint} | others | place.price_fact


def changes(before: Plan, now: Plan) -> list[str]:
    """Return in words what has changed since a plan was made."""
    # The run was started meanwhile: what it was agreed to overwrite is its own by now.
    is_claimed = before.needs_consent and not now.needs_consent
    found = [
        f"the {name} has changed from {value} to {now.facts.get(name, 'nothing')}"
        for name, value in before.facts.items()
        if now.facts.get(name) != value and not (is_claimed and name == REPO_FACT)
    ]
    if before.attempts != now.attempts:
        found.append(f"attempts were {before.attempts} and are {now.attempts}")
    # What was measured may come out otherwise, or in time this once: the plan runs as it was shown.
    same_run = replace_run(now.script, read_run(before.script))
    if not found and not is_claimed and before.script != same_run:
        found.append("the script that this version of the server makes has changed")
    return found


def wish_of(values: Mapping[str, object]) -> Wish:
    """Return the wish that a plan keeps."""
    return Wish(**values)  # pyright: ignore[reportArgumentType] # written by asdict
