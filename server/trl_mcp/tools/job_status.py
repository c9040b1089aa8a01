"""How a job stands."""

from contextlib import suppress
from time import monotonic
from typing import Annotated, Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from trl_mcp.backends.base import Job, Stage
from trl_mcp.context import CallContext
from trl_mcp.errors import HubError, TrlMcpError, UnknownJob
from trl_mcp.monitor.diagnosis import continue_call
from trl_mcp.monitor.meaning import kind_of_result, meaning_of, silent_samples
from trl_mcp.monitor.progress import summarize
from trl_mcp.monitor.status import JobReport, progress_events, report_job
from trl_mcp.monitor.trainer_lines import is_script
from trl_mcp.plan.place import LOCAL
from trl_mcp.plan.timeouts import in_words
from trl_mcp.plan.tracking import dashboard_url
from trl_mcp.render.script import read_run
from trl_mcp.schema import Arguments, Result, shorten
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.job_ids import find_job
from trl_mcp.values import GpuUse, ToolName, call

_POLL_SECONDS = 0.25
_HUB_POLL_SECONDS = 1.0
_RECENT = 10
_SAMPLES = 3
_LINES_TO_FIRST_STEP = 100
_SAMPLE_CHARACTERS = 200
_WARNINGS = 5
_WARNING_CHARACTERS = 400


class JobStatus(Arguments):
    """Which job, and whether to wait for news."""

    job_id: str | None = Field(None, description="left out: the newest job, and a line on each of the last 10")
    wait_seconds: Annotated[int, Field(ge=0, le=20)] = Field(
        0, description="0 to 20: wait for a change of stage or for the first step. Default 0"
    )


