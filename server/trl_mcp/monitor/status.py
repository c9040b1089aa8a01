"""The state of a job: its stage, its progress, and what to do next."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from trl_mcp.backends.base import Backend, Job, Stage
from trl_mcp.monitor.diagnosis import Diagnosis, diagnose
from trl_mcp.monitor.masking import clean_line
from trl_mcp.monitor.progress import Progress, parse_line, parse_lines, summarize

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


async def report_job(backend: Backend, job: Job, now: datetime, secrets: Iterable[str]) -> JobReport:
    """Read the end of a job's log and return where it stands."""
    secrets = list(secrets)
    job = replace(job, message=clean_line(job.message, secrets))
    piece = await backend.logs(job.id, tail=_TAIL_LINES)
    lines = [clean_line(line, secrets) for line in piece.lines]
    progress = summarize(parse_lines(lines, job.run_tag))
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
    )


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
    """Say what the job is doing."""
    if job.stage is Stage.RUNNING and not progress.is_training:
        return "loading packages, model and data"
    if job.stage is Stage.RUNNING and progress.step and progress.step >= progress.max_steps:
        return "saving the model"
    return job.message


def utc_now() -> datetime:
    """Return the present time, UTC."""
    return datetime.now(UTC)
