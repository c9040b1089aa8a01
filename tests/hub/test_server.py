"""Starting and stopping emulated Hubs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub
from tests.hub.support import get, is_alive, wait_until
from tests.hub.test_jobs import submit

ROOT = Path(__file__).parents[2]


def test_stopping_leaves_no_thread_no_process_and_no_listener(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with EmulatedHub.start(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])
        job = submit(api, "sleep 600 & echo $!; wait")
        wait_until(lambda: len(hub.job_log(job.id)) == 2)
        with httpx2.Client() as client:
            url = f"{hub.endpoint}/api/jobs/alice/{job.id}/logs"
            stream = client.stream("GET", url, headers={"Authorization": f"Bearer {hub.tokens['alice']}"})
            with stream as answer:
                next(answer.iter_lines())
                pid = int(hub.job_log(job.id)[1])
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(httpx2.ConnectError):
        get(hub.endpoint)


def test_several_hubs_know_nothing_of_each_other() -> None:
    with EmulatedHub.start() as one, EmulatedHub.start() as two:
        one.add_repo("alice/m")
        assert (one.repo_ids(), two.repo_ids()) == (["alice/m"], [])
        assert get(f"{two.endpoint}/api/whoami-v2", one.tokens["alice"]).status_code == 401


def test_a_hub_started_by_hand_prints_how_to_reach_it() -> None:
    command = [sys.executable, "-m", "tests.hub"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        process.stdout.readline()
        token = process.stdout.readline().rpartition(" ")[2].strip()
        assert get(f"{endpoint}/api/whoami-v2", token).json()["name"] == "alice"
        process.terminate()
    assert process.returncode == 0


def test_an_unknown_path_is_refused(hub: EmulatedHub) -> None:
    assert get(f"{hub.endpoint}/api/nothing/of/the/kind").status_code == 404
