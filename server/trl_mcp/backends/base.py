"""The protocol every backend keeps, and the values it takes and returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

# What keeps a job's log to what a reader wants.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
    "UV_NO_PROGRESS": "1",
}
# The kind of jobs that run what a caller has written.
SCRIPT = "script"


def quiet(kind: str) -> dict[str, str]:
    """Return the variables that keep the log of a job of this kind short.

    A caller's script keeps its progress bars: a plain trainer tells its steps there alone.
    """
    return {name: value for name, value in QUIET.items() if kind != SCRIPT or name != "TQDM_DISABLE"}


class Stage(StrEnum):
    """The stages of a job, by the names of Hugging Face Jobs."""

    SCHEDULING = "SCHEDULING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    CANCELED = "CANCELED"
    DELETED = "DELETED"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this stage will never change again."""
        return self not in (Stage.SCHEDULING, Stage.RUNNING)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to run: a self-contained script, where, for how long, and under which run key.

    `timeout_s` is in seconds per attempt (None: no limit). `secrets` are handed over in memory only. `arguments` are
    those of the script. `image` and `output_repo` matter on Hugging Face Jobs only; without an image it is uv's own.
    `after` are local jobs that must have completed before this one starts; `price_micro_usd` is the price per minute
    that was agreed, above which nothing is started.
    """

    kind: str
    method: str
    run: str
    script: str
    hardware: str
    namespace: str
    timeout_s: int | None = None
    attempts: int = 1
    uses_all_devices: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    image: str = ""
    arguments: tuple[str, ...] = ()
    output_repo: str = ""
    after: tuple[str, ...] = ()
    price_micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a script, as its backend knows it now. Times are UTC.

    Only Hugging Face Jobs fill the fields from `url` on; `queued_s` and `running_s` are as the Hub says them.
    """

    id: str
    namespace: str
    backend: str
    kind: str
    method: str
    run: str
    part: int
    hardware: str
    stage: Stage
    created_at: datetime
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    attempt: int = 1
    attempts: int = 1
    timeout_s: int | None = None
    run_tag: str = ""
    output_path: str = ""
    url: str = ""
    price_micro_usd_per_minute: int | None = None
    queued_s: int | None = None
    running_s: int | None = None
    output_repo: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit: the job, and whether it existed already."""

    job: Job
    already_submitted: bool


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Consecutive log lines; `start`, `end` and the end of each line are positions that `logs` takes as cursor."""

    lines: list[str]
    start: int
    end: int
    ends: list[int]


class Backend(Protocol):
    """Runs jobs and tells of them. Ids given to it are bare and already checked for shape."""

    name: str

    async def submit(self, spec: JobSpec) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises BackendUnavailable where no job can be run.
        """
        ...

    async def inspect(self, job_id: str) -> Job:
        """Return the job as it is now. Raises UnknownJob."""
        ...

    async def list(self, limit: int) -> list[Job]:
        """Return the newest jobs first, at most `limit`."""
        ...

    async def script(self, job_id: str) -> str:
        """Return the text of the script the job runs. Raises UnknownJob."""
        ...

    async def logs(self, job_id: str, *, tail: int | None = None, cursor: int | None = None) -> LogPiece:
        """Return the last `tail` lines, or the lines after `cursor`; never more than 1 MB at once.

        A piece with `start == end` says that there is nothing (more) now. Raises UnknownJob.
        """
        ...

    async def cancel(self, job_id: str) -> Job:
        """Ask the job to stop and return it; a job that is over is returned as it is. Raises UnknownJob."""
        ...
