"""The facts a plan is made from, gathered side by side: model, data, output repository."""

import hashlib
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from trl_mcp.data.local import RowWishes, check_targets, scan_local
from trl_mcp.errors import HubUnreachable, InvalidArguments
from trl_mcp.hub.storage import data_path
from trl_mcp.plan.models import inspect_model
from trl_mcp.plan.place import Gathering, Place
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.values import DataReport, Finding, ModelReport, Severity

MOST_UPLOAD_BYTES = 50_000_000
# What the name of a repository cannot hold.
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+|-{2,}|\.{2,}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. Revisions are commits; `upload` is the local data file that a paid job needs on the Hub."""

    model: ModelReport
    data: DataReport
    model_revision: str | None
    dataset_revision: str | None
    upload: Path | None
    upload_name: str | None
    findings: tuple[Finding, ...]


async def gather(recipe: Recipe, place: Place, gathering: Gathering) -> Facts:
    """Return the facts. Raises what the Hub and the files say of references that cannot be used."""
    if not place.is_local:
        _check_can_travel(recipe, place.namespace)
    check_targets(recipe.method, recipe.columns)
    found: dict[str, str | None] = {}
    findings: list[Finding] = []

    async def pin(kind: str, repo_id: str, revision: str | None) -> None:
        found[kind] = await _commit(kind, repo_id, revision, place, gathering, findings)

    try:
        async with anyio.create_task_group() as group:
            if not recipe.model.is_folder:
                group.start_soon(pin, "model", recipe.model.id, recipe.model.revision)
            if not recipe.dataset.is_path and not recipe.dataset.is_url:
                group.start_soon(pin, "dataset", recipe.dataset.id, recipe.dataset.revision)
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    model = await anyio.to_thread.run_sync(inspect_model, recipe.model)
    if found.get("model"):
        model = ModelReport(model.name, f"{recipe.model.id}@{found['model']}", model.has_chat_template)
    data = await anyio.to_thread.run_sync(_scan, recipe, model, found.get("dataset"))
    upload = None if place.is_local or not recipe.dataset.is_path else Path(recipe.dataset.id)
    return Facts(
        model=model,
        data=data,
        model_revision=found.get("model") or recipe.model.revision,
        dataset_revision=found.get("dataset") or recipe.dataset.revision,
        upload=upload,
        upload_name=await anyio.to_thread.run_sync(_content_name, upload) if upload else None,
        findings=tuple(findings),
    )


async def _commit(
    kind: str, repo_id: str, revision: str | None, place: Place, gathering: Gathering, findings: list[Finding]
) -> str | None:
    """Return the commit that a reference means now; None, with a finding, where a local run cannot ask."""
    try:
        if gathering.is_offline:
            raise HubUnreachable("The server is set to stay offline.")
        ask = gathering.hub.model if kind == "model" else gathering.hub.dataset
        return (await ask(gathering.token, repo_id, revision)).sha
    except HubUnreachable as error:
        if not place.is_local:
            raise
        message = f"The {kind} {repo_id} was not looked at: {error.what}"
        findings.append(Finding(f"{kind}.unchecked", Severity.INFO, message))
        return None


def _check_can_travel(recipe: Recipe, namespace: str) -> None:
    """Raise InvalidArguments, with the upload to make, for what lies on this machine and is too large to send."""
    if recipe.model.is_folder:
        name = recipe.model.short_name
        raise InvalidArguments(
            f'The model folder "{name}" lies on this machine; a paid job cannot see it.',
            next_step=_upload_first(namespace, Path(recipe.model.id), "--private"),
        )
    path = Path(recipe.dataset.id)
    if recipe.dataset.is_path and (path.is_dir() or (path.exists() and path.stat().st_size > MOST_UPLOAD_BYTES)):
        raise InvalidArguments(
            f'"{path.name}" is a folder or larger than 50 MB; a paid job cannot be sent it.',
            next_step=_upload_first(namespace, path, "--repo-type dataset --private"),
        )


def _upload_first(namespace: str, path: Path, options: str) -> str:
    """Return the literal command that brings a path to the Hub, and what to do then."""
    name = _UNFIT.sub("-", path.name if path.is_dir() else path.name.partition(".")[0]).strip("-.") or "upload"
    return (
        f"Upload it with `hf upload {namespace}/{name} {shlex.quote(str(path))} {options}` and give {namespace}/{name}. "
        "Nothing was started."
    )


def _content_name(path: Path) -> str:
    """Return the path of a data file in the private data set: its content, then its own name."""
    return data_path(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


def _scan(recipe: Recipe, model: ModelReport, commit: str | None) -> DataReport:
    reference = recipe.dataset
    if not reference.is_path:
        name = ":".join(part for part in (reference.id, reference.config) if part)
        revision = commit or reference.revision
        return DataReport(name, "", "", 0, 0, False, f"{name}@{revision}" if revision else name)
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
