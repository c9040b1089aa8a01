"""An agent that calls again and again: the same call over stdio, to two server processes, is one job."""

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.face.answer import Answer, answer_of
from tests.paid.desk import TRAINING, PaidDesk

pytestmark = pytest.mark.anyio


async def test_twenty_calls_at_once_to_two_server_processes_are_one_job(desk: PaidDesk) -> None:
    paths = ":".join([str(Path.cwd() / "server"), *filter(None, sys.path)])
    environ = dict(desk.environ) | {"PYTHONPATH": paths, "TRL_MCP_MAX_USD_PER_DAY": "0.02"}
    server = StdioServerParameters(command=sys.executable, args=["-m", "trl_mcp"], env=environ)
    answers: list[Answer] = []

    async def submit(client: Any) -> None:
        answers.append(answer_of(await client.call_tool("submit_training", TRAINING | {"max_cost_usd": 1})))

    async with (
        Client(stdio_client(server)) as one,
        Client(stdio_client(server)) as other,
        anyio.create_task_group() as group,
    ):
        for number in range(20):
            group.start_soon(submit, (one, other)[number % 2])
    (job,) = desk.hub.jobs()
    assert [answer.text for answer in answers if answer.is_error] == []
    assert sorted(answer.result["status"] for answer in answers) == ["already_submitted"] * 19 + ["submitted"]
    assert {answer.result["job_id"] for answer in answers} == {job["id"]}
