"""The tools that look after a job, asked about one in memory."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.monitor.logs import CREATED, JOB, TAG, PrintedLog
from tests.monitor.test_logs import progress
from trl_mcp.backends.base import Stage
from trl_mcp.context import CallContext, ServerContext
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.errors import InvalidArguments
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.plan import PlanStore
from trl_mcp.settings import Settings
from trl_mcp.tools.cancel_job import CancelJob, cancel_job
from trl_mcp.tools.contract import compact_text
from trl_mcp.tools.job_logs import JobLogs, JobLogsResult, job_logs
from trl_mcp.tools.job_status import JobStatus, JobStatusResult, job_status

pytestmark = pytest.mark.anyio

STEPS = [progress(kind="log", step=step, max_steps=40, loss=4.0 / step, elapsed_s=step) for step in range(10, 31)]


@pytest.fixture
def log() -> PrintedLog:
    return PrintedLog([*STEPS])


@pytest.fixture
async def context(log: PrintedLog, settings: Settings) -> CallContext:
    hub, plans = Hub("http://127.0.0.1:9"), PlanStore(settings.home / "plans")
    tokens = TokenWorker(settings.home, settings.environ)
    server = ServerContext(settings, lambda: CREATED + timedelta(seconds=60), log, hub, plans, tokens)
    return CallContext(server, token=settings.environ["HF_TOKEN"])


async def status(context: CallContext, **arguments: Any) -> JobStatusResult:
    return await job_status(JobStatus.model_validate(arguments), context)


async def logs(context: CallContext, **arguments: Any) -> JobLogsResult:
    return await job_logs(JobLogs.model_validate({"job_id": JOB.id, **arguments}), context)


async def test_a_running_job_says_how_far_it_is(context: CallContext) -> None:
    result = await status(context, job_id=JOB.id)
    assert result.progress is not None
    assert (result.progress.step, result.progress.max_steps, result.progress.percent) == (30, 40, 75)
    assert (result.stage, result.trend, result.eta_s, result.next_check_s) == ("RUNNING", "falling", 10, 5)
    assert result.metrics == ["loss=0.1333"]
    assert result.recent == []
    assert result.next_call == f'job_status(job_id="{JOB.id}", wait_seconds=20)'


async def test_without_an_id_the_newest_job_and_a_line_on_each(context: CallContext) -> None:
    result = await status(context)
    assert result.job_id == JOB.id
    assert result.recent == [f"{JOB.id} RUNNING sft, 60 s ago"]


async def test_a_failed_job_says_what_mends_it(context: CallContext, log: PrintedLog) -> None:
    log.job = replace(JOB, stage=Stage.ERROR, exit_code=1, message="The script ended with 1.")
    log.lines += [progress(kind="error", message="OutOfMemoryError: CUDA out of memory")]
    result = await status(context, job_id=JOB.id)
    assert result.diagnosis is not None
    assert result.diagnosis.code == "out_of_memory"
    assert result.next_call == result.diagnosis.fix
    assert (result.eta_s, result.next_check_s) == (None, None)


async def test_a_finished_job_says_no_next_call_and_shows_samples(context: CallContext, log: PrintedLog) -> None:
    log.job = replace(JOB, stage=Stage.COMPLETED, exit_code=0, output_path="/models/output")
    log.lines += [progress(kind="sample", prompt="1 + 1?", before="7", after="2")]
    result = await status(context, job_id=JOB.id)
    (sample,) = result.samples
    assert (sample.prompt, sample.before, sample.after) == ("1 + 1?", "7", "2")
    assert (result.output_path, result.next_check_s) == ("/models/output", None)


async def test_a_finished_training_says_what_its_result_is_and_what_its_samples_lack(
    context: CallContext, log: PrintedLog
) -> None:
    log.job = replace(JOB, stage=Stage.COMPLETED, output_path="/models/output")
    log.text = 'RUN = {"tuning": "lora", "model": "org/tiny", "merge": False}\n'
    log.lines += [progress(kind="sample", prompt="1 + 1?", before="", after="")]
    result = await status(context, job_id=JOB.id)
    assert result.activity == "the result is an adapter of tiny, which it needs"
    assert [warning.partition(",")[0] for warning in result.warnings] == ["1 of 1 sample prompts got an empty answer"]


async def test_metrics_of_preferences_are_said_in_words(context: CallContext, log: PrintedLog) -> None:
    log.lines += [progress(kind="log", step=31, max_steps=40, **{"rewards/accuracies": 0.46})]
    assert (
        await status(context, job_id=JOB.id)
    ).meaning == "prefers the chosen answer in 46 % of pairs (chance is 50 %)"


@pytest.mark.parametrize("text", ["RUN = 5\n", "RUN = {[]: 1}\n", "import this\n", "not Python"])
async def test_a_script_of_any_kind_has_a_status(context: CallContext, log: PrintedLog, text: str) -> None:
    log.job, log.text = replace(JOB, kind="script", method="script"), text
    log.lines[:] = [f"{{'loss': '{loss}', 'epoch': '0.5'}}" for loss in (4, 2)]
    result = await status(context, job_id=JOB.id)
    assert (result.loss, result.metrics, result.progress) == ("4 -> 2", ["loss=2"], None)
    assert (await logs(context, show="metrics")).lines == ["loss 4  epoch 0.5", "loss 2  epoch 0.5"]
    log.job = replace(log.job, stage=Stage.CANCELED)
    again = await status(context, job_id=JOB.id)
    assert again.next_call == f'start_job(id="{JOB.id}") (a script starts again from its beginning)'
    log.job = replace(log.job, stage=Stage.COMPLETED)
    assert (await status(context, job_id=JOB.id)).next_call == f'job_logs(job_id="{JOB.id}", show="metrics")'


@pytest.mark.parametrize("show", ["tail", "errors", "metrics", "samples", "script"])
async def test_every_part_of_a_log_can_be_read_on(context: CallContext, log: PrintedLog, show: Any) -> None:
    log.lines += [progress(kind="sample", prompt="a", after="b"), "ValueError: bad"]
    first = await logs(context, show=show)
    assert first.lines
    again = await logs(context, show=show, cursor=first.cursor)
    assert (again.lines, again.cursor) == ([], first.cursor)


async def test_a_pattern_is_taken_literally(context: CallContext, log: PrintedLog) -> None:
    log.lines += ["a.c", "abc"]
    assert (await logs(context, pattern="a.c")).lines == ["a.c"]


async def test_metrics_are_the_log_lines_of_the_job(context: CallContext, log: PrintedLog) -> None:
    log.lines += ["loss 0.0", progress(kind="log", step=31, max_steps=40, loss=0.1).replace(TAG, "f" * 16)]
    result = await logs(context, show="metrics", lines=1)
    assert result.lines == ["step 30/40  loss 0.1333  elapsed_s 30"]
    assert result.omitted == len(STEPS) - 1


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "٣", "abc", "9" * 5000])
async def test_a_cursor_of_another_shape_is_refused(context: CallContext, cursor: str) -> None:
    with pytest.raises(InvalidArguments, match="cursor of an earlier answer"):
        await logs(context, cursor=cursor)


def test_a_cursor_may_come_as_a_number() -> None:
    assert JobLogs.model_validate({"job_id": "x", "cursor": 120}).cursor == "120"


async def test_no_tool_tells_the_token(context: CallContext, log: PrintedLog) -> None:
    log.lines += [f"key {context.token}", progress(kind="log", step=31, key=context.token)] * 2
    log.job = replace(JOB, stage=Stage.ERROR, message=f"403 for {context.token}")
    said = [compact_text(await status(context, job_id=JOB.id))]
    said += [compact_text(await logs(context, show=show)) for show in ("tail", "errors", "metrics")]
    assert [text for text in said if str(context.token) in text] == []


async def test_a_cancelled_job_says_where_it_goes_on(context: CallContext, log: PrintedLog) -> None:
    log.lines += [progress(kind="checkpoint", step=30)]
    result = await cancel_job(CancelJob(job_id=JOB.id), context)
    assert (result.stage, result.resume_step) == ("CANCELED", 30)
    assert result.next_call == f'start_job(id="{JOB.id}")'
