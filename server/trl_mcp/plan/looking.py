"""A look at data through a model's eyes: rows and tokenizer are fetched side by side, then tokens are counted."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread

from trl_mcp.data.hub_source import HubData, hub_source
from trl_mcp.data.local import local_source
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.sources import NamedFiles, RowSource
from trl_mcp.data.token_worker import TokensOverrun
from trl_mcp.data.tokens import Measurement, TokenWishes, measure_tokens
from trl_mcp.data.web import web_source
from trl_mcp.data.wishes import RowWishes
from trl_mcp.errors import NotFound, NotPossible
from trl_mcp.plan.place import Gathering
from trl_mcp.recipes.references import DatasetReference, ModelReference, model_reference
from trl_mcp.values import DataProblem, DataReport, Finding, Severity, Verdict

SCAN_SECONDS = 11.0
TOKEN_SECONDS = 8.0
_TEMPLATE_FIELD = "chat_template_path"


@dataclass(frozen=True, slots=True)
class LookedModel:
    """The model whose tokens are counted: `revision` names its content, `name` is what the user calls it."""

    reference: ModelReference
    revision: str
    name: str


@dataclass(frozen=True, slots=True)
class Looking:
    """What is looked at: the data at a commit, what is wished of its rows, and for which model, if any."""

    data: DatasetReference
    wishes: RowWishes
    commit: str | None = None
    model: LookedModel | None = None
    config: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the report, the max_length that its tokens were counted for, and why none were, in findings.

    `named` are the files of a data set on the Hub that a job is to read.
    """

    report: DataReport
    max_length: int | None = None
    findings: tuple[Finding, ...] = ()
    named: NamedFiles | None = None


async def look(looking: Looking, gathering: Gathering, *, completes: bool = False) -> Look:
    """Look at every row, and count tokens where a model is named and there is time.

    Data that was looked at before is read again where it may have changed since, and where `completes` is set and time
    or size had set an end to that look. Raises what the sources and look_at raise of data that is not there or cannot
    be read.
    """
    deadline = time.monotonic() + SCAN_SECONDS
    folder: Path | None = None
    findings: list[Finding] = []

    async def fetch_tokenizer() -> None:
        nonlocal folder
        try:
            folder = await _tokenizer(looking.model, gathering) if looking.model else None
        except (NotFound, NotPossible) as error:
            findings.append(_unmeasured(error, looking))

    if gathering.tokens is not None and looking.model is not None:
        gathering.tokens.warm_up()
    scans: list[tuple[Scan, NamedFiles | None]] = []

    async def scan() -> None:
        source = await _source(looking, gathering, deadline)
        scans.append((await _scan(source, looking, deadline, gathering, completes=completes), source.named))

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(scan)
            if looking.model is not None:
                group.start_soon(fetch_tokenizer)
    except ExceptionGroup as error_group:
        raise error_group.exceptions[0] from None
    ((found, named),) = scans
    if folder is None or not found.report.rows_kept or gathering.tokens is None:
        return Look(found.report, findings=tuple(findings), named=named)
    try:
        measurement = await _measure(found, folder, looking, gathering)
    except NotPossible as error:
        return Look(found.report, findings=(*findings, _unmeasured(error, looking)), named=named)
    report = replace(found.report, tokens=measurement.report)
    return Look(report, measurement.max_length, tuple(findings), named)


async def _source(looking: Looking, gathering: Gathering, deadline: float) -> RowSource:
    data = looking.data
    if data.is_path:
        return await anyio.to_thread.run_sync(local_source, Path(data.id))
    if data.is_url:
        return await anyio.to_thread.run_sync(web_source, data.id, deadline, None, gathering.private_hosts)
    gathering.check_online()
    commit = looking.commit or (await gathering.hub.dataset(gathering.token, data.id, data.revision)).sha
    named = HubData(data.text, data.id, commit, data.config)
    return await hub_source(gathering.hub, gathering.token, named, looking.wishes, deadline)


