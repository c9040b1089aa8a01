"""A job's report: how long, what it does, and after a failure the cause and the mend."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.monitor.logs import CREATED, JOB, TAG, PrintedLog
from trl_mcp.backends.base import Job, LogPiece, Stage
from trl_mcp.monitor.status import JobReport, report_job

pytestmark = pytest.mark.anyio

TOKEN = "hf_" + "aB3" * 10
NOW = CREATED + timedelta(seconds=100)
FAILED = replace(JOB, stage=Stage.ERROR, exit_code=1, finished_at=NOW, message="The script ended with 1.")


def progress(**fields: Any) -> str:
    return f"TRL_MCP {TAG} {json.dumps(fields)}"


async def report(lines: list[str], job: Job = JOB, secrets: tuple[str, ...] = ()) -> JobReport:
    return await report_job(PrintedLog(lines, job), job, NOW, iter(secrets))


@pytest.mark.parametrize(
    ("lines", "message", "code", "fix"),
    [
        ([], "Job timeout after 60 s.", "timeout", 'start_job(id="sft-3f2a9c1b7d4e-1", timeout="60m")'),
        (["OSError: [Errno 28] No space left on device"], "", "disk_full", "Free some disk space"),
        (["torch.OutOfMemoryError: CUDA out of memory."], "", "out_of_memory", "per_device_train_batch_size=1"),
        ([progress(kind="error", message="no row of x can be trained on")], "", "no_rows", 'show="errors"'),
        ([progress(kind="error", message="reward function a returned 1 values")], "", "reward", "submit_training"),
        ([progress(kind="error", message="reward_code cannot be run: NameError")], "", "reward", "Correct the reward"),
        ([], "The environment could not be made: no torch.", "environment", "job_logs"),
        ([], "Ended by signal 9.", "killed", "start_job"),
        (["ValueError: odd"], "", "failed", 'show="errors"'),
    ],
)
async def test_a_failure_has_a_cause_and_a_call_that_mends_it(
    lines: list[str], message: str, code: str, fix: str
) -> None:
    diagnosis = (await report(lines, replace(FAILED, message=message))).diagnosis
    assert diagnosis is not None
    assert diagnosis.code == code
    assert fix in diagnosis.fix
    assert diagnosis.evidence


@pytest.mark.parametrize(
    ("where", "message", "code", "fix"),
    [
        (
            "access",
            "the result could not be pushed: HF_TOKEN may not write to alice/m (403); it needs the role write",
            "access",
            'Set an HF_TOKEN that may write to alice/m, then start_job(id="sft-3f2a9c1b7d4e-1")',
        ),
        (
            "access",
            "the result could not be pushed: alice/m holds files that are not of this run (3f2a9c1b7d4e), and nothing",
            "overwrite",
            "another output_repo than alice/m",
        ),
        (
            "push",
            "the model could not be pushed: the Hub takes no more requests for now (429). A continuation only pushes",
            "push",
            'start_job(id="sft-3f2a9c1b7d4e-1")',
        ),
        (
            "push",
            "the model could not be pushed: [Errno 28] No space left on device",
            "disk_full",
            "Free some disk space",
        ),
        (
            "training",
            "HfHubHTTPError: Client error '402 Payment Required' for url",
            "no_credits",
            'Add credits for local, then start_job(id="sft-3f2a9c1b7d4e-1")',
        ),
    ],
)
async def test_what_the_hub_refused_a_job_has_a_cause_and_a_mend(where: str, message: str, code: str, fix: str) -> None:
    lines = [progress(kind="error", where=where, message=message), "ended"]
    diagnosis = (await report(lines, replace(FAILED, output_repo="alice/m"))).diagnosis
    assert diagnosis is not None
    assert (diagnosis.code, diagnosis.evidence) == (code, message)
    assert fix in diagnosis.fix


@pytest.mark.parametrize(
    ("line", "code", "fix"),
    [
        ("ModuleNotFoundError: No module named 'peft'", "module_missing", 'dependencies=["<the package>"]'),
        ("sft.py: error: unrecognized arguments: --warmup_ratio 0.1", "arguments", "other script_args"),
        ("ValueError: Your setup doesn't support bf16/gpu. You need to assign use_cpu", "no_gpu", '"--use_cpu"'),
        ("FileNotFoundError: Couldn't find any data file at /data/a.jsonl.", "file_missing", "absolute path"),
        ("OSError: We couldn't connect to 'https://huggingface.co' to load the files", "hub_unreachable", "start_job("),
        ("ValueError: odd", "failed", 'show="errors"'),
    ],
)
async def test_what_stops_scripts_most_often_has_a_cause_and_a_mend(line: str, code: str, fix: str) -> None:
    diagnosis = (await report([line], replace(FAILED, kind="script", message="exit code 1"))).diagnosis
    assert diagnosis is not None
    assert (diagnosis.code, diagnosis.evidence) == (code, line)
    assert fix in diagnosis.fix


async def test_a_job_that_nobody_pays_for_is_told_from_a_failed_script() -> None:
    message = "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs."
    diagnosis = (await report([], replace(FAILED, message=message))).diagnosis
    assert diagnosis is not None
    assert (diagnosis.code, diagnosis.evidence) == ("no_credits", message)


async def test_a_repository_that_is_not_named_is_still_told_of() -> None:
    line = progress(kind="error", where="access", message="the result could not be pushed: HF_TOKEN is not set")
    diagnosis = (await report([line], FAILED)).diagnosis
    assert diagnosis is not None
    assert diagnosis.fix.startswith("Set an HF_TOKEN that may write to the output repository, then start_job(")


async def test_the_log_of_a_job_that_waits_for_its_first_attempt_is_not_asked_for() -> None:
    class Unheard(PrintedLog):
        async def logs(self, job_id: str, *, tail: int | None = None, cursor: int | None = None) -> LogPiece:
            raise AssertionError(job_id)

    waiting = replace(JOB, stage=Stage.SCHEDULING, started_at=None)
    assert (await report_job(Unheard(job=waiting), waiting, NOW, ())).progress.step == 0
    retried = replace(waiting, attempt=2)
    lines = [progress(kind="log", step=7, max_steps=9)]
    assert (await report(lines, retried)).progress.step == 7


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.ERROR])
async def test_only_a_failure_is_diagnosed(stage: Stage) -> None:
    assert (await report(["CUDA out of memory"], replace(JOB, stage=stage))).diagnosis is None


async def test_nothing_in_a_report_tells_secrets() -> None:
    lines = [
        progress(kind="sample", prompt=f"the key is {TOKEN}", after="sesame-open"),
        progress(kind="warning", message=f"{TOKEN} opens sesame-open"),
        progress(kind="log", step=1, note=TOKEN),
        f"first {TOKEN} sesame-open",
        f"Error: second {TOKEN} sesame-open",
        progress(kind="error", message=f"401 for {TOKEN} and sesame-open"),
    ]
    for job in (FAILED, replace(FAILED, message=f"403 for {TOKEN} and sesame-open")):
        for printed in (lines, []):
            found = await report(printed, job, secrets=("sesame-open",))
            assert [word for word in (TOKEN, "sesame-open") if word in str(found)] == []


async def test_evidence_carries_no_terminal_codes() -> None:
    diagnosis = (await report([progress(kind="error", message="\x1b[31mbad\x1b[0m")], FAILED)).diagnosis
    assert diagnosis is not None
    assert diagnosis.evidence == "bad"


async def test_times_are_those_of_the_job() -> None:
    started = replace(JOB, started_at=CREATED + timedelta(seconds=30), timeout_s=90)
    found = await report([], started)
    assert (found.queued_s, found.running_s, found.timeout_left_s) == (30, 70, 20)


async def test_a_job_that_waits_has_no_running_time() -> None:
    found = await report([], replace(JOB, stage=Stage.SCHEDULING, started_at=None, timeout_s=90))
    assert (found.queued_s, found.running_s, found.timeout_left_s) == (100, None, None)


async def test_a_look_is_worth_while_after_a_tenth_of_the_time_left() -> None:
    fast, slow = [
        [progress(kind="log", step=step, max_steps=1000, elapsed_s=step * pace) for step in (10, 20)]
        for pace in (0.1, 0.3)
    ]
    assert (await report([])).next_check_s == 5
    assert (await report(fast)).next_check_s == 10
    assert (await report(slow)).next_check_s == 29
    assert (await report(slow, FAILED)).next_check_s is None


SCRIPT = replace(JOB, kind="script", method="script")
PRINTED = [
    "\r  0%|   | 0/9 [00:00<?, ?it/s]",
    "{'loss': '2.5', 'epoch': '0.1'}",
    "\r 33%|#  | 3/9 [00:06<00:12, 2s/it]",
]


async def test_the_progress_of_a_script_is_read_from_what_its_trainer_prints() -> None:
    found = await report(PRINTED, SCRIPT)
    assert (found.progress.step, found.progress.max_steps, found.progress.metrics) == (3, 9, {"loss": 2.5})
    assert (found.progress.eta_s, found.activity) == (12, "")
    assert (await report(PRINTED)).progress.step == 0


async def test_progress_lines_of_a_script_come_before_what_else_it_prints() -> None:
    found = await report([*PRINTED, progress(kind="log", step=1, max_steps=2, loss=0.5)], SCRIPT)
    assert (found.progress.step, found.progress.max_steps, found.progress.metrics) == (1, 2, {"loss": 0.5})


async def test_of_a_script_it_says_only_what_is_known() -> None:
    assert (await report(["Loading"], SCRIPT)).activity == "running; nothing in its log tells yet how far it is"
    last = ["\r100%|###| 9/9 [00:18<00:00, 2s/it]"]
    assert (await report(PRINTED + last, SCRIPT)).activity == "running; its training is at the last step"
    assert (await report(PRINTED, replace(SCRIPT, stage=Stage.COMPLETED, message="done"))).activity == "done"


async def test_no_metric_of_a_script_tells_secrets() -> None:
    lines = [f"{{'{TOKEN}': 1.0, 'sesame-open': 1.0, 'loss': 1.0, 'epoch': 1.0}}"]
    found = await report(lines, SCRIPT, secrets=("sesame-open",))
    assert found.progress.metrics == {"loss": 1.0}


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        ("Ended by signal 9.", 'start_job(id="sft-3f2a9c1b7d4e-1") (a script starts again from its beginning)'),
        ("Job timeout after 60 s.", 'timeout="60m") (a script starts again from its beginning)'),
        ("CUDA out of memory", "Submit the script again with smaller batches (script_args)"),
    ],
)
async def test_a_script_that_failed_begins_anew(message: str, fix: str) -> None:
    diagnosis = (await report([], replace(FAILED, kind="script", message=message))).diagnosis
    assert diagnosis is not None
    assert fix in diagnosis.fix


async def test_it_says_what_the_job_does() -> None:
    assert (await report([])).activity == "loading packages, model and data"
    assert (await report([progress(kind="log", step=1, max_steps=9)])).activity == ""
    assert (await report([progress(kind="log", step=9, max_steps=9)])).activity == "saving the model"
    assert (await report([], FAILED)).activity == "The script ended with 1."
