"""Serves Trackio's dashboard on a socket that is open already: `python dashboard_server.py SOCKET STOP IDLE_S`.

Runs in a training environment, which has trackio: nothing of this package may be imported here. It ends when the file
STOP appears, when the folder of the metrics is gone, or when for IDLE_S seconds nobody has looked and nothing was
logged. Trackio's write token is made in this process and never leaves it: nobody can write through this server.
"""

import importlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

POLL_S = 0.5
OWN_NAMES = ["127.0.0.1", "localhost"]


class Watched:
    """The application, with the time at which it was last asked for something (seconds since the epoch)."""

    def __init__(self, application: Any) -> None:
        self.asked_at = time.time()
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Note the request and answer it."""
        self.asked_at = time.time()
        await self._application(scope, receive, send)


def is_needed(folder: Path, stop: Path, asked_at: float, idle_s: float) -> bool:
    """Tell whether the metrics in a folder are still to be shown; `asked_at` is in seconds since the epoch."""
    if stop.exists() or not folder.is_dir():
        return False
    try:
        logged = [path.stat().st_mtime for kind in ("*.db", "*.db-wal") for path in folder.glob(kind)]
    except FileNotFoundError:  # a file of the database that was folded into another one
        return True
    return time.time() - max([asked_at, *logged]) <= idle_s


def end_when_due(server: Any, application: Watched, stop: Path, idle_s: float) -> None:
    """Tell the server to end once it is not needed any more."""
    folder = Path(os.environ["TRACKIO_DIR"])
    while is_needed(folder, stop, application.asked_at, idle_s):
        time.sleep(POLL_S)
    server.should_exit = True


def main(listening: socket.socket, stop: Path, idle_s: float) -> None:
    """Serve until it is time to end."""
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    dashboard, _ = importlib.import_module("trackio.server").build_starlette_app_only()
    # No page of another site may reach it through a name that leads here.
    application = Watched(TrustedHostMiddleware(dashboard, allowed_hosts=OWN_NAMES))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
    threading.Thread(target=end_when_due, args=(server, application, stop, idle_s), daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3]))
