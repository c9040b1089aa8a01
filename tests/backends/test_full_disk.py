"""Jobs that fill the disk: the status is right, and says what happened."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NO_SPACE = "No space left on device"
ROOT = Path(__file__).parents[2]
MOUNT = 'mount -t tmpfs -o size=2m,mode=700 none "$1" && ln -s "$2" "$1/envs"'


@pytest.fixture(scope="module")
def seen(
    tmp_path_factory: pytest.TempPathFactory, shared_envs: Path, environ: dict[str, str]
) -> dict[str, dict[str, Any]]:
    disk = tmp_path_factory.mktemp("disk")
    private = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    arguments = ["sh", str(disk), str(shared_envs)]
    try:
        subprocess.run([*private, MOUNT, *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small disk can be mounted here: that needs Linux and user namespaces")
    command = f'{MOUNT} && exec "$3" -m tests.backends.small_disk "$1"'
    done = subprocess.run(
        [*private, command, *arguments, sys.executable],
        check=False,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answer


def test_the_disk_is_large_enough_for_a_job(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["first"]["stage"] == "COMPLETED"


@pytest.mark.parametrize("case", ["fails", "output"])
def test_a_job_that_fails_on_a_full_disk_says_so(seen: dict[str, dict[str, Any]], case: str) -> None:
    assert seen[case]["stage"] == "ERROR"
    assert seen[case]["exit_code"] not in (None, 0)
    assert NO_SPACE in seen[case]["message"]
    assert seen[case]["read_again"]


def test_a_job_that_ends_well_on_a_full_disk_is_completed(seen: dict[str, dict[str, Any]]) -> None:
    assert (seen["ends well"]["stage"], seen["ends well"]["exit_code"]) == ("COMPLETED", 0)
    assert seen["ends well"]["read_again"]


def test_a_job_can_be_canceled_on_a_full_disk(seen: dict[str, dict[str, Any]]) -> None:
    assert (seen["cancel"]["stage"], seen["cancel"]["written"]) == ("CANCELED", "CANCELED")


def test_a_killed_supervisor_is_told_of_on_a_full_disk(seen: dict[str, dict[str, Any]]) -> None:
    assert (seen["supervisor killed"]["stage"], seen["supervisor killed"]["written"]) == ("ERROR", "ERROR")
    assert NO_SPACE in seen["supervisor killed"]["message"]


def test_a_job_submitted_on_a_full_disk_is_refused_and_leaves_nothing(seen: dict[str, dict[str, Any]]) -> None:
    assert NO_SPACE in seen["submit"]["refused"]
    assert seen["submit"]["left"] == []
