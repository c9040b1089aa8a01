"""The Trackio dashboard of this machine: one for each home, started when somebody looks, found again by any server.

`python -m trl_mcp.backends.dashboard HOME LOCK SOCKET IDLE_S` waits for the first visitor, and then becomes it, once the
environment of a job's script is made. LOCK is an open file that holds the dashboard's lock: as long as that process
lives, so does the dashboard. SOCKET is open from the beginning: the first visitor waits until it is answered.
"""

import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from trl_mcp.backends import job_environment
from trl_mcp.backends.dashboard_server import POLL_S, is_needed
from trl_mcp.backends.locks import hold, is_held
from trl_mcp.environments import prepare
from trl_mcp.errors import NotPossible, TrlMcpError

IDLE_S = 6 * 3600.0
_LOCAL = "127.0.0.1"
_START_TIMEOUT_S = 20
_CLOSE_POLL_S = 0.05
_SERVER = Path(__file__).with_name("dashboard_server.py")
# As for a supervisor: the shell leaves at once, so that the dashboard is nobody's child.
_DETACHED = ("/bin/sh", "-c", '"$@" &', "sh")


def metrics_folder(home: Path) -> Path:
    """Return where the jobs of a home keep what they log to Trackio."""
    return home.absolute() / "trackio"


def open_dashboard(home: Path, script: Path, environ: Mapping[str, str], idle_s: float = IDLE_S) -> str:
    """Return the address of the home's dashboard, which the first visitor starts in the environment of `script`.

    It ends by itself when for `idle_s` seconds nobody has looked at it and nothing was logged. Raises NotPossible.
    """
    place = _Place(home)
    try:
        place.make()
        with FileLock(place.starting).acquire(timeout=_START_TIMEOUT_S):
            lock = hold(place.lock)
            if lock is None:
                return f"http://{_LOCAL}:{place.port()}"
            with os.fdopen(lock, "rb"), place.listen() as listening:
                shutil.copyfile(script, place.script)
                _start(place, environ, (lock, listening.fileno()), idle_s)
                return f"http://{_LOCAL}:{place.port()}"
    except (OSError, ValueError, Timeout, subprocess.SubprocessError) as error:
        raise NotPossible(
            f"The Trackio dashboard could not be started: {getattr(error, 'strerror', None) or error}.",
            next_step="The job is not affected; job_status tells its metrics.",
        ) from error


def close_dashboard(home: Path, seconds: float = 10) -> bool:
    """End the home's dashboard, waiting at most so many seconds, and tell whether it is over."""
    place = _Place(home)
    deadline = time.monotonic() + seconds
    if is_held(place.lock):
        place.stop.touch()
    while is_held(place.lock) and time.monotonic() < deadline:
        time.sleep(_CLOSE_POLL_S)
    return not is_held(place.lock)


class _Place:
    """The files of one home's dashboard."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.folder = self.home / "dashboard"
        self.metrics = metrics_folder(home)
        self.starting = self.folder / "starting"
        self.lock = self.folder / "lock"
        self.stop = self.folder / "stop"
        self.script = self.folder / "script.py"
        self.log = self.folder / "log.txt"
        self._port = self.folder / "port"

    def make(self) -> None:
        """Make the folders, which are nobody else's to read. Raises OSError."""
        for folder in (self.home, self.folder, self.metrics):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def port(self) -> int:
        """Return the port that was written down last. Raises OSError, ValueError."""
        return int(self._port.read_text(encoding="ascii"))

    def listen(self) -> socket.socket:
        """Open the port of the last time, or another one where that is taken, and write it down. Raises OSError."""
        self.stop.unlink(missing_ok=True)
        try:
            listening = _listen(self.port())
        except (OSError, ValueError):
            listening = _listen(0)
        self._port.write_text(str(listening.getsockname()[1]), encoding="ascii")
        return listening


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_LOCAL, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _start(place: _Place, environ: Mapping[str, str], kept: tuple[int, int], idle_s: float) -> None:
    module = (sys.executable, "-P", "-m", "trl_mcp.backends.dashboard")
    arguments = map(str, (place.home, *kept, idle_s))
    with place.log.open("wb") as log:
        subprocess.run(
            (*_DETACHED, *module, *arguments),
            cwd=place.folder,
            env=job_environment.for_supervisor(environ, {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=kept,
            start_new_session=True,
            check=True,
        )


def _is_visited(place: _Place, listening: int, idle_s: float) -> bool:
    """Wait for the first visitor; False where nobody came while the dashboard was needed."""
    since = time.time()
    while is_needed(place.metrics, place.stop, since, idle_s):
        if select.select([listening], [], [], POLL_S)[0]:
            return True
    return False


def _become(place: _Place, listening: int, idle_s: str) -> None:
    """Turn this process into the server, in the training environment and without a token."""
    script = place.script.read_text(encoding="utf-8")
    python = str(prepare(script, place.home, job_environment.for_preparing(os.environ)))
    own = {"TRACKIO_DIR": str(place.metrics), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    command = [python, "-P", str(_SERVER), str(listening), str(place.stop), idle_s]
    os.execve(python, command, job_environment.for_job(os.environ, own))  # noqa: S606 # no shell is meant


def main(arguments: list[str]) -> None:
    """Become the dashboard when somebody looks; what prevents it goes to the log."""
    home, _lock, listening, idle_s = arguments
    place = _Place(Path(home))
    try:
        if _is_visited(place, int(listening), float(idle_s)):
            _become(place, int(listening), idle_s)
    except (OSError, TrlMcpError) as error:
        sys.exit(f"The dashboard could not be started: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
