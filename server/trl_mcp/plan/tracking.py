"""Where a training's metrics can be watched: what the job is told of it, and the address for people."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from anyio import to_thread

from trl_mcp.backends.base import SCRIPT, Job
from trl_mcp.backends.dashboard import metrics_folder, open_dashboard
from trl_mcp.backends.job_shelf import JobShelf
from trl_mcp.errors import NotPossible
from trl_mcp.plan.place import LOCAL, Place
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings
from trl_mcp.values import Finding, Severity

WANDB_KEY = "WANDB_API_KEY"
_PUBLIC_HUB = "https://huggingface.co"
# What Trackio keeps of a name when it makes a file name of it; other characters would let two projects share a file.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a script says of its tracking with Trackio: the project, the run's name without its part, the Space."""

    project: str
    name: str
    space: str | None


def tracking_fields(recipe: Recipe, place: Place) -> dict[str, object]:
    """Return the fields of the trainer's config that say where it reports to; none where it does not.

    The Space is the payer's own, and as private as the model. On this machine there is none.
    """
    if not recipe.report_to:
        return {}
    project = str(recipe.config.get("project") or f"{recipe.model.short_name}-{recipe.method}")
    fields: dict[str, object] = {
        "report_to": list(recipe.report_to),
        "project": _NOT_IN_NAMES.sub("-", project).strip("-") or recipe.method,
    }
    if "trackio" in recipe.report_to and not place.is_local:
        fields["trackio_space_id"] = space_of(place.namespace, private=place.private)
    return fields


def space_of(namespace: str, *, private: bool) -> str:
    """Return the Space that shows the metrics of a namespace: those of public models have one of their own."""
    return f"{namespace}/trackio" if private else f"{namespace}/trackio-public"


def tracking_findings(recipe: Recipe, secrets: Collection[str]) -> list[Finding]:
    """Return what the operator has to set for the trackers; `secrets` are the names of those that jobs can be given."""
    if "wandb" not in recipe.report_to or WANDB_KEY in secrets:
        return []
    message = f"report_to names wandb, which needs {WANDB_KEY} in the job, and the server may not or cannot hand it on."
    fix = (
        f"Set {WANDB_KEY} for the server and name it in TRL_MCP_SECRETS (HF_TOKEN,{WANDB_KEY}), "
        "or leave report_to out: metrics then go to Trackio."
    )
    return [Finding("tracking.secret", Severity.ERROR, message, fix)]


def tracking_secrets(script: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that the trackers of a script need, of those that jobs can be given."""
    is_wanted = WANDB_KEY in secrets and "wandb" in _trackers(script)
    return {WANDB_KEY: secrets[WANDB_KEY]} if is_wanted else {}


def tracking_environment(namespace: str, home: Path) -> dict[str, str]:
    """Return the variables that lead a job's Trackio to the metrics of this machine; none for one elsewhere."""
    return {"TRACKIO_DIR": str(metrics_folder(home))} if namespace == LOCAL else {}


async def dashboard_url(script: str, job: Job, settings: Settings) -> str | None:
    """Return the address where people watch a job's metrics, None where it does not report to Trackio.

    The dashboard of this machine starts when somebody looks; None too where it cannot: the job runs anyway.
    """
    # What a caller's own script has as RUN may be anything.
    tracked = None if job.kind == SCRIPT else read_tracking(script)
    if tracked is None:
        return None
    if job.namespace != LOCAL:
        return space_url(tracked, job.part, settings.hub_endpoint) if tracked.space else None
    file = JobShelf(settings.home).folder(job.id).script
    try:
        address = await to_thread.run_sync(open_dashboard, settings.home, file, settings.environ)
    except NotPossible:
        return None
    return f"{address}/?{urlencode({'project': tracked.project})}"


def read_tracking(script: str) -> Tracked | None:
    """Return what a script says of Trackio; None where it does not report there."""
    if "trackio" not in _trackers(script):
        return None
    run = read_run(script)
    config = cast(Mapping[str, object], run["config"])
    name = "-".join(str(part) for part in (config.get("run_name"), run["run_key"]) if part)
    space = config.get("trackio_space_id")
    return Tracked(str(config.get("project") or "huggingface"), name, str(space) if space else None)


def space_url(tracked: Tracked, part: int, endpoint: str) -> str:
    """Return the address of a job's run in its Space: of the app itself on the public Hub, else of the Space's page."""
    space = tracked.space or ""
    query = urlencode({"project": tracked.project, "runs": f"{tracked.name}-{part}"})
    host = re.sub(r"[/_.]", "-", space.lower())
    base = f"https://{host}.hf.space" if endpoint == _PUBLIC_HUB else f"{endpoint}/spaces/{space}"
    return f"{base}/?{query}"


def _trackers(script: str) -> Collection[str]:
    """Return the trackers that a script reports to; none for one that trains nothing."""
    try:
        config = read_run(script).get("config")
    except (ValueError, SyntaxError):
        return ()
    named = cast(Mapping[str, object], config).get("report_to") if isinstance(config, Mapping) else None
    return (named,) if isinstance(named, str) else cast(Collection[str], named or ())
