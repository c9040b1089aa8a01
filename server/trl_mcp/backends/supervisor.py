"""Owns one local job from its place in the queue to its end: `python -m trl_mcp.backends.supervisor FOLDER LOCK`.

LOCK is an open file that holds the folder's lock: as long as this process lives, the job is not over.
Standard library only: this process stays in memory for as long as the job runs.
"""

import os
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from trl_mcp.backends import job_environment
from trl_mcp.backends.base import SCRIPT, Stage
from trl_mcp.backends.child import POLL_S, Bell, Outcome, StopReason, TiedChild
from trl_mcp.backends.devices import DeviceWait, drop_ticket
from trl_mcp.backends.job_folder import NO_SPACE, JobFacts, JobFolder, JobStatus, now
from trl_mcp.gpus import visible_gpus
from trl_mcp.values import ToolName

_STATUS_TRIES = 60
_TAIL_BYTES = 16 * 1024
_OUT_OF_SPACE_SIGNS = (NO_SPACE.encode(), b"Errno 28", b"os error 28")


@dataclass(frozen=True, slots=True)
class _End:
    """The job goes no further: its last stage and why."""

    stage: Stage
    message: str
    exit_code: int | None = None


class _EndedEarly(Exception):
    """The job ended before its script was started."""

    def __init__(self, stage: Stage, message: str) -> None:
        super().__init__(message)
        self.end = _End(stage, message)


