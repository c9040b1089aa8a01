"""The Trackio dashboard of this machine, as real runs and browsers meet it."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.backends.desk import python_path, until
from tests.conftest import FAKE_TOKEN
from trl_mcp.backends.dashboard import close_dashboard, metrics_folder, open_dashboard
from trl_mcp.backends.locks import is_held
from trl_mcp.render.templates import template_source

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

LOG = """
import sys, trackio
trackio.init(project=sys.argv[1], name="0123456789ab-1", auto_log_cpu=False, auto_log_gpu=False)
for step in range(3):
    trackio.log({"train/loss": 3.0 - step, "train/global_step": step + 1})
trackio.finish()
"""


@pytest.fixture
def place(tmp_path: Path, training_home: Path) -> Generator[Path]:
    """A home that has the environment that trains; its dashboard ends with the test."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "envs").symlink_to(training_home / "envs")
    yield home
    close_dashboard(home)
    for process in processes(home):
        process.kill()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script of a job, whose environment has trackio."""
    path = tmp_path / "script.py"
    path.write_text(template_source("sft"), encoding="utf-8")
    return path


@pytest.fixture
def operator() -> Mapping[str, str]:
    """What an operator's shell holds."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"HF_TOKEN": FAKE_TOKEN, "PYTHONPATH": python_path()}


def processes(home: Path) -> list[psutil.Process]:
    """Return the living processes of a home's dashboard."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if "dashboard" in command and str(home) in command and "/bin/sh" not in command:
                found.append(process)
    return found


def log_run(python: str, home: Path, project: str = "boxes") -> None:
    """Log three points as a run does."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "TRACKIO_DIR": str(metrics_folder(home))}
    subprocess.run([python, "-c", LOG, project], env=environ, check=True, capture_output=True)


def ask(address: str, name: str, **arguments: object) -> Any:
    """Call the dashboard's API as its page does."""
    answer = httpx2.post(f"{address}/api/{name}", json={"args": [], "kwargs": arguments}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_the_dashboard_shows_what_runs_log_before_and_after_its_start(
    place: Path, script: Path, operator: Mapping[str, str], training_python: str
) -> None:
    log_run(training_python, place)
    address = open_dashboard(place, script, operator)
    assert address.startswith("http://127.0.0.1:")
    assert ask(address, "get_all_projects") == ["boxes"]
    values = ask(address, "get_metric_values", project="boxes", run="0123456789ab-1", metric_name="train/loss")
    assert [point["value"] for point in values] == [3.0, 2.0, 1.0]
    log_run(training_python, place, "other")
    assert sorted(ask(address, "get_all_projects")) == ["boxes", "other"]
    page = httpx2.get(f"{address}/?project=boxes", timeout=60)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")


def test_all_servers_of_a_home_share_one_dashboard(place: Path, script: Path, operator: Mapping[str, str]) -> None:
    with ThreadPoolExecutor(4) as threads:
        started = [threads.submit(open_dashboard, place, script, operator) for _ in range(4)]
        addresses = {each.result() for each in started}
    code = f"from pathlib import Path; from trl_mcp.backends.dashboard import open_dashboard as o; print(o(Path({str(place)!r}), Path({str(script)!r}), dict()))"
    another = subprocess.run(
        [sys.executable, "-c", code], env=dict(operator), check=True, capture_output=True, text=True
    )
    (address,) = addresses
    assert another.stdout.strip() == address
    assert ask(address, "get_all_projects") == []
    assert len(processes(place)) == 1


def test_a_closed_dashboard_comes_back_at_its_old_address(
    place: Path, script: Path, operator: Mapping[str, str]
) -> None:
    address = open_dashboard(place, script, operator)
    ask(address, "get_all_projects")
    assert close_dashboard(place)
    until(lambda: not processes(place), "the dashboard's end")
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)
    assert open_dashboard(place, script, operator) == address
    assert ask(address, "get_all_projects") == []


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_a_dashboard_that_nobody_needs_ends_by_itself(
    place: Path, script: Path, operator: Mapping[str, str], is_looked_at: bool
) -> None:
    address = open_dashboard(place, script, operator, idle_s=1 if is_looked_at else 0.1)
    if is_looked_at:
        ask(address, "get_all_projects")
    until(lambda: not is_held(place / "dashboard" / "lock"), "the end of an idle dashboard")
    assert processes(place) == []


def test_nothing_is_loaded_before_somebody_looks(place: Path, script: Path, operator: Mapping[str, str]) -> None:
    began = time.monotonic()
    address = open_dashboard(place, script, operator)
    assert time.monotonic() - began < 2  # a busy machine; mostly 0.02
    (waiting,) = until(lambda: processes(place), "the process that waits")
    script.unlink()
    assert "trl_mcp.backends.dashboard" in waiting.cmdline()
    assert ask(address, "get_all_projects") == []
    (serving,) = processes(place)
    assert serving.pid == waiting.pid
    assert any(part.endswith("dashboard_server.py") for part in serving.cmdline())


def test_a_killed_dashboard_is_started_again(place: Path, script: Path, operator: Mapping[str, str]) -> None:
    address = open_dashboard(place, script, operator)
    ask(address, "get_all_projects")
    (process,) = processes(place)
    process.kill()
    until(lambda: not is_held(place / "dashboard" / "lock"), "the dashboard's death")
    assert ask(open_dashboard(place, script, operator), "get_all_projects") == []


def test_the_dashboard_has_no_token_and_lets_nobody_write(
    place: Path, script: Path, operator: Mapping[str, str]
) -> None:
    address = open_dashboard(place, script, operator)
    entry = {"project": "boxes", "run": "forged", "metrics": {"train/loss": 0.0}}
    written = httpx2.post(f"{address}/api/bulk_log", json={"kwargs": {"logs": [entry], "hf_token": None}}, timeout=60)
    assert written.status_code >= 400, written.text
    assert ask(address, "get_all_projects") == []
    (process,) = processes(place)
    assert FAKE_TOKEN not in process.environ().values()
    assert "TRACKIO_WRITE_TOKEN" not in process.environ()
    files = [path for path in (place / "dashboard").rglob("*") if path.is_file()]
    assert not [path for path in files if b"token" in path.read_bytes().lower()]
    assert {path.stat().st_mode & 0o077 for path in (place / "dashboard", metrics_folder(place))} == {0}


def test_a_page_of_another_name_cannot_reach_the_dashboard(
    place: Path, script: Path, operator: Mapping[str, str]
) -> None:
    address = open_dashboard(place, script, operator)
    answer = httpx2.get(address, headers={"Host": "evil.example"}, timeout=60)
    assert answer.status_code == 400


def test_without_an_environment_there_is_no_dashboard_and_the_log_says_why(
    place: Path, script: Path, operator: Mapping[str, str]
) -> None:
    script.write_text("# /// script\n# dependencies = [\n# ///\n", encoding="utf-8")
    address = open_dashboard(place, script, operator)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(address, timeout=60)
    until(lambda: not is_held(place / "dashboard" / "lock"), "the end of the attempt")
    assert "no valid TOML" in (place / "dashboard" / "log.txt").read_text(encoding="utf-8")
