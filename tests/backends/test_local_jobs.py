"""What a job is given, what is told of it, and that a run has one job at a time."""

import json
import stat
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import anyio
import pytest

from tests.backends.conftest import MakeDesk
from tests.backends.desk import HEADER, SLEEP, Desk, new_run, read, until
from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.local import LocalBackend, is_local_id
from trl_mcp.errors import BackendUnavailable, InvalidArguments, UnknownJob

PRINT_ENVIRON = "import json, os\nprint(json.dumps(dict(os.environ)))\n"


def test_a_script_that_ends_well_is_completed(desk: Desk) -> None:
    job = desk.run("print('hello')\n")

    assert (job.stage, job.exit_code, job.message) == (Stage.COMPLETED, 0, "")
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at
    assert desk.tail(job) == ["hello"]


def test_stdout_and_stderr_are_one_log_in_the_order_of_printing(desk: Desk) -> None:
    job = desk.run("import sys\nfor i in range(50):\n    print(i, file=(sys.stdout, sys.stderr)[i % 2])\n")

    assert desk.tail(job) == [str(i) for i in range(50)]


def test_a_script_that_fails_is_told_of_with_its_exit_code(desk: Desk) -> None:
    job = desk.run("raise SystemExit(3)\n")

    assert (job.stage, job.exit_code) == (Stage.ERROR, 3)
    assert job.message == "Job failed with exit code: 3. Reason: Error."


def test_a_script_killed_by_a_signal_is_told_of_with_that_signal(desk: Desk) -> None:
    job = desk.run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")

    assert (job.stage, job.exit_code, job.message) == (Stage.ERROR, 139, "Killed by signal 11 (SIGSEGV).")


