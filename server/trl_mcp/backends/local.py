"""Runs jobs on this machine: each in a folder of its own, under a detached supervisor, one per device at a time."""

import sys
from collections.abc import Mapping
from pathlib import Path

from anyio import to_thread

from trl_mcp.backends import log_file
from trl_mcp.backends.base import Job, JobSpec, LogPiece, Submission
from trl_mcp.backends.job_folder import split_id
from trl_mcp.backends.job_shelf import BACKEND, JobShelf
from trl_mcp.backends.submission import Submitter
from trl_mcp.errors import BackendUnavailable, NotPossible, UnknownJob
from trl_mcp.values import ToolName, call


def is_local_id(text: str) -> bool:
    """Whether the text has the shape of a local job's id, such as sft-3f2a9c1b7d4e-1."""
    return split_id(text) is not None


class LocalBackend:
    """Jobs on this machine, kept under `home`; what they see of `environ` is an allow-list.

    `grace_s` is how long a job that is asked to stop may take for its checkpoint, in seconds.
    """

    name = BACKEND

    def __init__(
        self,
        home: Path,
        namespace: str = "local",
        *,
        environ: Mapping[str, str],
        grace_s: float = 30,
        platform: str = sys.platform,
    ) -> None:
        self._shelf = JobShelf(home)
        self._submitter = Submitter(self._shelf, namespace, dict(environ), grace_s)
        self._platform = platform

    async def submit(self, spec: JobSpec) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises BackendUnavailable where no job can be run; then nothing is left behind.
        """
        if self._platform == "win32":
            raise BackendUnavailable(
                "Local jobs need Linux or macOS.",
                next_step="Run the server inside WSL, or choose hardware of Hugging Face Jobs.",
            )
        return await to_thread.run_sync(self._submitter.submit, spec)

    async def inspect(self, job_id: str) -> Job:
        """Return the job as it is now. Raises UnknownJob."""
        return await to_thread.run_sync(self._inspect, job_id)

    async def list(self, limit: int) -> list[Job]:
        """Return the newest jobs first, at most `limit`."""
        return await to_thread.run_sync(self._shelf.newest, limit)

    async def script(self, job_id: str) -> str:
        """Return the text of the script the job runs. Raises UnknownJob."""
        return await to_thread.run_sync(self._script, job_id)

    async def logs(self, job_id: str, *, tail: int | None = None, cursor: int | None = None) -> LogPiece:
        """Return the lines from `cursor` on, else the last `tail`, else the first; never more than 1 MB at once.

        A cursor is an offset in bytes. A last line without its end is given out once the job is over. A piece with
        `start == end` says that there is nothing (more) now. Raises UnknownJob.
        """
        return await to_thread.run_sync(self._logs, job_id, tail, cursor)

    async def cancel(self, job_id: str) -> Job:
        """Ask the job to stop and return it; a job that is over is returned as it is.

        Raises UnknownJob, NotPossible.
        """
        return await to_thread.run_sync(self._cancel, job_id)

    def _inspect(self, job_id: str) -> Job:
        job = self._shelf.look(job_id)
        if job is None:
            raise UnknownJob(
                f"No local job has the id {job_id[:80]!a}.",
                next_step=f"{call(ToolName.JOB_STATUS)} lists the last jobs.",
            )
        return job

    def _script(self, job_id: str) -> str:
        self._inspect(job_id)
        return self._shelf.folder(job_id).script.read_bytes().decode()

    def _logs(self, job_id: str, tail: int | None, cursor: int | None) -> LogPiece:
        finished = self._inspect(job_id).stage.is_terminal
        log = self._shelf.folder(job_id).log
        if cursor is None and tail is not None:
            return log_file.read_tail(log, tail, finished=finished)
        return log_file.read_after(log, cursor or 0, finished=finished)

    def _cancel(self, job_id: str) -> Job:
        job = self._inspect(job_id)
        if job.stage.is_terminal:
            return job
        try:
            self._shelf.folder(job_id).cancel.touch()
        except OSError as error:
            raise NotPossible(f"The job could not be asked to stop: {error.strerror}.") from error
        return self._inspect(job_id)
