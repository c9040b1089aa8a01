"""`trl-mcp clean` shows what is kept and frees what is named, and never what a job needs that is not over."""

from collections.abc import Generator, Mapping
from pathlib import Path

import anyio
import pytest

from tests.backends.desk import SLEEP, Desk, python_path
from tests.cli.conftest import Run
from tests.hf.desk import open_hub, spec
from tests.hub import EmulatedHub
from trl_mcp.backends.base import Job
from trl_mcp.backends.dashboard import open_dashboard
from trl_mcp.backends.hf import HfBackend
from trl_mcp.backends.locks import is_held


@pytest.fixture
def desk(home: Path, shell: Mapping[str, str]) -> Generator[Desk]:
    made = Desk(home, shell)
    yield made
    for job in anyio.run(made.backend.list, 100):
        made.cancel(job)
        made.ended(job)


def numbers(printed: str) -> dict[str, str]:
    """Return how many of each kind the table tells."""
    rows = [line.split("│") for line in printed.splitlines() if line.startswith("│")]
    return {row[1].strip(): row[2].strip() for row in rows}


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_an_empty_home_holds_nothing(trl_mcp: Run, home: Path) -> None:
    done = trl_mcp("clean")
    assert done.returncode == 0
    assert numbers(done.stdout) == {"jobs": "0", "checkpoints": "0", "environments": "0", "plans": "0", "metrics": "0"}
    assert "To free some of it: trl-mcp clean jobs checkpoints" in done.stdout


def test_looking_frees_nothing_and_tells_sizes(trl_mcp: Run, home: Path) -> None:
    kept = [
        write(home / "runs" / "0123456789ab" / "checkpoint-5" / "model.safetensors", 3_000_000),
        write(home / "plans" / "caller" / "plan-0123456789ab.json", 1000),
        write(home / "envs" / "0123456789abcdef" / "header.py", 2_000_000),
    ]
    done = trl_mcp("clean")
    shown = numbers(done.stdout)
    assert shown == {"jobs": "0", "checkpoints": "1", "environments": "1", "plans": "1", "metrics": "0"}
    assert "3.0 MB" in done.stdout
    assert "2.0 MB" in done.stdout
    assert all(path.exists() for path in kept)


def test_only_what_is_named_is_freed(trl_mcp: Run, home: Path) -> None:
    run = write(home / "runs" / "0123456789ab" / "checkpoint-5" / "model.safetensors", 10)
    plan = write(home / "plans" / "caller" / "plan-0123456789ab.json", 10)
    done = trl_mcp("clean", "plans")
    assert done.returncode == 0
    assert "freed" in done.stdout
    assert not plan.exists()
    assert run.exists()
    trl_mcp("clean", "checkpoints")
    assert not run.parent.parent.exists()


def test_a_kind_that_is_none_is_refused_before_anything_is_freed(trl_mcp: Run, home: Path) -> None:
    plan = write(home / "plans" / "caller" / "plan-0123456789ab.json", 10)
    done = trl_mcp("clean", "plans", "everything")
    assert done.returncode == 2
    assert "everything cannot be cleaned. What can: jobs, checkpoints," in done.stderr
    assert plan.exists()


def test_a_finished_job_is_freed_with_the_environment_that_uv_made(trl_mcp: Run, desk: Desk, tmp_path: Path) -> None:
    job = desk.run("print('hello')\n")
    made = list((tmp_path / "uv").glob("environments-v*/header-*"))
    assert len(made) == 1
    shown = numbers(trl_mcp("clean").stdout)
    assert (shown["jobs"], shown["environments"]) == ("1", "1")
    assert trl_mcp("clean", "jobs", "environments").returncode == 0
    assert not desk.folder(job).exists()
    assert not made[0].exists()
    assert list((desk.home / "envs").iterdir()) == []
    assert desk.run("print('again')\n").stage == "COMPLETED"