async def _scan(source: RowSource, looking: Looking, deadline: float, gathering: Gathering, *, completes: bool) -> Scan:
    known = gathering.scans.find(source, looking.wishes)
    if known is not None and (known.report.complete or not completes):
        return known

    async def report(rows: int, total: int | None) -> None:
        in_all = None if total is None else float(total)
        await gathering.report_progress(float(rows), in_all, f"{rows:,} rows checked")

    def tell(rows: int, total: int | None) -> None:
        anyio.from_thread.run(report, rows, total)

    scan = partial(look_at, source, looking.wishes, deadline, tell)
    found = await anyio.to_thread.run_sync(scan, abandon_on_cancel=True)
    if not looking.data.is_url:  # what lies there may change and nothing tell of it
        gathering.scans.keep(source, looking.wishes, found)
    return found


async def _tokenizer(model: LookedModel, gathering: Gathering) -> Path | None:
    if model.reference.is_folder:
        return Path(model.reference.id)
    if gathering.is_offline:
        raise NotPossible("The server is set to stay offline, and the model's tokenizer lies on the Hub.")
    return await gathering.hub.tokenizer_files(gathering.token, model.reference.id, model.revision)


async def _measure(found: Scan, folder: Path, looking: Looking, gathering: Gathering) -> Measurement:
    assert gathering.tokens is not None
    assert looking.model is not None
    method = looking.wishes.method or str(found.report.use.get("method", "sft"))
    config = dict(looking.config)
    template = config.get(_TEMPLATE_FIELD)
    if isinstance(template, str):
        config[_TEMPLATE_FIELD] = str(await _template(template, gathering))
    wishes = TokenWishes(str(folder), method, config, TOKEN_SECONDS, looking.model.name)
    rows = repr((found.report.fingerprint, replace(looking.wishes, method=method), looking.data.config))
    known = gathering.measurements.find(rows, looking.model.revision, wishes)
    if known is not None:
        return known
    measurement = await measure_tokens(gathering.tokens, wishes, found.sample, found.lengths)
    gathering.measurements.keep(rows, looking.model.revision, wishes, measurement)
    return measurement


async def _template(text: str, gathering: Gathering) -> Path:
    """Return where the tokenizer that brings the chat template lies: a folder or file here, or fetched from the Hub."""
    reference = model_reference(text)
    if reference.is_folder:
        return Path(reference.id)
    if gathering.is_offline:
        raise NotPossible("The server is set to stay offline, and the chat template lies on the Hub.")
    commit = (await gathering.hub.model(gathering.token, reference.id, reference.revision)).sha
    return await gathering.hub.tokenizer_files(gathering.token, reference.id, commit)


def with_reward_columns(report: DataReport, needed: tuple[str, ...]) -> DataReport:
    """Return the report with an error where rewards read columns that are not passed on to them."""
    missing = [name for name in needed if name not in report.columns]
    if not missing or not report.conversion:
        return report
    first = missing[0]
    fix = (
        f'Say where it comes from: columns=["{first}=<source column>"]; where it is read as the prompt, name both: '
        f'columns=["prompt={first}", "{first}={first}"]. Or take it out of the reward\'s arguments.'
    )
    there = ", ".join(report.columns) or "no column beside the prompt"
    message = f"The rewards read {', '.join(missing)}, which they are not given: they are given {there}."
    problem = DataProblem("grpo.reward", Severity.ERROR, report.rows_checked, (), message, fix)
    verdict = Verdict.NEEDS_COLUMNS if report.verdict is Verdict.READY else report.verdict
    return replace(report, verdict=verdict, problems=(problem, *report.problems))


def _unmeasured(error: NotPossible | NotFound, looking: Looking) -> Finding:
    """Say why tokens were not counted; what overruns here may do so in the job, too.

    With a max_length of the caller's own nobody knows then how many rows are cut or left out.
    """
    limit = looking.config.get("max_length")
    is_risk = isinstance(error, TokensOverrun) or limit is not None
    unknown = "" if limit is None else f" How many rows are longer than max_length {limit} is not known."
    why = error.what.removeprefix("Tokens cannot be counted: ")
    severity = Severity.WARNING if is_risk else Severity.INFO
    return Finding("tokens.unmeasured", severity, f"Tokens were not counted: {why}{unknown}", error.next_step)
