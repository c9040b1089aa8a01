"""Where a training on this machine reports to, and that a tracker's key is told to nobody."""

from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Connect
from tests.face.answer import answer_of
from tests.face.conftest import Ask
from tests.monitor.logs import JOB, PrintedLog
from trl_mcp.app import open_context
from trl_mcp.context import CallContext
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.hub.hub import Hub
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings
from trl_mcp.tools.job_logs import JobLogs, job_logs

pytestmark = pytest.mark.anyio
KEY = "0123456789" * 4


async def test_a_local_training_says_at_once_where_its_metrics_are_shown(
    connect: Connect, ask: Ask, training: dict[str, Any]
) -> None:
    async with connect() as client:
        started = answer_of(await client.call_tool("submit_training", training)).result
        status = answer_of(await client.call_tool("job_status", {"job_id": started["job_id"]})).result
        (content,) = (await client.read_resource(started["script_uri"])).contents
    address = urlsplit(str(started["dashboard_url"]))
    assert (address.hostname, parse_qs(address.query)) == ("127.0.0.1", {"project": ["tiny-sft"]})
    assert status["dashboard_url"] == started["dashboard_url"]
    config = cast(dict[str, object], read_run(getattr(content, "text", ""))["config"])
    assert (config["report_to"], "trackio_space_id" in config) == (["trackio"], False)


async def test_without_a_tracker_there_is_no_dashboard(ask: Ask, training: dict[str, Any]) -> None:
    answer = await ask("submit_training", **training, trainer_args=["report_to=none"])
    assert "dashboard_url" not in answer.result, answer.text


async def test_a_key_that_a_job_prints_is_not_told(settings: Settings) -> None:
    allowing = replace(settings, secrets=("WANDB_API_KEY",), environ={**settings.environ, "WANDB_API_KEY": KEY})
    log = PrintedLog([f"wandb: logged in with {KEY}"])
    server = open_context(allowing, Hub("http://127.0.0.1:9"), TokenWorker(settings.home, settings.environ))
    answer = await job_logs(JobLogs.model_validate({"job_id": JOB.id}), CallContext(replace(server, local=log)))
    assert "logged in with" in str(answer)
    assert KEY not in str(answer)
