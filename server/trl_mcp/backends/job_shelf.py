"""The local jobs that lie under one home."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from trl_mcp.backends.base import Job
from trl_mcp.backends.job_folder import JobFacts, JobFolder, JobStatus, split_id

BACKEND = "local"


class JobShelf:
    """Finds jobs by id and by run. Ids of another shape than a local job's never touch the file system."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.path = self.home / "jobs"

    def folder(self, job_id: str) -> JobFolder:
        """Return the folder of a job; the id must have the shape of a local one."""
        assert split_id(job_id), "checked by the caller"
        return JobFolder(self.path / job_id)

    def look(self, job_id: str) -> Job | None:
        """Return the job as it is now; None where there is none."""
        if split_id(job_id) is None:
            return None
        folder = self.folder(job_id)
        facts = folder.facts()
        return as_job(folder, facts, folder.settled()) if facts is not None else None

    def of_run(self, run: str) -> list[Job]:
        """Return the jobs of a run, the highest part first."""
        found = [job for job_id in self._parts(run).values() if (job := self.look(job_id)) is not None]
        return sorted(found, key=lambda job: job.part, reverse=True)

    def last_part(self, run: str) -> int:
        """Return the highest part of a run, of jobs whose files cannot be read too; 0 where there is none."""
        return max(self._parts(run), default=0)

    def _parts(self, run: str) -> dict[int, str]:
        split_ids = ((split_id(name), name) for name in self._ids())
        return {split[2]: name for split, name in split_ids if split and split[1] == run}

    def newest(self, limit: int) -> list[Job]:
        """Return at most `limit` jobs, the newest first."""
        # Ordered by the time of one file that never changes: only the newest are read.
        newest = sorted(self._ids(), key=self._written, reverse=True)[: max(0, limit)]
        found = [job for job in map(self.look, newest) if job is not None]
        return sorted(found, key=lambda job: job.created_at, reverse=True)

    def _ids(self) -> list[str]:
        try:
            return [path.name for path in self.path.iterdir() if split_id(path.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _written(self, job_id: str) -> int:
        with suppress(OSError):
            return self.folder(job_id).facts_file.stat().st_mtime_ns
        return 0


def as_job(folder: JobFolder, facts: JobFacts, status: JobStatus) -> Job:
    """Return the job that a folder's files tell of."""
    return Job(
        id=facts.id,
        namespace=facts.namespace,
        backend=BACKEND,
        kind=facts.kind,
        method=facts.method,
        run=facts.run,
        part=facts.part,
        hardware=facts.hardware,
        stage=status.stage,
        created_at=datetime.fromisoformat(facts.created_at),
        message=status.message,
        started_at=_time(status.started_at),
        finished_at=_time(status.finished_at),
        exit_code=status.exit_code,
        attempt=status.attempt,
        attempts=facts.attempts,
        timeout_s=facts.timeout_s,
        run_tag=facts.run_tag,
        output_path=str(folder.output),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
