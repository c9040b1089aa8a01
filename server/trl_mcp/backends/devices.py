"""The queue of local jobs: first come, first served, one lock per device.

A ticket is an empty file named by the time of its job's submission. It counts for as long as the job's lock is held.
"""

from datetime import datetime
from pathlib import Path

from trl_mcp.backends.locks import hold, is_held

_CPU = "cpu"


def take_ticket(home: Path, job_id: str, created_at: str) -> None:
    """Put a job at its place in the queue. Raises OSError."""
    queue = _queue(home)
    queue.mkdir(parents=True, exist_ok=True)
    (queue / _ticket(job_id, created_at)).touch()


def drop_ticket(home: Path, job_id: str, created_at: str) -> None:
    """Take a job out of the queue."""
    (_queue(home) / _ticket(job_id, created_at)).unlink(missing_ok=True)


class DeviceWait:
    """A job's wait for one free device, or for all of them; `gpus` empty means the CPU is the one device.

    The devices are held until the process ends.
    """

    def __init__(self, home: Path, job_id: str, gpus: list[str], *, takes_all: bool) -> None:
        self._home = home
        self._job_id = job_id
        self._gpus = gpus
        self._wanted = len(gpus) if takes_all and gpus else 1
        self._held: dict[str, int] = {}

    @property
    def visible(self) -> str | None:
        """The value of CUDA_VISIBLE_DEVICES for the job; None where there is no GPU."""
        return ",".join(gpu for gpu in self._gpus if gpu in self._held) if self._gpus else None

    def try_now(self) -> bool:
        """Take what is free if it is this job's turn; return whether that is all the job needs. Raises OSError."""
        if not self._is_first():
            return False
        for device in self._gpus or [_CPU]:
            if len(self._held) < self._wanted and device not in self._held:
                self._take(device)
        return len(self._held) == self._wanted

    def _take(self, device: str) -> None:
        lock = hold(self._home / "locks" / f"device-{device.replace('/', '_')}.lock")
        if lock is not None:
            self._held[device] = lock

    def _is_first(self) -> bool:
        for ticket in sorted(_queue(self._home).iterdir()):
            waiting = ticket.name.partition(".")[2]
            if waiting == self._job_id:
                return True
            if is_held(self._home / "jobs" / waiting / "lock"):
                return False
            ticket.unlink(missing_ok=True)
        return True


def _queue(home: Path) -> Path:
    return home / "locks" / "queue"


def _ticket(job_id: str, created_at: str) -> str:
    microseconds = round(datetime.fromisoformat(created_at).timestamp() * 1_000_000)
    return f"{microseconds:018d}.{job_id}"