class ProgressResult(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(frozen=True)

    step: int
    max_steps: int
    percent: float
    epoch: float | None = None


class DiagnosisResult(BaseModel):
    """Why a job failed and what mends it."""

    model_config = ConfigDict(frozen=True)

    code: str
    cause: str
    evidence: str
    fix: str


class SampleResult(BaseModel):
    """A prompt with the model's answers before and after training."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    expected: str | None = None
    before: str | None = None
    after: str | None = None


class FileResult(BaseModel):
    """A file that a conversion has made; `agreement` is the share of tokens that it chooses as the original does."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    agreement: float | None = None


class JobStatusResult(Result):
    """The state of a job."""

    job_id: str
    stage: Stage
    activity: str | None = None
    progress: ProgressResult | None = None
    metrics: list[str] = Field(default_factory=list[str], description="name=value, the newest of each")
    meaning: str | None = Field(None, description="of the metrics of preferences, in words")
    loss: str | None = Field(None, description="first and last in this job's log")
    eval_loss: str | None = None
    trend: str | None = Field(None, description="of the loss: falling, flat, rising or nan")
    eta_s: int | None = None
    queued_s: int | None = None
    running_s: int | None = None
    exit_code: int | None = None
    timeout_left_s: int | None = None
    will_hit_timeout: bool | None = None
    usd_so_far: float | None = Field(None, description="started minutes x price; final when the job is over")
    usd_at_end: float | None = Field(None, description="by the present pace")
    gpu: str | None = None
    job_url: str | None = None
    dashboard_url: str | None = None
    output_repo: str | None = Field(None, description="Hub repository of the model, there when COMPLETED")
    output_path: str | None = Field(None, description="folder of the model, there when COMPLETED")
    samples: list[SampleResult] = Field(default_factory=list[SampleResult])
    warnings: list[str] = Field(
        default_factory=list[str], description="what the job warned of, such as a reward that teaches nothing"
    )
    files: list[FileResult] = Field(default_factory=list[FileResult], description="of a conversion")
    ollama_run: str | None = Field(None, description="the literal command that runs the model with Ollama")
    diagnosis: DiagnosisResult | None = None
    resume_step: int | None = Field(None, description="checkpoint that start_job goes on from")
    recent: list[str] = Field(default_factory=list[str])
    next_check_s: int | None = Field(None, description="when to ask again; none when the job is over")
    next_call: str | None = None


async def job_status(arguments: JobStatus, context: CallContext) -> JobStatusResult:
    """Tell how a job stands: stage, step, loss and its trend, time left, where the model lies, and after a failure
    its cause and the call that mends it.
    """
    job = await find_job(arguments.job_id, context) if arguments.job_id else await _newest(context)
    job = await _wait_for_change(job, arguments.wait_seconds, context)
    report = await report_job(context.backend_of(job), job, context.server.clock(), context.secrets())
    recent = [] if arguments.job_id else await _recent(context, _RECENT)
    script = await _script(job, context)
    dashboard = await _dashboard(job, script, context)
    result = _result(report, dashboard or job.url or None, [_line(each, context) for each in recent])
    return result.model_copy(update={"activity": _activity(report, script)})


async def _script(job: Job, context: CallContext) -> str:
    """Return the text of the job's script, an empty one where it cannot be read: a status never fails for it."""
    with suppress(TrlMcpError):
        return await context.backend_of(job).script(job.id)
    return ""


async def _dashboard(job: Job, script: str, context: CallContext) -> str | None:
    """Return where the metrics of a job are shown: a status never fails for it."""
    with suppress(TrlMcpError):
        return await dashboard_url(script, job, context.server.settings)
    return None


def _activity(report: JobReport, script: str) -> str | None:
    """Return what the job is doing, and of a finished training what lies at its output_path."""
    said, job = [report.activity], report.job
    if job.stage is Stage.COMPLETED and job.kind == "training" and job.output_path:
        with suppress(ValueError):
            said.append(kind_of_result(read_run(script)) or "")
    return "; ".join(filter(None, said)) or None


async def _newest(context: CallContext) -> Job:
    jobs = await _recent(context, 1)
    if not jobs:
        raise UnknownJob("There are no jobs yet.", next_step=f"Start one with {ToolName.SUBMIT_TRAINING}.")
    return jobs[0]


async def _recent(context: CallContext, limit: int) -> list[Job]:
    """Return the newest jobs of this machine and of the caller's namespaces on the Hub.

    What the Hub does not tell is left out.
    """
    jobs = await context.server.local.list(limit)

    async def add(namespace: str) -> None:
        with suppress(HubError):
            jobs.extend(await context.hf(namespace).list(limit))

    if context.token and not context.server.settings.is_offline:
        with suppress(HubError):
            identity = await context.server.hub.identity(context.token)
            async with anyio.create_task_group() as group:
                for namespace in (identity.name, *identity.organisations):
                    group.start_soon(add, namespace)
    return sorted(jobs, key=lambda job: job.created_at, reverse=True)[:limit]


async def _wait_for_change(job: Job, seconds: int, context: CallContext) -> Job:
    """Return the job as soon as its stage is another or training has begun, or when the time is up."""
    if not seconds or job.stage.is_terminal:
        return job
    deadline = monotonic() + seconds
    pause = _POLL_SECONDS if job.namespace == LOCAL else _HUB_POLL_SECONDS
    now, has_begun = job, await _has_begun(job, context)
    while not now.stage.is_terminal and now.stage is job.stage and (left := deadline - monotonic()) > 0:
        await anyio.sleep(min(pause, left))
        now = await context.backend_of(job).inspect(job.id)
        if not has_begun and await _has_begun(now, context):
            break
    return now


async def _has_begun(job: Job, context: CallContext) -> bool:
    lines = (await context.backend_of(job).logs(job.id, tail=_LINES_TO_FIRST_STEP)).lines
    return summarize(progress_events(job, lines, ())).step > 0


def _line(job: Job, context: CallContext) -> str:
    age = in_words((context.server.clock() - job.created_at).total_seconds())
    return f"{job.id} {job.stage} {job.method}, {age} ago"


def _result(report: JobReport, dashboard: str | None, recent: list[str]) -> JobStatusResult:
    job, progress, diagnosis = report.job, report.progress, report.diagnosis
    is_over = job.stage.is_terminal
    values: dict[str, Any] = {
        "job_id": job.id,
        "stage": job.stage,
        "metrics": [f"{name}={_short(value)}" for name, value in progress.metrics.items()],
        "meaning": meaning_of(progress.metrics),
        "loss": progress.loss,
        "eval_loss": progress.eval_loss,
        "trend": progress.trend,
        "eta_s": None if is_over else progress.eta_s,
        "queued_s": report.queued_s,
        "running_s": report.running_s,
        "exit_code": job.exit_code,
        "timeout_left_s": report.timeout_left_s,
        "will_hit_timeout": report.will_hit_timeout,
        "usd_so_far": None if report.usd_so_far is None else float(report.usd_so_far),
        "usd_at_end": None if report.usd_at_end is None else float(report.usd_at_end),
        "gpu": _gpu_words(report.gpu),
        "job_url": job.url or None,
        "dashboard_url": dashboard,
        "output_repo": job.output_repo or None,
        "output_path": job.output_path or None,
        "samples": [_sample(sample) for sample in progress.samples[:_SAMPLES]],
        "warnings": _warnings(report),
        "files": [FileResult.model_validate(file) for file in progress.files],
        "ollama_run": progress.ollama_run or None,
        "resume_step": None if job.stage is Stage.COMPLETED else progress.resume_step,
        "recent": recent,
        "next_check_s": report.next_check_s,
        "next_call": _next_call(report),
    }
    if progress.max_steps:
        values["progress"] = ProgressResult(
            step=progress.step, max_steps=progress.max_steps, percent=progress.percent, epoch=progress.epoch
        )
    if diagnosis is not None:
        values["diagnosis"] = DiagnosisResult(
            code=diagnosis.code, cause=diagnosis.cause, evidence=diagnosis.evidence, fix=diagnosis.fix
        )
    return JobStatusResult.model_validate(values)


def _warnings(report: JobReport) -> list[str]:
    silent = silent_samples(report.progress.samples)
    return [shorten(text, _WARNING_CHARACTERS) for text in (*report.progress.warnings[:_WARNINGS], silent) if text]


def _gpu_words(gpu: GpuUse | None) -> str | None:
    if gpu is None:
        return None
    return f"{gpu.utilization:.0f} % busy, {gpu.memory_used_gb:.0f} of {gpu.memory_total_gb:.0f} GB used"


def _sample(sample: dict[str, Any]) -> SampleResult:
    texts = {name: sample.get(name) for name in SampleResult.model_fields}
    return SampleResult.model_validate({name: _cut(text) for name, text in texts.items() if isinstance(text, str)})


def _cut(text: str) -> str:
    if not text.strip():
        return "(empty: the model ended at once)"
    return text if len(text) <= _SAMPLE_CHARACTERS else text[:_SAMPLE_CHARACTERS] + "..."


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _result_view(report: JobReport) -> str:
    """Return the view of the log that shows best what a completed job has done."""
    if report.progress.samples or not is_script(report.job):
        return "samples"
    return "metrics" if report.progress.metrics else "tail"


def _next_call(report: JobReport) -> str | None:
    if report.diagnosis is not None:
        return report.diagnosis.fix
    if report.job.stage is Stage.COMPLETED and report.progress.files:
        return None
    if report.job.stage is Stage.COMPLETED:
        show = _result_view(report)
        return call(ToolName.JOB_LOGS, job_id=report.job.id, show=show)
    if report.job.stage.is_terminal:
        return continue_call(report.job)
    return call(ToolName.JOB_STATUS, job_id=report.job.id, wait_seconds=20)


TOOL = Tool(
    name=ToolName.JOB_STATUS,
    title="Look at a job",
    arguments=JobStatus,
    result=JobStatusResult,
    run=job_status,
    reads_only=True,
)
