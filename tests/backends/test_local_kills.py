"""Jobs whose processes are killed: the status is right, nothing runs on, and the run can be continued."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.backends.conftest import MakeDesk
from tests.backends.desk import SAVES_ON_SIGTERM, SLEEP, Desk, kill, python_path, until
from tests.backends.test_local_jobs import submit_elsewhere
from trl_mcp.backends.base import Job, Stage

# A child in the group, a grandchild, and one that left for a session of its own as torchrun's workers do.
FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="sessions are left unnoticed where there is no /proc")


def test_a_killed_job_is_told_of_with_its_signal_and_leaves_no_process(desk: Desk) -> None:
    job = desk.start_and_see_up(FAMILY)
    os.kill(desk.script_process(job).pid, signal.SIGKILL)
    ended = desk.ended(job)

    assert (ended.stage, ended.exit_code, ended.message) == (Stage.ERROR, 137, "Killed by signal 9 (SIGKILL).")
    desk.gone(job)


@needs_proc
def test_a_killed_supervisor_takes_the_whole_job_with_it(desk: Desk) -> None:
    job = desk.start_and_see_up(FAMILY)
    until(lambda: len(desk.processes(job)) >= 5, "the family is complete")
    kill(desk.supervisor(job))
    desk.gone(job)
    ended = desk.look(job)

    assert (ended.stage, ended.exit_code) == (Stage.ERROR, None)
    assert "start_job continues from the last checkpoint" in ended.message
    assert ended.finished_at is not None
    assert ended == desk.look(job)


def test_a_killed_supervisor_and_a_killed_job_are_told_of_alike(desk: Desk) -> None:
    job = desk.start_and_see_up(SLEEP)
    script = desk.script_process(job)
    os.kill(desk.supervisor(job).pid, signal.SIGSTOP)
    kill(script)
    kill(desk.supervisor(job))

    assert desk.look(job).stage is Stage.ERROR
    desk.gone(job)


def test_a_supervisor_killed_while_it_waits_is_told_of_and_blocks_nobody(desk: Desk) -> None:
    first = desk.start_and_see_up(SLEEP)
    second = desk.start("")
    until(lambda: "queue" in desk.look(second).message, "the second job waits")
    third = desk.start("")
    kill(desk.supervisor(second))
    desk.cancel(first)

    assert desk.ended(third).stage is Stage.COMPLETED
    assert desk.look(second).stage is Stage.ERROR
    assert "start_job starts it again" in desk.look(second).message


@pytest.fixture
def slow_desk(make_desk: MakeDesk) -> Desk:
    """A machine where making an environment takes forever."""
    desk = make_desk("slow")
    (desk.home / "envs").unlink()
    pip = desk.home / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text("#!/bin/sh\nexec sleep 600\n")
    pip.chmod(0o755)
    return make_desk("slow", PATH=f"{pip.parent}:{desk.environ['PATH']}", PYTHONPATH=_without_pip(desk.home))


def _without_pip(folder: Path) -> str:
    """Return the folders to import from, with a pip before them that cannot be used."""
    (folder / "pip.py").write_text("raise SystemExit(1)\n")
    return f"{folder}:{python_path()}"


def _start_preparing(desk: Desk) -> Job:
    job = desk.submit(desk.spec("", script="# /// script\n# dependencies = ['anything']\n# ///\n")).job
    until(lambda: any("sleep" in process.name() for process in desk.processes(job)), "pip is asked")
    return job


def test_a_supervisor_killed_while_the_environment_is_made_stops_that_too(slow_desk: Desk) -> None:
    job = _start_preparing(slow_desk)
    kill(slow_desk.supervisor(job))

    slow_desk.gone(job)
    assert slow_desk.look(job).stage is Stage.ERROR


def test_a_job_canceled_while_its_environment_is_made_never_starts(slow_desk: Desk) -> None:
    job = _start_preparing(slow_desk)
    slow_desk.cancel(job)
    ended = slow_desk.ended(job)

    assert (ended.stage, ended.started_at) == (Stage.CANCELED, None)
    slow_desk.gone(job)


def test_the_run_of_a_killed_supervisor_is_continued_by_the_next_part(desk: Desk) -> None:
    spec = desk.spec(SLEEP)
    first = desk.submit(spec).job
    until(lambda: desk.tail(first), "the script runs")
    kill(desk.supervisor(first))
    second = desk.submit(spec)

    assert (second.already_submitted, second.job.part) == (False, 2)


def test_a_supervisor_asked_to_end_lets_the_job_save(desk: Desk) -> None:
    job = desk.start_and_see_up(SAVES_ON_SIGTERM, attempts=2)
    desk.supervisor(job).terminate()
    ended = desk.ended(job)

    assert (ended.stage, ended.exit_code, ended.attempt) == (Stage.ERROR, 75, 1)
    assert "start_job" in ended.message
    assert (desk.run_folder(job) / "checkpoint").exists()


def test_a_job_outlives_the_server_that_submitted_it(desk: Desk) -> None:
    waits_for_file = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"
    server = submit_elsewhere(desk, desk.spec(waits_for_file), then_wait=True)
    assert server.stdout is not None
    job_id = server.stdout.readline().split()[0]
    server.kill()
    server.communicate()
    job = anyio.run(desk.backend.inspect, job_id)
    until(lambda: desk.tail(job), "the script runs")
    (desk.folder(job) / "go").touch()

    assert desk.ended(job).stage is Stage.COMPLETED


def test_the_death_of_a_whole_process_group_of_a_server_does_not_reach_its_jobs(desk: Desk) -> None:
    server = submit_elsewhere(desk, desk.spec(SLEEP), then_wait=True)
    assert server.stdout is not None
    job_id = server.stdout.readline().split()[0]
    os.killpg(server.pid, signal.SIGKILL)
    server.communicate()
    job = anyio.run(desk.backend.inspect, job_id)

    until(lambda: desk.tail(job), "the script runs")
    assert desk.look(job).stage is Stage.RUNNING


def test_after_a_restart_of_the_machine_what_ran_is_over(desk: Desk, make_desk: MakeDesk) -> None:
    running = desk.start_and_see_up(SLEEP)
    waiting = desk.start("")
    until(lambda: "queue" in desk.look(waiting).message, "the second job waits")
    after = make_desk("after")  # the files as they were, and no process that knows them
    shutil.copytree(desk.home / "jobs", after.home / "jobs")
    shutil.copytree(desk.home / "locks", after.home / "locks")

    assert (after.look(running).stage, after.look(waiting).stage) == (Stage.ERROR, Stage.ERROR)
    assert after.run("").stage is Stage.COMPLETED


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"stage": "NEVER"}', '{"stage": 7}', '{"attempt": 1}'])
def test_a_status_lost_with_the_power_is_settled(desk: Desk, spoilt: str) -> None:
    job = desk.run("")
    (desk.folder(job) / "status.json").write_text(spoilt)

    until(lambda: desk.look(job).stage is Stage.ERROR, "the supervisor is gone too")


def test_the_supervisor_stays_small(desk: Desk) -> None:
    job = desk.start_and_see_up(SLEEP)

    assert desk.supervisor(job).memory_info().rss < 25_000_000


def test_the_supervisor_and_what_it_imports_is_standard_library() -> None:
    code = "import sys, trl_mcp.backends.supervisor; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"pydantic", "anyio", "mcp", "filelock", "packaging", "asyncio", "uv"} & set(loaded)