def test_a_job_sees_the_allowed_variables_and_no_others(make_desk: MakeDesk) -> None:
    desk = make_desk(HF_HOME="/hub", https_proxy="http://proxy:1", HF_TOKEN="operator", PIP_INDEX_URL="http://pip")
    seen = json.loads(desk.tail(desk.run(PRINT_ENVIRON))[0])

    assert seen["HF_HOME"] == "/hub"
    assert seen["https_proxy"] == "http://proxy:1"
    assert not {"HF_TOKEN", "SOME_API_KEY", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PIP_INDEX_URL"} & set(seen)
    assert not [name for name in seen if name.startswith("TRL_MCP_GIVEN")]


def test_a_job_is_quiet_by_default_and_the_operator_may_change_that(make_desk: MakeDesk) -> None:
    desk = make_desk(TRANSFORMERS_VERBOSITY="info")
    seen = json.loads(desk.tail(desk.run(PRINT_ENVIRON))[0])

    assert (seen["TQDM_DISABLE"], seen["HF_HUB_DISABLE_PROGRESS_BARS"], seen["PYTHONUNBUFFERED"]) == ("1", "1", "1")
    assert seen["TRANSFORMERS_VERBOSITY"] == "info"


def test_a_job_is_told_where_its_things_lie_and_its_run_tag(desk: Desk) -> None:
    job = desk.run(PRINT_ENVIRON)
    seen = json.loads(desk.tail(job)[0])

    assert seen["TRL_MCP_RUN_TAG"] == job.run_tag == read(desk.folder(job) / "job.json")["run_tag"]
    assert seen["TRL_MCP_OUTPUT"] == job.output_path == str(desk.folder(job) / "output")
    assert seen["TRL_MCP_RUN_FOLDER"] == str(desk.run_folder(job))
    assert seen["TRL_MCP_SCRIPT"] == str(desk.folder(job) / "script.py")


def test_values_for_the_job_alone_reach_it_and_win(desk: Desk) -> None:
    job = desk.run(PRINT_ENVIRON, env={"TQDM_DISABLE": "0", "TEXT": "a\nb = ü"}, secrets={"HF_TOKEN": "hf_x"})
    seen = json.loads(desk.tail(job)[0])

    assert (seen["TQDM_DISABLE"], seen["TEXT"], seen["HF_TOKEN"]) == ("0", "a\nb = ü", "hf_x")


def test_no_secret_and_no_value_is_ever_on_disk(desk: Desk) -> None:
    job = desk.start_and_see_up(SLEEP, secrets={"HF_TOKEN": "hf_verysecret"}, env={"NAME": "quiteprivate"})
    files = [path for path in desk.home.rglob("*") if path.is_file()]
    texts = b"".join(path.read_bytes() for path in files)

    assert desk.folder(job) / "job.json" in files
    assert b"HF_TOKEN" in texts
    assert b"hf_verysecret" not in texts
    assert b"quiteprivate" not in texts


def test_the_folder_of_a_job_is_the_users_alone(desk: Desk) -> None:
    job = desk.run("")

    assert stat.S_IMODE(desk.folder(job).stat().st_mode) == 0o700


def test_the_script_is_kept_as_it_was_given(desk: Desk) -> None:
    body = "text = 'ü \\r \U0001f600'\r\n"
    job = desk.start(body)

    assert anyio.run(desk.backend.script, job.id).encode() == (HEADER + body).encode()


def test_what_a_run_keeps_for_its_continuation_goes_once_it_is_completed(desk: Desk) -> None:
    job = desk.run("import os\nopen(os.environ['TRL_MCP_RUN_FOLDER'] + '/checkpoint', 'w').close()\n")

    assert job.stage is Stage.COMPLETED
    until(lambda: not desk.run_folder(job).exists(), "the run folder is removed")


def test_a_run_that_failed_is_continued_by_a_job_of_the_next_part(desk: Desk) -> None:
    body = """
import os, sys
checkpoint = os.environ["TRL_MCP_RUN_FOLDER"] + "/checkpoint"
if os.path.exists(checkpoint):
    print("from", open(checkpoint).read())
else:
    open(checkpoint, "w").write("step 5")
    sys.exit(1)
"""
    spec = desk.spec(body)
    first = desk.ended(desk.submit(spec).job)
    again = desk.submit(spec)
    second = desk.ended(again.job)

    assert (first.stage, first.part, again.already_submitted) == (Stage.ERROR, 1, False)
    assert (second.stage, second.part, second.id) == (Stage.COMPLETED, 2, f"sft-{spec.run}-2")
    assert desk.tail(second) == ["from step 5"]


def test_a_run_that_waits_runs_or_is_completed_is_not_started_again(desk: Desk) -> None:
    spec = desk.spec("import sys\nsys.stdin.read()\nprint('up')\n")
    first = desk.submit(spec)
    while_active = desk.submit(spec)
    desk.ended(first.job)
    after = desk.submit(replace(spec, timeout_s=60))

    assert (while_active.already_submitted, after.already_submitted) == (True, True)
    assert while_active.job.id == after.job.id == first.job.id
    assert after.job.stage is Stage.COMPLETED


def test_a_completed_job_whose_folder_was_removed_is_no_obstacle(desk: Desk) -> None:
    spec = desk.spec("")
    first = desk.ended(desk.submit(spec).job)
    desk.folder(first).rename(desk.home / "elsewhere")

    assert desk.submit(spec).already_submitted is False


SUBMIT = """
import json, sys, time
from pathlib import Path
import anyio
from trl_mcp.backends.base import JobSpec
from trl_mcp.backends.local import LocalBackend
home, environ, spec, then_wait = json.load(sys.stdin)
answer = anyio.run(LocalBackend(Path(home), environ=environ, grace_s=1).submit, JobSpec(**spec))
print(answer.job.id, answer.already_submitted, flush=True)
while then_wait:
    time.sleep(1)
"""


def submit_elsewhere(desk: Desk, spec: JobSpec, *, then_wait: bool = False) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=desk.environ,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([str(desk.home), desk.environ, asdict(spec), then_wait]))
    process.stdin.close()
    process.stdin = None
    return process


def test_servers_that_submit_one_run_at_once_make_one_job(desk: Desk) -> None:
    spec = desk.spec(SLEEP)
    servers = [submit_elsewhere(desk, spec) for _ in range(4)]
    answers = [server.communicate(timeout=30)[0].split() for server in servers]

    assert {job_id for job_id, _ in answers} == {f"sft-{spec.run}-1"}
    assert sorted(already for _, already in answers) == ["False", "True", "True", "True"]
    assert len(list((desk.home / "jobs").iterdir())) == 1


def test_nothing_a_job_prints_reaches_the_server_that_submitted_it(desk: Desk) -> None:
    spec = desk.spec("import os\nprint('noise')\nos.write(2, b'more noise')\nos.system('echo noise')\n")
    process = submit_elsewhere(desk, spec)
    out, err = process.communicate(timeout=30)
    job_id, _ = out.split()
    job = until(lambda: anyio.run(desk.backend.inspect, job_id), "the job")

    assert desk.ended(job).stage is Stage.COMPLETED
    assert (out, err) == (f"{job_id} False\n", "")


def test_a_submit_returns_in_a_fraction_of_a_second(desk: Desk) -> None:
    desk.run("")
    begin = time.monotonic()
    desk.start("")

    assert time.monotonic() - begin < 0.5


