"""Starts local jobs: exactly one per run, and nothing left behind when that fails."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from trl_mcp.backends import job_environment
from trl_mcp.backends.base import Job, JobSpec, Stage, Submission
from trl_mcp.backends.devices import drop_ticket, take_ticket
from trl_mcp.backends.job_folder import JobFacts, JobFolder, JobStatus, now, split_id
from trl_mcp.backends.job_shelf import JobShelf, as_job
from trl_mcp.backends.locks import hold
from trl_mcp.errors import BackendUnavailable, InvalidArguments

_LOCK_TIMEOUT_S = 20
_STAGING = ".new-"
_CURRENT = (Stage.SCHEDULING, Stage.RUNNING, Stage.COMPLETED)
# The shell leaves at once, so that the supervisor is nobody's child that would have to be waited for.
_DETACHED = ("/bin/sh", "-c", '"$@" &', "sh")


class Submitter:
    """Puts jobs on the shelf and starts their supervisors; `grace_s` in seconds."""

    def __init__(self, shelf: JobShelf, namespace: str, environ: Mapping[str, str], grace_s: float) -> None:
        self._shelf = shelf
        self._namespace = namespace
        self._environ = environ
        self._grace_s = grace_s

    def submit(self, spec: JobSpec) -> Submission:
        """Start a job, or return the one of this run that is scheduled, running or completed.

        Raises InvalidArguments, BackendUnavailable.
        """
        _check(spec)
        try:
            with self._one_at_a_time():
                current = next((job for job in self._shelf.of_run(spec.run) if job.stage in _CURRENT), None)
                if current is not None:
                    return Submission(current, already_submitted=True)
                facts = self._facts(spec, part=self._shelf.last_part(spec.run) + 1)
                return Submission(self._start(facts, spec), already_submitted=False)
        except (OSError, subprocess.SubprocessError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "the supervisor could not be started"
            raise BackendUnavailable(
                f"The local job could not be started: {why}.",
                next_step="Make room or give write access to the folder TRL_MCP_HOME names, then call again.",
            ) from error

    @contextmanager
    def _one_at_a_time(self) -> Generator[None]:
        """Let one submitter through at a time, of all servers with this home."""
        locks = self._shelf.home / "locks"
        for folder in (self._shelf.home, self._shelf.path, locks):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = FileLock(locks / "local.lock").acquire(timeout=_LOCK_TIMEOUT_S)
        except Timeout:
            raise BackendUnavailable(
                f"Another submission has not ended for {_LOCK_TIMEOUT_S} s.", next_step="Call again."
            ) from None
        with lock:
            self._sweep()
            yield

    def _sweep(self) -> None:
        for leftover in self._shelf.path.glob(f"{_STAGING}*"):  # of a submitter that was killed
            shutil.rmtree(leftover, ignore_errors=True)

    def _start(self, facts: JobFacts, spec: JobSpec) -> Job:
        staging = JobFolder(self._shelf.path / f"{_STAGING}{facts.id}")
        folder = self._shelf.folder(facts.id)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, staging.path, ignore_errors=True)
            staging.path.mkdir(mode=0o700)
            staging.fill(facts, spec.script)
            lock = hold(staging.lock)
            assert lock is not None, "nobody else knows the folder"
            with os.fdopen(lock, "rb"):  # closed here at the end; the supervisor holds it on
                staging.path.rename(folder.path)
                undo.callback(shutil.rmtree, folder.path, ignore_errors=True)
                undo.callback(drop_ticket, self._shelf.home, facts.id, facts.created_at)
                take_ticket(self._shelf.home, facts.id, facts.created_at)
                self._start_supervisor(folder, lock, {**spec.env, **spec.secrets})
            undo.pop_all()
        return as_job(folder, facts, JobStatus())

    def _facts(self, spec: JobSpec, part: int) -> JobFacts:
        return JobFacts(
            id=f"{spec.method}-{spec.run}-{part}",
            kind=spec.kind,
            method=spec.method,
            run=spec.run,
            part=part,
            hardware=spec.hardware,
            namespace=self._namespace,
            timeout_s=spec.timeout_s,
            attempts=spec.attempts,
            uses_all_devices=spec.uses_all_devices,
            grace_s=self._grace_s,
            created_at=now(),
            run_tag=secrets.token_hex(8),
            env=sorted(spec.env),
            secrets=sorted(spec.secrets),
            after=list(spec.after),
            arguments=list(spec.arguments),
        )

    def _start_supervisor(self, folder: JobFolder, lock: int, given: Mapping[str, str]) -> None:
        supervisor = (sys.executable, "-P", "-m", "trl_mcp.backends.supervisor", str(folder.path), str(lock))
        with folder.log.open("ab") as log:
            subprocess.run(
                (*_DETACHED, *supervisor),
                cwd=folder.path,
                env=job_environment.for_supervisor(self._environ, given),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                check=True,
            )


def _check(spec: JobSpec) -> None:
    if split_id(f"{spec.method}-{spec.run}-1") is None:
        raise InvalidArguments(f"{spec.method!r} with run key {spec.run!r} makes no id of a local job.")
    if any("\0" in argument for argument in spec.arguments):
        raise InvalidArguments("An argument of a script has no zero byte.")
    for name, value in {**spec.env, **spec.secrets}.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidArguments(f"{name!r} is no environment variable: a name has no '=', a value no zero byte.")
    try:
        spec.script.encode()
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"The script is no valid text: character {error.start} is half of a pair.") from None
