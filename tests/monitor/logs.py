"""A backend in memory whose only job has printed what a test says."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import accumulate

from trl_mcp.backends.base import Job, JobSpec, LogPiece, Stage, Submission
from trl_mcp.errors import UnknownJob

TAG = "0123456789abcdef"
CREATED = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = Job(
    id="sft-3f2a9c1b7d4e-1",
    namespace="local",
    backend="memory",
    kind="training",
    method="sft",
    run="3f2a9c1b7d4e",
    part=1,
    hardware="local",
    stage=Stage.RUNNING,
    created_at=CREATED,
    started_at=CREATED,
    run_tag=TAG,
)


@dataclass
class PrintedLog:
    """One job and its log; it gives out at most `piece_lines` lines at once. Positions count lines."""

    lines: list[str] = field(default_factory=list[str])
    job: Job = JOB
    piece_lines: int = 100
    name: str = "memory"
    text: str = "RUN = {}\n"

    async def logs(self, job_id: str, *, tail: int | None = None, cursor: int | None = None) -> LogPiece:
        """Return a piece of the log."""
        size = len(self.lines)
        start = max(0, size - tail) if cursor is None and tail is not None else min(cursor or 0, size)
        count = size if cursor is None else self.piece_lines
        lines = self.lines[start : start + count]
        ends = list(accumulate((1 for _ in lines), initial=start))
        return LogPiece(lines, start, ends[-1], ends[1:])

    async def inspect(self, job_id: str) -> Job:
        """Return the job."""
        if job_id != self.job.id:
            raise UnknownJob(f"No job {job_id}.")
        return self.job

    async def list(self, limit: int) -> "list[Job]":
        """Return the job."""
        return [self.job][:limit]

    async def script(self, job_id: str) -> str:
        """Return the job's script."""
        return self.text

    async def submit(self, spec: JobSpec) -> Submission:
        """Return the job as one that existed."""
        return Submission(self.job, already_submitted=True)

    async def cancel(self, job_id: str) -> Job:
        """Stop the job."""
        self.job = replace(self.job, stage=Stage.CANCELED)
        return self.job
