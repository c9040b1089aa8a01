"""What was asked -> plan: the recipe completed, the facts gathered, the script rendered."""

from collections.abc import Mapping
from dataclasses import asdict

from trl_mcp.hub.storage import data_repo
from trl_mcp.plan.gather import Facts, data_findings, data_line, gather
from trl_mcp.plan.place import Gathering, Place, Wish, find_place
from trl_mcp.plan.plan import Plan, run_key
from trl_mcp.recipes.recipe import RECIPE_VERSION, Asked, Recipe, make_recipe, one_line
from trl_mcp.render.script import header_of, job_table, render, with_job_table
from trl_mcp.render.templates import template_source
from trl_mcp.values import Finding, OutputRepo, Severity

SAVE_MINUTES = 10
_REPO_FACT = "output repository"


async def plan_training(
    asked: Asked, wish: Wish, gathering: Gathering, attempts: int, translated: tuple[Finding, ...] = ()
) -> Plan:
    """Return the plan of a training, with every finding. Starts nothing.

    Raises the errors of recipes, data and Hub for arguments that cannot be understood or name what does not exist.
    """
    recipe = make_recipe(asked)
    place = await find_place(wish, gathering, attempts)
    facts = await gather(recipe, place, gathering)
    key = run_key(recipe.identity | _identity(facts, place))
    repo = await _output_repo(recipe, place, key, gathering)
    run = run_values(recipe, key) | _whereabouts(facts, place, repo, key)
    return Plan(
        kind="training",
        method=recipe.method,
        run=key,
        script=render(recipe.method, run, _header(recipe.method, place)),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        recipe=one_line(run, recipe.model.short_name),
        data=data_line(facts.data, recipe.eval_split),
        facts=_said_facts(facts, place) | ({_REPO_FACT: _owner(repo, key)} if repo else {}),
        asked=asdict(asked),
        wish=asdict(wish),
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        output_repo=repo.id if repo else None,
        needs_consent=_is_foreign(repo, key),
        upload=str(facts.upload) if facts.upload else None,
        findings=(
            *translated,
            *recipe.findings,
            *facts.findings,
            *data_findings(facts.data),
            *_permission_findings(place, repo),
            *_overwrite_findings(repo, key),
        ),
    )


def run_values(recipe: Recipe, run: str) -> dict[str, object]:
    """Return the RUN literal of a recipe's script, as for a job on this machine."""
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


def _whereabouts(facts: Facts, place: Place, repo: OutputRepo | None, key: str) -> dict[str, object]:
    """Return what RUN says of revisions and of the Hub."""
    values: dict[str, object] = {
        "model_revision": facts.model_revision,
        "dataset_revision": facts.dataset_revision,
    }
    if repo is not None:
        values |= {"output_repo": repo.id, "private": place.private, "overwrite": _is_foreign(repo, key)}
    if facts.upload_name is not None:
        values |= {"dataset": data_repo(place.namespace), "dataset_file": facts.upload_name}
    return values


def _header(method: str, place: Place) -> str | None:
    """Return the header of a script for the Hub, which `hf jobs uv run` can read; None for the template's own."""
    if place.is_local:
        return None
    header = header_of(template_source(method))
    return with_job_table(header, job_table(place.hardware, place.timeout_s, place.namespace))


def _identity(facts: Facts, place: Place) -> dict[str, object]:
    """Return what a run key says beside the recipe: content, place, and the repository where it was named."""
    named: dict[str, object] = {"output_repo": place.output_repo} if place.output_repo else {}
    return {
        "model": facts.model.fingerprint,
        "data": facts.data.fingerprint,
        "namespace": place.namespace,
        "hardware": place.hardware_asked or place.hardware,
    } | named


async def _output_repo(recipe: Recipe, place: Place, key: str, gathering: Gathering) -> OutputRepo | None:
    if gathering.token is None or (place.is_local and place.output_repo is None):
        return None
    name = place.output_repo or f"{place.namespace}/{recipe.model.short_name}-{recipe.method}-{key}"
    return await gathering.hub.output_repo(gathering.token, name)


def _is_foreign(repo: OutputRepo | None, key: str) -> bool:
    return repo is not None and repo.exists and repo.run_key != key


def _permission_findings(place: Place, repo: OutputRepo | None) -> list[Finding]:
    """Return why the token may not run the job or keep its model; neither can be accepted away."""
    if place.identity is None or repo is None:
        return []
    found: list[Finding] = []
    if not place.is_local and (reason := place.identity.why_no_jobs(place.namespace)):
        found.append(Finding("auth.jobs", Severity.ERROR, reason))
    if reason := repo.why_no_write or place.identity.why_no_write(repo.id):
        found.append(Finding("auth.write", Severity.ERROR, reason, "Name an output_repo that the token may write to."))
    return found


def _owner(repo: OutputRepo, key: str) -> str:
    return "one of another owner" if _is_foreign(repo, key) else "a new one or this run's own"


def _overwrite_findings(repo: OutputRepo | None, key: str) -> list[Finding]:
    if repo is None or not _is_foreign(repo, key):
        return []
    owner = f"holds the model of run {repo.run_key}" if repo.run_key else "exists and was not made by this server"
    message = f"{repo.id} {owner}; this run would overwrite it."
    return [Finding("output.overwrite", Severity.WARNING, message, "Starting the plan agrees to it.")]


def _said_facts(facts: Facts, place: Place) -> dict[str, str]:
    """Return what a plan was made on, in words that can be compared."""
    return {"model": facts.model.fingerprint, "dataset": facts.data.fingerprint} | place.price_fact


def changes(before: Plan, now: Plan) -> list[str]:
    """Return in words what has changed since a plan was made."""
    # The run was started meanwhile: what it was agreed to overwrite is its own by now.
    is_claimed = before.needs_consent and not now.needs_consent
    found = [
        f"the {name} has changed from {value} to {now.facts.get(name, 'nothing')}"
        for name, value in before.facts.items()
        if now.facts.get(name) != value and not (is_claimed and name == _REPO_FACT)
    ]
    if before.attempts != now.attempts:
        found.append(f"attempts were {before.attempts} and are {now.attempts}")
    if not found and not is_claimed and before.script != now.script:
        found.append("the script that this version of the server makes has changed")
    return found


def wish_of(values: Mapping[str, object]) -> Wish:
    """Return the wish that a plan keeps."""
    return Wish(**values)  # pyright: ignore[reportArgumentType] # written by asdict