def test_a_run_key_that_would_leave_the_jobs_folder_is_refused(desk: Desk) -> None:
    for changes in ({"run": "../../escape"}, {"run": "3F2A9C1B7D4E"}, {"method": "a/b"}, {"method": ""}):
        with pytest.raises(InvalidArguments):
            desk.submit(desk.spec("", **changes))
    assert not (desk.home / "jobs").exists()


def test_what_cannot_be_an_environment_variable_or_a_text_is_refused(desk: Desk) -> None:
    for changes in ({"env": {"A=B": "x"}}, {"env": {"A": "x\0"}}, {"env": {"": "x"}}, {"script": "\ud800"}):
        with pytest.raises(InvalidArguments):
            desk.submit(desk.spec("", **changes))
    assert not (desk.home / "jobs").exists()


def test_a_submit_that_fails_leaves_nothing_behind(desk: Desk) -> None:
    spec = desk.spec("")
    with pytest.raises(BackendUnavailable):
        desk.submit(replace(spec, env={"HUGE": "x" * 4_000_000}))

    assert list((desk.home / "jobs").iterdir()) == []
    assert list((desk.home / "locks" / "queue").iterdir()) == []
    assert desk.ended(desk.submit(spec).job).stage is Stage.COMPLETED


def test_a_home_that_cannot_be_written_is_told_of(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    backend = LocalBackend(tmp_path / "file" / "home", environ={})

    with pytest.raises(BackendUnavailable):
        anyio.run(backend.submit, desk.spec(""))
    assert anyio.run(backend.list, 10) == []


def test_windows_is_told_what_to_use_instead(desk: Desk, tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "windows", environ={}, platform="win32")

    with pytest.raises(BackendUnavailable) as raised:
        anyio.run(backend.submit, desk.spec(""))
    assert "Hugging Face Jobs" in raised.value.next_step
    assert not (tmp_path / "windows").exists()


@pytest.mark.parametrize("text", ["sft-3f2a9c1b7d4e-1", "gkd-3f2a9c1b7d4er2-12", "convert_gguf-000000000000-1"])
def test_an_id_of_a_local_job_is_known_by_its_shape(text: str) -> None:
    assert is_local_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "..", "sft-3f2a9c1b7d4e-0", "sft-3f2a9c1b7d4e-1\n", "../sft-3f2a9c1b7d4e-1", "67c0ffee67c0ffee67c0ffee"],
)
def test_an_id_of_another_shape_is_no_job_and_touches_no_file(desk: Desk, text: str) -> None:
    assert not is_local_id(text)
    for ask in (desk.backend.inspect, desk.backend.cancel, desk.backend.logs, desk.backend.script):
        with pytest.raises(UnknownJob):
            anyio.run(ask, text)
    assert not (desk.home / "jobs").exists()


def test_an_unknown_id_is_told_of(desk: Desk) -> None:
    with pytest.raises(UnknownJob):
        anyio.run(desk.backend.inspect, f"sft-{new_run()}-1")


def test_the_newest_jobs_come_first_and_only_as_many_as_asked_for(desk: Desk) -> None:
    jobs = [desk.start("") for _ in range(4)]

    assert [job.id for job in anyio.run(desk.backend.list, 3)] == [job.id for job in reversed(jobs[1:])]
    assert anyio.run(desk.backend.list, 0) == []


def test_a_job_whose_files_were_spoilt_hides_no_other_and_is_not_overwritten(desk: Desk) -> None:
    spec = desk.spec("print('mine')\n")
    spoilt = desk.ended(desk.submit(spec).job)
    (desk.folder(spoilt) / "job.json").write_text("{")
    second = desk.ended(desk.submit(spec).job)

    assert second.part == 2
    assert [job.id for job in anyio.run(desk.backend.list, 9)] == [second.id]
    assert (desk.folder(spoilt) / "log.txt").read_text() == "mine\n"


def test_the_rest_of_a_submitter_that_was_killed_is_swept_away(desk: Desk) -> None:
    leftover = desk.home / "jobs" / f".new-sft-{new_run()}-1"
    leftover.mkdir(parents=True)
    (leftover / "script.py").touch()

    assert anyio.run(desk.backend.list, 9) == []
    desk.start("")
    assert not leftover.exists()


def test_a_submitter_killed_before_the_supervisor_started_leaves_a_job_that_can_be_started_again(desk: Desk) -> None:
    spec = desk.spec("")
    first = desk.ended(desk.submit(spec).job)
    status = desk.folder(first) / "status.json"
    status.write_text(json.dumps({"stage": "SCHEDULING"}))

    lost = desk.ended(first)
    assert (lost.stage, lost.started_at) == (Stage.ERROR, None)
    assert "start_job" in lost.message
    assert desk.submit(spec).job.part == 2
