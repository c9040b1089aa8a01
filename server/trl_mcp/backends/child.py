"""A process group that cannot outlive the process that started it.

A small shell process waits for the end of a pipe that only the starter holds open. The starter's death, by SIGKILL too,
ends the pipe, and the shell kills the group. It is a member of that group, so the group's number cannot have gone to
others meanwhile. What left the group for a session of its own (torchrun's workers do) is found by the run tag in its
environment, where the system shows that (Linux).
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic
from types import FrameType

TAG = "TRL_MCP_RUN_TAG"
POLL_S = 0.2

# The watcher is no child of the job, which may wait for its children, and it has none of the job's files open.
_START = """
exec 3<&0 </dev/null
( ( unset TRL_MCP_RUN_TAG; exec /bin/sh -c "$1" sh "$$" "$2" <&3 3<&- >/dev/null 2>&1 ) & )
exec 3<&-
shift 2
exec "$@"
"""
_WATCH = """
trap '' HUP INT QUIT TERM
read _
for round in 1 2; do
  for found in $(grep -lF -- "TRL_MCP_RUN_TAG=$2" /proc/[0-9]*/environ); do
    found=${found%/environ}
    kill -KILL "${found#/proc/}"
  done
done
kill -KILL -- "-$1"
"""


class StopReason(StrEnum):
    """Why a job is made to stop."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended; a negative `returncode` is the signal that killed it."""

    returncode: int
    stopped_by: StopReason | None

    @property
    def exit_code(self) -> int:
        """The exit code as a shell tells it: 128 + the signal for one that was killed."""
        return 128 - self.returncode if self.returncode < 0 else self.returncode


class Bell:
    """Wakes its process when a child ends or when it is asked to end itself."""

    def __init__(self) -> None:
        self.asked_to_end = False
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._ring)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when something happened."""
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 1024)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        """Exist: an ignored signal would not wake."""

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_end = True


class TiedChild:
    """A command in a session of its own. Raises OSError where it cannot be started."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], tag: str, *, folder: Path, stdout: int, stderr: int
    ) -> None:
        self._tag = f"{TAG}={tag}".encode()
        pipe_end, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _START, "sh", _WATCH, tag, *command],
                cwd=folder,
                env={**environ, TAG: tag},
                stdin=pipe_end,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(pipe_end)

    def run(self, bell: Bell, stop: Callable[[], StopReason | None], grace_s: float) -> Outcome:
        """Wait until the command ends or is made to: asked by SIGTERM, killed with all it started `grace_s` later."""
        stopped_by: StopReason | None = None
        kill_at = float("inf")
        try:
            while not self._has_ended():
                if stopped_by is None and (stopped_by := stop()):
                    os.kill(self._process.pid, signal.SIGTERM)
                    kill_at = monotonic() + grace_s
                if monotonic() >= kill_at:
                    self._kill_group()
                bell.wait(POLL_S)
        finally:
            # Before it is reaped: until then its number, and so that of the group, belongs to it.
            self._kill_group()
        returncode = self._process.wait()
        os.close(self._lifeline)
        return Outcome(returncode, stopped_by)

    def _has_ended(self) -> bool:
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    def _kill_group(self) -> None:
        # Some systems refuse the signal where only the dead are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for _ in range(3):
            if not _kill_tagged(self._tag):
                break


def _kill_tagged(tag: bytes) -> bool:
    """Kill every process whose environment carries the tag; return whether there was one."""
    proc = Path("/proc")
    if not hasattr(os, "pidfd_open") or not proc.is_dir():
        return False
    killed = [_kill_if_tagged(int(path.name), tag) for path in proc.iterdir() if path.name.isdigit()]
    return any(killed)


def _kill_if_tagged(pid: int, tag: bytes) -> bool:
    with contextlib.suppress(OSError):
        process = os.pidfd_open(pid)  # opened first: a number that is given anew meanwhile cannot be hit
        try:
            if tag in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False
