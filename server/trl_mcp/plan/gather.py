"""The facts a plan is made from, gathered side by side: models, data, output repository."""

import hashlib
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread

from trl_mcp.data.sources import NamedFiles
from trl_mcp.data.wishes import RowWishes, check_targets
from trl_mcp.errors import HubUnreachable, InvalidArguments, NotFound
from trl_mcp.hub.cache import cached_model_file
from trl_mcp.hub.storage import data_path
from trl_mcp.plan.judges import judge_findings
from trl_mcp.plan.looking import Look, LookedModel, Looking, look, with_reward_columns
from trl_mcp.plan.models import inspect_config, inspect_model
from trl_mcp.plan.place import Gathering, Place
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.references import DatasetReference, ModelReference
from trl_mcp.values import DataReport, Finding, ModelReport, Severity

MOST_UPLOAD_BYTES = 50_000_000
# What the name of a repository cannot hold.
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+|-{2,}|\.{2,}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. Revisions are commits; `others` are the reward models and the teacher by their id.

    `upload` is the local data file that a paid job needs on the Hub, `max_length` the one that the rows call for,
    `named` the files of a data set on the Hub that the job is to read.
    """

    model: ModelReport
    data: DataReport
    model_revision: str | None
    dataset_revision: str | None
    upload: Path | None
    upload_name: str | None
    max_length: int | None = None
    named: NamedFiles | None = None
    others: Mapping[str, ModelReport] = field(default_factory=dict[str, ModelReport])
    findings: tuple[Finding, ...] = ()


async def gather(recipe: Recipe, place: Place, gathering: Gathering) -> Facts:
    """Return the facts. Raises what the Hub and the files say of references that cannot be used."""
    if not place.is_local:
        for model in _models(recipe):
            _check_model_can_travel(model, place.namespace)
        _check_data_can_travel(recipe.dataset, place.namespace)
    check_targets(recipe.method, recipe.columns)
    asking = _Asking(place, gathering, recipe.made_by)
    references = list(dict.fromkeys(_models(recipe)))
    reports: dict[ModelReference, ModelReport] = {}
    commits: list[str | None] = []

    async def pin(reference: ModelReference) -> None:
        report = await asking.model(reference)
        made_by = recipe.made_by.get(reference.id)
        reports[reference] = replace(report, fingerprint=f"run:{made_by}") if made_by else report

    async def pin_data() -> None:
        commits.append(await asking.dataset_commit(recipe.dataset))

    async def look_at_judges() -> None:
        asking.findings.extend(await judge_findings(recipe, place, gathering))

    try:
        async with anyio.create_task_group() as group:
            for reference in references:
                group.start_soon(pin, reference)
            group.start_soon(pin_data)
            group.start_soon(look_at_judges)
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    model = reports[recipe.model]
    looked = await asking.look(recipe, model, commits[0])
    upload = None if place.is_local or not recipe.dataset.is_path else Path(recipe.dataset.id)
    return Facts(
        model=model,
        data=with_reward_columns(looked.report, recipe.reward_columns),
        model_revision=model.commit or recipe.model.revision,
        dataset_revision=commits[0] or recipe.dataset.revision,
        upload=upload,
        upload_name=await anyio.to_thread.run_sync(_content_name, upload) if upload else None,
        max_length=looked.max_length,
        named=looked.named,
        others={reference.id: reports[reference] for reference in references if reference != recipe.model},
        findings=(*asking.findings, *looked.findings, *_assumed_length(recipe, looked)),
    )


def _assumed_length(recipe: Recipe, looked: Look) -> tuple[Finding, ...]:
    """Say which max_length is taken where nobody could count what the rows need."""
    assumed = recipe.config.get("max_length")
    if recipe.max_length_given or assumed is None or looked.report.tokens is not None or not looked.report.rows_kept:
        return ()
    message = f"max_length is {assumed}, whether the rows fit or not, since their tokens were not counted."
    return (Finding("tokens.assumed", Severity.INFO, message, "Give max_length, or call again."),)


def _models(recipe: Recipe) -> list[ModelReference]:
    """Return every model that the job loads, the one to train first."""
    return [recipe.model, *recipe.reward_models, *([recipe.teacher] if recipe.teacher else [])]


class _Asking:
    """Asks files and Hub for one plan; what could not be looked at is kept in `findings`."""

    def __init__(self, place: Place, gathering: Gathering, unfinished: Collection[str]) -> None:
        self.findings: list[Finding] = []
        self._place = place
        self._gathering = gathering
        self._unfinished = unfinished

    async def model(self, reference: ModelReference) -> ModelReport:
        """Return what is known of a model; where a local run cannot ask the Hub, nothing but its name."""
        try:
            return await model_report(reference, self._gathering)
        except HubUnreachable as error:
            self._not_looked_at("model", reference.id, error)
            if self._gathering.is_offline:
                self.findings.extend(await anyio.to_thread.run_sync(_offline_findings, reference, self._gathering))
            return inspect_model(reference)
        except (NotFound, InvalidArguments):
            if reference.id not in self._unfinished:
                raise
            return ModelReport(reference.short_name, reference.id)

    async def dataset_commit(self, reference: DatasetReference) -> str | None:
        """Return the commit that a data set on the Hub means now; None for what lies elsewhere or cannot be asked."""
        if reference.is_path or reference.is_url:
            return None
        gathering = self._gathering
        try:
            gathering.check_online()
            return (await gathering.hub.dataset(gathering.token, reference.id, reference.revision)).sha
        except HubUnreachable as error:
            self._not_looked_at("dataset", reference.id, error)
            return None

    def _not_looked_at(self, kind: str, name: str, error: HubUnreachable) -> None:
        """Keep a finding for a local run, which may have what it needs already. Raises the error for a paid one."""
        if not self._place.is_local:
            raise error
        message = f"The {kind} {name} was not looked at: {error.what}"
        self.findings.append(Finding(f"{kind}.unchecked", Severity.INFO, message))

    async def look(self, recipe: Recipe, model: ModelReport, commit: str | None) -> Look:
        """Look at the data as the job will read it."""
        if not (recipe.dataset.is_path or recipe.dataset.is_url) and commit is None:
            return Look(_unseen(recipe.dataset))
        config = dict(recipe.config)
        if not recipe.max_length_given:
            config.pop("max_length", None)
        looking = Looking(recipe.dataset, _wishes(recipe, model), commit, _looked_model(recipe.model, model), config)
        try:
            return await look(looking, self._gathering)
        except HubUnreachable as error:
            self._not_looked_at("dataset", recipe.dataset.text, error)
            return Look(_unseen(recipe.dataset))


async def model_report(reference: ModelReference, gathering: Gathering) -> ModelReport:
    """Return what is known of a model without loading it.

    Raises HubUnreachable where the Hub does not answer or may not be asked, and what the Hub and the files say of a
    model that cannot be used.
    """
    report = await anyio.to_thread.run_sync(inspect_model, reference)
    if reference.is_folder:
        return report
    gathering.check_online()
    found = await gathering.hub.model(gathering.token, reference.id, reference.revision)
    return replace(
        report,
        fingerprint=f"{reference.id}@{found.sha}",
        commit=found.sha,
        has_chat_template=found.has_chat_template,
        licence=found.licence,
        base_model=found.base_model,
        library=found.library,
        files=found.files,
    )


def _offline_findings(reference: ModelReference, gathering: Gathering) -> list[Finding]:
    """Return an error for a model that a job without a network cannot have. Raises what inspect_config does."""
    files = ("adapter_config.json", "config.json")
    found = cached_model_file(reference.id, reference.revision, files, gathering.environ)
    if found is not None:
        if found.name == "config.json":
            inspect_config(reference.id, found)
        return []
    message = f"{reference.id} is not on this machine, and the server is set to stay offline: no job could load it."
    fix = "Give the absolute path of a model folder, or let the operator unset HF_HUB_OFFLINE or download the model."
    return [Finding("model.offline", Severity.ERROR, message, fix)]


def _unseen(reference: DatasetReference) -> DataReport:
    return DataReport(reference.text, reference.text)


def _looked_model(reference: ModelReference, report: ModelReport) -> LookedModel | None:
    """Return the model whose tokenizer is asked; None where it cannot be reached."""
    if reference.is_folder:
        return LookedModel(reference, report.fingerprint, reference.short_name)
    return LookedModel(reference, report.commit, reference.id) if report.commit else None


def _wishes(recipe: Recipe, model: ModelReport) -> RowWishes:
    weights = [recipe.config.get(name) for name in ("desirable_weight", "undesirable_weight")]
    desirable, undesirable = (float(each) if isinstance(each, int | float) else 1.0 for each in weights)
    return RowWishes(
        method=recipe.method,
        split=recipe.dataset_split,
        eval_split=recipe.eval_split if isinstance(recipe.eval_split, str) else None,
        columns=recipe.columns,
        system_prompt=recipe.system_prompt,
        has_chat_template=model.has_chat_template is not False or "chat_template_path" in recipe.config,
        weights=(desirable, undesirable),
    )


def _check_model_can_travel(model: ModelReference, namespace: str) -> None:
    """Raise InvalidArguments, with the upload to make, for a model that lies on this machine."""
    if model.is_folder:
        raise InvalidArguments(
            f'The model folder "{model.short_name}" lies on this machine; a paid job cannot see it.',
            next_step=_upload_first(namespace, Path(model.id), "--private"),
        )


def _check_data_can_travel(dataset: DatasetReference, namespace: str) -> None:
    """Raise InvalidArguments, with the upload to make, for data on this machine that is too large to send."""
    path = Path(dataset.id)
    if dataset.is_path and (path.is_dir() or (path.exists() and path.stat().st_size > MOST_UPLOAD_BYTES)):
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
