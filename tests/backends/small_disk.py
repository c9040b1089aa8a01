"""Runs jobs on a disk that they fill: `python -m tests.backends.small_disk MOUNTPOINT`, started by test_full_disk.py.

It runs in a mount namespace of its own, so that the small disk is nobody else's, and prints what it saw as JSON.
"""

import json
import os
import sys
from pathlib import Path

from tests.backends.desk import Desk, kill, until
from trl_mcp.backends.base import Job
from trl_mcp.errors import BackendUnavailable

# Fills the disk through the log, which leaves no room for a traceback, and lives on until it is told to go.
FILL = """
import os, sys
piece = b"x" * 4095 + b"\\n"
while True:
    try:
        os.write(1, piece)
    except OSError:
        break
"""
FILL_AND_FAIL = FILL + "print('one more line')\n"
FILL_AND_END_WELL = FILL + "os._exit(0)\n"
FILL_AND_WAIT = FILL + "import time\ntime.sleep(600)\n"
FILL_OUTPUT = """
import os
with open(os.environ["TRL_MCP_OUTPUT"] + "/model", "wb", buffering=0) as file:
    while True:
        file.write(b"x" * 4096)
"""


def _room(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def _told(job: Job) -> dict[str, object]:
    return {"stage": job.stage, "message": job.message, "exit_code": job.exit_code}


def _empty(desk: Desk, job: Job) -> None:
    """Make room again, as a person would."""
    for path in (desk.folder(job) / "log.txt", desk.folder(job) / "output" / "model"):
        if path.exists():
            os.truncate(path, 0)


def _ended_by_itself(desk: Desk, body: str) -> dict[str, object]:
    job = desk.run(body)
    told = _told(job) | {"read_again": _told(desk.look(job)) == _told(job), "room": _room(desk.home)}
    _empty(desk, job)
    return told


def _stopped(desk: Desk, how: str) -> dict[str, object]:
    job = desk.start(FILL_AND_WAIT)
    until(lambda: _room(desk.home) == 0, "the disk is full")
    if how == "cancel":
        desk.cancel(job)
    else:
        kill(desk.supervisor(job))
    told = _told(desk.ended(job))
    written = json.loads((desk.folder(job) / "status.json").read_bytes())["stage"]
    _empty(desk, job)
    return told | {"written": written}


def _submit_on_full_disk(desk: Desk) -> dict[str, object]:
    with (desk.home / "filler").open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(b"x" * 4096)
            except OSError:
                break
    before = sorted(path.name for path in (desk.home / "jobs").iterdir())
    try:
        desk.start("")
    except BackendUnavailable as error:
        after = sorted(path.name for path in (desk.home / "jobs").iterdir())
        return {"refused": error.what, "left": [name for name in after if name not in before]}
    finally:
        (desk.home / "filler").unlink()
    return {"refused": ""}


def main(home: Path) -> None:
    """Run every case and print what was seen."""
    desk = Desk(home, dict(os.environ))
    try:
        seen = {
            "first": _told(desk.run("")),
            "fails": _ended_by_itself(desk, FILL_AND_FAIL),
            "ends well": _ended_by_itself(desk, FILL_AND_END_WELL),
            "output": _ended_by_itself(desk, FILL_OUTPUT),
            "cancel": _stopped(desk, "cancel"),
            "supervisor killed": _stopped(desk, "kill"),
            "submit": _submit_on_full_disk(desk),
        }
    finally:
        desk.clear()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
