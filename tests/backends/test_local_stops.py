"""Timeouts, attempts, and jobs that are canceled at every point of their life."""

import time

from tests.backends.conftest import MakeDesk
from tests.backends.desk import IGNORES_SIGTERM, SAVES_ON_SIGTERM, SLEEP, Desk, until
from trl_mcp.backends.base import Stage


def test_a_job_that_takes_too_long_is_ended_after_it_saved(desk: Desk) -> None:
    job = desk.run(SAVES_ON_SIGTERM, timeout_s=1)

    assert (job.stage, job.message, job.exit_code) == (Stage.ERROR, "Job timeout", 75)
    assert (desk.run_folder(job) / "checkpoint").read_text() == "7"
    desk.gone(job)


def test_a_job_that_takes_too_long_and_does_not_listen_is_killed(desk: Desk) -> None:
    job = desk.run(IGNORES_SIGTERM, timeout_s=1)

    assert (job.stage, job.message, job.exit_code) == (Stage.ERROR, "Job timeout", 137)
    desk.gone(job)


def test_a_job_without_a_timeout_is_given_all_the_time_it_needs(desk: Desk) -> None:
    job = desk.run("import time\ntime.sleep(1.5)\n")

    assert (job.stage, job.timeout_s) == (Stage.COMPLETED, None)


def test_a_failed_attempt_is_followed_by_the_next_in_the_same_folders(desk: Desk) -> None:
    body = """
import os, sys
from pathlib import Path
done = Path(os.environ["TRL_MCP_RUN_FOLDER"], "done")
tries = int(done.read_text()) if done.exists() else 0
done.write_text(str(tries + 1))
print("try", tries)
sys.exit(0 if tries == 2 else 1)
"""
    job = desk.run(body, attempts=5)

    assert (job.stage, job.attempt, job.attempts, job.exit_code) == (Stage.COMPLETED, 3, 5, 0)
    assert desk.tail(job) == ["try 0", "try 1", "try 2"]


def test_a_timeout_counts_for_each_attempt_and_the_last_one_decides(desk: Desk) -> None:
    job = desk.run(SAVES_ON_SIGTERM, timeout_s=1, attempts=2)

    assert (job.stage, job.attempt, job.message) == (Stage.ERROR, 2, "Job timeout")
    assert desk.tail(job) == ["up", "up"]


def test_a_running_job_that_is_canceled_saves_and_is_not_tried_again(desk: Desk) -> None:
    job = desk.start_and_see_up(SAVES_ON_SIGTERM, attempts=3)
    asked = desk.cancel(job)
    ended = desk.ended(job)

    assert asked.stage in (Stage.RUNNING, Stage.CANCELED)
    assert (ended.stage, ended.exit_code, ended.attempt) == (Stage.CANCELED, 75, 1)
    assert (desk.run_folder(job) / "checkpoint").read_text() == "7"
    desk.gone(job)


def test_a_canceled_job_that_ignores_the_signal_is_killed_after_the_grace(make_desk: MakeDesk) -> None:
    desk = make_desk(grace_s=0.3)
    job = desk.start_and_see_up(IGNORES_SIGTERM)
    begin = time.monotonic()
    desk.cancel(job)
    ended = desk.ended(job)

    assert (ended.stage, ended.exit_code) == (Stage.CANCELED, 137)
    assert 0.3 <= time.monotonic() - begin < 5
    desk.gone(job)


def test_a_job_canceled_in_the_queue_never_starts(desk: Desk) -> None:
    first = desk.start_and_see_up(SLEEP)
    second = desk.start("print('never')\n")
    until(lambda: "queue" in desk.look(second).message, "the second job waits")
    desk.cancel(second)
    ended = desk.ended(second)

    assert (ended.stage, ended.started_at, desk.tail(second)) == (Stage.CANCELED, None, [])
    assert desk.look(first).stage is Stage.RUNNING


def test_a_canceled_run_is_continued_by_the_next_part(desk: Desk) -> None:
    spec = desk.spec("print('up', flush=True)\nimport time\ntime.sleep(600)\n")
    first = desk.submit(spec).job
    until(lambda: desk.tail(first), "the script runs")
    desk.cancel(first)
    desk.ended(first)

    assert desk.submit(spec).job.part == 2


def test_canceling_a_job_that_is_over_changes_nothing(desk: Desk) -> None:
    job = desk.run("")

    assert desk.cancel(job) == job
    assert not (desk.folder(job) / "cancel").exists()


def test_what_a_script_leaves_running_ends_with_it(desk: Desk) -> None:
    body = """
import subprocess
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
"""
    job = desk.run(body)

    assert job.stage is Stage.COMPLETED
    desk.gone(job)