class _Supervisor:
    def __init__(self, folder: JobFolder, facts: JobFacts, bell: Bell) -> None:
        self._folder = folder
        self._facts = facts
        self._bell = bell
        self._status = JobStatus()

    def run(self) -> None:
        """Take the job to its end and write that down."""
        try:
            end = self._run_attempts()
        except _EndedEarly as early:
            end = early.end
        except OSError as error:
            end = _End(Stage.ERROR, f"The job could not go on: {error.strerror or type(error).__name__}.")
        drop_ticket(self._folder.home, self._facts.id, self._facts.created_at)
        self._finish(end)

    def _run_attempts(self) -> _End:
        self._wait_for_jobs_before()
        devices = self._wait_for_devices()
        interpreter = self._prepare()
        environ = self._job_environment(devices)
        for attempt in range(1, self._facts.attempts):
            end = self._attempt(attempt, interpreter, environ)
            if end.stage is not Stage.ERROR or self._stop_reason():
                return end
        return self._attempt(max(1, self._facts.attempts), interpreter, environ)

    def _wait_for_jobs_before(self) -> None:
        """Wait for the jobs whose results this one reads. The queue keeps its place meanwhile."""
        for job_id in self._facts.after:
            before = JobFolder(self._folder.path.parent / job_id)
            while before.path.exists() and not before.settled().stage.is_terminal:
                self._show(replace(self._status, message=f"Waiting for {job_id} to end."))
                self._end_if_stopped()
                self._bell.wait(POLL_S)
            stage = before.settled().stage if before.path.exists() else Stage.DELETED
            if stage is not Stage.COMPLETED:
                raise _EndedEarly(Stage.ERROR, f"{job_id}, whose result this job reads, ended as {stage}.")

    def _wait_for_devices(self) -> DeviceWait:
        gpus = visible_gpus(os.environ)
        wait = DeviceWait(self._folder.home, self._facts.id, gpus, takes_all=self._facts.uses_all_devices)
        while not wait.try_now():
            self._show(replace(self._status, message="Waiting in the queue of this machine."))
            self._end_if_stopped()
            self._bell.wait(POLL_S)
        self._end_if_stopped()
        drop_ticket(self._folder.home, self._facts.id, self._facts.created_at)
        return wait

    def _prepare(self) -> Path:
        """Make the job's Python environment and return its interpreter."""
        self._show(replace(self._status, message="Making the Python environment."))
        answer, answer_end = os.pipe()
        try:
            outcome = self._run_preparation(answer_end)
            os.set_blocking(answer, False)
            lines = _read_now(answer).splitlines()
        finally:
            os.close(answer)
        self._end_if_stopped()
        if outcome.returncode != 0 or not lines:
            reason = lines[-1] if lines else f"exit code {outcome.exit_code}. The log says more."
            raise _EndedEarly(Stage.ERROR, reason)
        return Path(lines[-1])

    def _run_preparation(self, answer_end: int) -> Outcome:
        module = [sys.executable, "-P", "-m", "trl_mcp.environments"]
        environ = job_environment.for_preparing(os.environ)
        log = self._open_log()
        try:
            child = TiedChild(
                [*module, str(self._folder.script), str(self._folder.home)],
                environ,
                self._facts.run_tag,
                folder=self._folder.path,
                stdout=answer_end,
                stderr=log,
            )
        finally:
            os.close(log)
            os.close(answer_end)
        return child.run(self._bell, self._stop_reason, grace_s=0)

    def _attempt(self, attempt: int, interpreter: Path, environ: dict[str, str]) -> _End:
        message = self._status.message if attempt > 1 else ""
        self._folder.run_folder(self._facts.run).mkdir(parents=True, exist_ok=True)
        self._show(replace(self._status, stage=Stage.RUNNING, started_at=now(), attempt=attempt, message=message))
        end = self._judge(self._run_script(interpreter, environ))
        self._status = replace(self._status, message=f"Attempt {attempt}: {end.message}")
        return end

    def _run_script(self, interpreter: Path, environ: dict[str, str]) -> Outcome:
        log = self._open_log()
        try:
            child = TiedChild(
                [str(interpreter), str(self._folder.script), *self._facts.arguments],
                environ,
                self._facts.run_tag,
                # What a caller's script writes beside itself is its result.
                folder=self._folder.output if self._facts.kind == SCRIPT else self._folder.path,
                stdout=log,
                stderr=log,
            )
        finally:
            os.close(log)
        deadline = monotonic() + self._facts.timeout_s if self._facts.timeout_s is not None else float("inf")
        return child.run(self._bell, lambda: self._stop_reason(deadline), self._facts.grace_s)

    def _job_environment(self, devices: DeviceWait) -> dict[str, str]:
        own = {
            "TRL_MCP_OUTPUT": str(self._folder.output),
            "TRL_MCP_RUN_FOLDER": str(self._folder.run_folder(self._facts.run)),
            "TRL_MCP_SCRIPT": str(self._folder.script),
            "TRL_MCP_PART": str(self._facts.part),
        }
        if devices.visible is not None:
            own["CUDA_VISIBLE_DEVICES"] = devices.visible
        return job_environment.for_job(os.environ, own, self._facts.kind)

    def _judge(self, outcome: Outcome) -> _End:
        code = outcome.exit_code
        match outcome.stopped_by:
            case StopReason.CANCEL:
                return _End(Stage.CANCELED, "Job canceled.", code)
            case StopReason.TIMEOUT:
                return _End(Stage.ERROR, "Job timeout", code)
            case StopReason.SHUTDOWN:
                return _End(Stage.ERROR, _shutdown_message(self._facts.kind), code)
            case None:
                pass
        if code == 0:
            return _End(Stage.COMPLETED, "", code)
        if self._ran_out_of_space():
            return _End(Stage.ERROR, f"Job failed with exit code: {code}. Reason: {NO_SPACE}.", code)
        if outcome.returncode < 0:
            return _End(Stage.ERROR, f"Killed by signal {-outcome.returncode} ({_signal_name(outcome)}).", code)
        return _End(Stage.ERROR, f"Job failed with exit code: {code}. Reason: Error.", code)

    def _ran_out_of_space(self) -> bool:
        with self._folder.log.open("rb") as log:
            log.seek(max(0, self._folder.log.stat().st_size - _TAIL_BYTES))
            tail = log.read(_TAIL_BYTES)
        return any(sign in tail for sign in _OUT_OF_SPACE_SIGNS) or self._folder.is_disk_full()

    def _stop_reason(self, deadline: float = float("inf")) -> StopReason | None:
        if self._folder.cancel.exists():
            return StopReason.CANCEL
        if self._bell.asked_to_end:
            return StopReason.SHUTDOWN
        return StopReason.TIMEOUT if monotonic() >= deadline else None

    def _end_if_stopped(self) -> None:
        match self._stop_reason():
            case StopReason.CANCEL:
                raise _EndedEarly(Stage.CANCELED, "Job canceled before it started.")
            case StopReason.SHUTDOWN:
                raise _EndedEarly(Stage.ERROR, _shutdown_message(self._facts.kind))
            case _:
                return

    def _open_log(self) -> int:
        return os.open(self._folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _show(self, status: JobStatus) -> None:
        if status != self._status:
            self._folder.write_status(status)
            self._status = status

    def _finish(self, end: _End) -> None:
        last = replace(self._status, stage=end.stage, message=end.message, exit_code=end.exit_code, finished_at=now())
        for remaining in reversed(range(_STATUS_TRIES)):
            try:
                self._folder.write_status(last)
                break
            except OSError:
                if not remaining or not self._folder.path.exists():
                    raise
                self._bell.wait(1)
        if end.stage is Stage.COMPLETED:
            shutil.rmtree(self._folder.run_folder(self._facts.run), ignore_errors=True)


def _read_now(pipe: int) -> str:
    try:
        return os.read(pipe, 64 * 1024).decode(errors="replace")
    except BlockingIOError:
        return ""


def _shutdown_message(kind: str) -> str:
    after = "starts it again" if kind == SCRIPT else "continues from the last checkpoint"
    return f"The machine or its user ended the supervisor. {ToolName.START_JOB} {after}."


def _signal_name(outcome: Outcome) -> str:
    try:
        return signal.Signals(-outcome.returncode).name
    except ValueError:  # a real-time signal has no name
        return "no name"


def main(folder: Path, lock: int) -> None:
    """Supervise the job in `folder`; `lock` is the open file that holds its lock."""
    os.set_inheritable(lock, False)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored in what a shell starts in the background
    job = JobFolder(folder)
    facts = job.facts()
    if facts is None:
        sys.exit(f"{job.facts_file.name} cannot be read.")
    _Supervisor(job, facts, Bell()).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