def test_a_running_job_keeps_all_that_it_needs(trl_mcp: Run, desk: Desk, tmp_path: Path) -> None:
    over = desk.run("print('hello')\n")
    running = desk.start_and_see_up(SLEEP)
    checkpoint = write(desk.home / "runs" / running.run / "checkpoint-5" / "model.safetensors", 10)
    stale = write(desk.home / "runs" / over.run / "checkpoint-5" / "model.safetensors", 10)
    metrics = write(desk.home / "trackio" / "boxes.db", 10)
    done = trl_mcp("clean", "jobs", "checkpoints", "environments", "plans", "metrics")
    assert done.returncode == 0
    shown = {"jobs": "1", "checkpoints": "1", "environments": "0", "plans": "0", "metrics": "0"}
    assert numbers(done.stdout) == shown
    assert metrics.exists()
    assert not desk.folder(over).exists()
    assert not stale.exists()
    assert checkpoint.exists()
    assert list((tmp_path / "uv").glob("environments-v*/header-*"))
    assert desk.look(running).stage == "RUNNING"


def test_the_dashboard_ends_before_its_metrics_are_freed(
    trl_mcp: Run, home: Path, shell: Mapping[str, str], tmp_path: Path
) -> None:
    script = write(tmp_path / "script.py", 10)
    address = open_dashboard(home, script, {**shell, "PYTHONPATH": python_path()})
    metrics = write(home / "trackio" / "boxes.db", 10)
    assert trl_mcp("clean", "plans").returncode == 0
    assert is_held(home / "dashboard" / "lock")
    shown = trl_mcp("clean", "metrics")
    assert numbers(shown.stdout)["metrics"] == "1"
    assert not metrics.exists()
    assert not is_held(home / "dashboard" / "lock")
    assert open_dashboard(home, script, {**shell, "PYTHONPATH": python_path()}) == address


def test_an_environment_made_by_others_is_left_to_them(trl_mcp: Run, home: Path, tmp_path: Path) -> None:
    python = write(tmp_path / "mine" / "bin" / "python", 10)
    write(home / "envs" / "0123456789abcdef" / "ready.json", 0).write_text(f'{{"python": "{python}"}}')
    assert trl_mcp("clean", "environments").returncode == 0
    assert python.exists()
    assert list((home / "envs").iterdir()) == []


def submitted(hub: EmulatedHub, locks: Path) -> Job:
    """Submit a paid job, which goes on waiting."""

    async def submit() -> Job:
        async with open_hub(hub) as opened:
            backend = HfBackend(opened, hub.tokens["alice"], "alice", locks=locks)
            return (await backend.submit(spec())).job

    return anyio.run(submit)


def test_the_bucket_is_freed_but_for_jobs_that_are_not_over(trl_mcp: Run, hub: EmulatedHub, home: Path) -> None:
    job = submitted(hub, home / "locks")
    root = hub.bucket_path("alice/trl-mcp")
    needed = write(root / "runs" / job.run / "checkpoint-5" / "model.safetensors", 10)
    stale = write(root / "runs" / "0123456789ab" / "checkpoint-5" / "model.safetensors", 4_000_000)
    other = write(root / "notes.txt", 10)
    token = {"HF_TOKEN": hub.tokens["alice"], "HF_ENDPOINT": hub.endpoint}
    shown = trl_mcp("clean", **token)
    assert numbers(shown.stdout)["bucket"] == "1"
    assert "4.0 MB" in shown.stdout
    assert "checkpoints in alice/trl-mcp" in shown.stdout
    assert stale.exists()
    assert trl_mcp("clean", "bucket", **token).returncode == 0
    assert not stale.exists()
    assert needed.exists()
    assert other.exists()
    assert numbers(trl_mcp("clean", **token).stdout)["bucket"] == "0"


def test_a_hub_that_does_not_answer_keeps_nobody_from_freeing_the_rest(trl_mcp: Run, home: Path) -> None:
    plan = write(home / "plans" / "caller" / "plan-0123456789ab.json", 10)
    nowhere = {"HF_TOKEN": "hf_" + "x" * 34, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = trl_mcp("clean", "plans", **nowhere)
    assert done.returncode == 0
    assert "The bucket could not be looked at" in done.stdout
    assert not plan.exists()
    done = trl_mcp("clean", "bucket", **nowhere)
    assert done.returncode == 1
    assert "no connection to it can be made" in done.stdout
