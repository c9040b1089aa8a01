"""The folder of a local job: what lies in it, and who may change it when.

The submitter makes it, the supervisor changes it for as long as it holds `lock`; after that a reader may settle it.
"""

import errno
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trl_mcp.backends.base import SCRIPT, Stage
from trl_mcp.backends.locks import is_held
from trl_mcp.values import ToolName

NO_SPACE = "No space left on device"
_NO_SPACE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})
_RESERVE_BYTES = 64 * 1024
_RUN_KEY = r"[0-9a-f]{12}(?:r\d+)?"
_METHOD = r"[a-z0-9_]+"
_ID = re.compile(rf"({_METHOD})-({_RUN_KEY})-([1-9]\d*)")


def split_id(job_id: str) -> tuple[str, str, int] | None:
    """Return the method, run key and part that a local job id is made of; None for a text of another shape."""
    match = _ID.fullmatch(job_id)
    return (match[1], match[2], int(match[3])) if match else None


def now() -> str:
    """Return the time as it is kept in the folder: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What never changes about a job (job.json). Of `env` and `secrets` only the names are kept."""

    id: str
    kind: str
    method: str
    run: str
    part: int
    hardware: str
    namespace: str
    timeout_s: int | None
    attempts: int
    uses_all_devices: bool
    grace_s: float
    created_at: str
    run_tag: str
    env: list[str]
    secrets: list[str]
    after: list[str] = field(default_factory=list[str])
    arguments: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job now (status.json). `started_at` is the start of the script in this attempt."""

    stage: Stage = Stage.SCHEDULING
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    exit_code: int | None = None
    attempt: int = 1


class JobFolder:
    """One job's folder, `$home/jobs/<id>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path.parent.parent
        self.facts_file = path / "job.json"
        self.status_file = path / "status.json"
        self.script = path / "script.py"
        self.log = path / "log.txt"
        self.output = path / "output"
        self.lock = path / "lock"
        self.cancel = path / "cancel"
        self.reserve = path / "reserve"

    def run_folder(self, run: str) -> Path:
        """Return where a run keeps what its continuation needs."""
        return self.home / "runs" / run

    def fill(self, facts: JobFacts, script: str) -> None:
        """Write what a job begins with. Raises OSError."""
        self.output.mkdir(parents=True)
        self.script.write_bytes(script.encode())
        self.log.touch()
        # Random, so that no file system compresses it away.
        self.reserve.write_bytes(os.urandom(_RESERVE_BYTES))
        _replace(self.facts_file, json.dumps(asdict(facts), indent=1).encode())
        self.write_status(JobStatus())

    def facts(self) -> JobFacts | None:
        """Return what job.json says; None where it is missing or not readable."""
        known = {each.name for each in fields(JobFacts)}
        try:
            read: dict[str, Any] = json.loads(self.facts_file.read_bytes())
            return JobFacts(**{name: value for name, value in read.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def status(self) -> JobStatus:
        """Return what status.json says; a file that is missing or not readable tells of a job that is not over."""
        known = {each.name for each in fields(JobStatus)}
        try:
            read: dict[str, Any] = json.loads(self.status_file.read_bytes())
            kept = JobStatus(**{name: value for name, value in read.items() if name in known})
            return replace(kept, stage=Stage(kept.stage))
        except (OSError, ValueError, TypeError, AttributeError):
            return JobStatus()

    def write_status(self, status: JobStatus) -> None:
        """Replace the status at one stroke; the end of a job is written on a full disk too. Raises OSError."""
        text = json.dumps(asdict(status), indent=1).encode()
        try:
            _replace(self.status_file, text)
        except OSError as error:
            if error.errno not in _NO_SPACE_ERRORS or not status.stage.is_terminal:
                raise
            self._spend_reserve(text)
        if status.stage.is_terminal:
            self.reserve.unlink(missing_ok=True)

    def settled(self) -> JobStatus:
        """Return the status; of a job that is over and could not say so, this is written down first."""
        if self.status().stage.is_terminal or is_held(self.lock):
            return self.status()
        status = self.status()  # it may have ended between the two looks
        if status.stage.is_terminal:
            return status
        lost = replace(status, stage=Stage.ERROR, message=self._why_lost(status), finished_at=self._last_sign())
        with suppress(OSError):
            self.write_status(lost)
        return lost

    def is_disk_full(self) -> bool:
        """Whether the disk that holds the folder has no room for a log line and a status."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize < 2 * _RESERVE_BYTES

    def _spend_reserve(self, text: bytes) -> None:
        # Written in place and renamed: blocks that are ours already cannot be taken by another writer meanwhile.
        with suppress(OSError):
            with self.reserve.open("r+b") as file:
                file.write(text)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
            self.reserve.replace(self.status_file)
            return
        self.reserve.unlink(missing_ok=True)
        _replace(self.status_file, text)

    def _why_lost(self, status: JobStatus) -> str:
        before = "before the job did" if status.started_at else "before the job started"
        facts = self.facts()
        resumes = status.started_at and (facts is None or facts.kind != SCRIPT)
        after = "continues from the last checkpoint" if resumes else "starts it again"
        cause = f"{NO_SPACE}." if self.is_disk_full() else "It was killed, or the machine restarted."
        return f"The supervisor ended {before}. {cause} {ToolName.START_JOB} {after}."

    def _last_sign(self) -> str:
        """Return when the job was last seen alive: a reader may come days later."""
        seen = [path.stat().st_mtime for path in (self.log, self.status_file) if path.exists()]
        return datetime.fromtimestamp(max(seen), UTC).isoformat() if seen else now()


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
