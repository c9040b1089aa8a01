"""The state of a job: its stage, its progress, and what to do next."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from trl_mcp.backends.base import Backend, Job, Stage
from trl_mcp.backends.hf import HfBackend
from trl_mcp.backends.hf_cost import cost
from trl_mcp.monitor.diagnosis import Diagnosis, diagnose
from trl_mcp.monitor.masking import clean_line, mask
from trl_mcp.monitor.progress import Progress, ProgressEvent, parse_line, parse_lines, summarize
from trl_mcp.monitor.trainer_lines import is_script, trainer_events
from trl_mcp.values import GpuUse

_TAIL_LINES = 4000
_SOONEST, _LATEST = 5, 60


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job with its progress. Times are seconds."""

    job: Job
    progress: Progress
    diagnosis: Diagnosis | None
    queued_s: int
    running_s: int | None
    timeout_left_s: int | None
    next_check_s: int | None
    activity: str
    usd_so_far: Decimal | None = None
    usd_at_end: Decimal | None = None
    gpu: GpuUse | None = None

    @property
    def will_hit_timeout(self) -> bool | None:
        """Whether the time left is shorter than the work left; None where either is not known."""
        if self.timeout_left_s is None or self.progress.eta_s is None:
            return None
        return self.progress.eta_s > self.timeout_left_s


async def report_job(backend: Backend, job: Job, now: datetime, secrets: Iterable[str]) -> JobReport:
    """Read the end of a job's log and return where it stands."""
    secrets = list(secrets)
    job = replace(job, message=clean_line(job.message, secrets))
    gpu = await _gpu(backend, job)
    # A job that waits for its first attempt has printed nothing, and a stream says so only by staying silent.
    is_waiting = job.stage is Stage.SCHEDULING and job.attempt == 1
    printed = [] if is_waiting else (await backend.logs(job.id, tail=_TAIL_LINES)).lines
    lines = [clean_line(line, secrets) for line in printed]
    progress = summarize(progress_events(job, printed, secrets))
    plain = [line for line in lines[-60:] if parse_line(line, job.run_tag) is None]
    end = job.finished_at or now
    running = round((end - job.started_at).total_seconds()) if job.started_at else None
    return JobReport(
        job=job,
        progress=progress,
        diagnosis=diagnose(job, progress, plain),
        queued_s=round(((job.started_at or end) - job.created_at).total_seconds()),
        running_s=running,
        timeout_left_s=_timeout_left(job, running),
        next_check_s=_next_check(job, progress),
        activity=_activity(job, progress),
        usd_so_far=cost(job, now),
        usd_at_end=_cost_at_end(job, progress, now),
        gpu=gpu,
    )


def progress_events(job: Job, printed: list[str], secrets: Iterable[str]) -> list[ProgressEvent]:
    """Return the events among the lines of a job's log: its progress lines, or what the Trainer in a script says."""
    secrets = list(secrets)
    events = list(parse_lines((clean_line(line, secrets) for line in printed), job.run_tag))
    if events or not is_script(job):
        return events
    return trainer_events(mask(line, secrets) for line in printed)


async def _gpu(backend: Backend, job: Job) -> GpuUse | None:
    if not isinstance(backend, HfBackend) or job.stage is not Stage.RUNNING or job.hardware.startswith("cpu"):
        return None
    return await backend.gpu(job.id)


def _cost_at_end(job: Job, progress: Progress, now: datetime) -> Decimal | None:
    if job.stage.is_terminal or progress.eta_s is None:
        return None
    return cost(job, now + timedelta(seconds=progress.eta_s))


def _timeout_left(job: Job, running_s: int | None) -> int | None:
    if job.timeout_s is None or running_s is None or job.stage is not Stage.RUNNING:
        return None
    return max(0, job.timeout_s - running_s)


def _next_check(job: Job, progress: Progress) -> int | None:
    """Return when a look is worth while: a tenth of the time left, 5 to 60 seconds; None when it is over."""
    if job.stage.is_terminal:
        return None
    return min(_LATEST, max(_SOONEST, round((progress.eta_s or 0) / 10)))


def _activity(job: Job, progress: Progress) -> str:
    """Say what the job is doing; of a script only what its log tells."""
    if job.stage is Stage.RUNNING and is_script(job):
        return _activity_of_script(progress)
    if job.stage is Stage.RUNNING and not progress.is_training:
        return "loading packages, model and data"
    if job.stage is Stage.RUNNING and progress.step and progress.step >= progress.max_steps:
        return "saving the model"
    if job.stage is Stage.COMPLETED and progress.pushed:
        return f"the model is pushed: {progress.pushed}"
    return job.message


def _activity_of_script(progress: Progress) -> str:
    if not progress.is_training:
        return "running; nothing in its log tells yet how far it is"
    if progress.step and progress.step >= progress.max_steps:
        return "running; its training is at the last step"
    return ""
