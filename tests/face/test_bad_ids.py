"""Ids that name no job or plan are refused, whatever their shape."""

from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError

from tests.conftest import FAKE_TOKEN, Connect
from tests.face.conftest import Refuses

pytestmark = pytest.mark.anyio

JOB_TOOLS = [("job_status", "job_id"), ("job_logs", "job_id"), ("cancel_job", "job_id"), ("start_job", "id")]
ODD_IDS = [
    "",
    " ",
    "..",
    "../../etc/passwd",
    "sft-3f2a9c1b7d4e-1/../../../etc",
    "local/../sft-3f2a9c1b7d4e-1",
    "/etc/passwd",
    "sft-3f2a9c1b7d4e",
    "sft-3f2a9c1b7d4e-0",
    "sft-3f2a9c1b7d4e-01",
    "SFT-3F2A9C1B7D4E-1",
    "6881a7c7b8f5e2d1c0a9b8c7",
    "alice/sft-3f2a9c1b7d4e-1",
    "https://huggingface.co/jobs/alice/6881a7c7b8f5e2d1c0a9b8c7",
    "http://[broken",
    "job://alice/sft-3f2a9c1b7d4e-1/script",
    "a\0b",
    "x" * 10_000,
]
FORMS = [
    "sft-3f2a9c1b7d4e-1",
    " `sft-3f2a9c1b7d4e-1` ",
    "local/sft-3f2a9c1b7d4e-1",
    "job://local/sft-3f2a9c1b7d4e-1/script",
    "https://huggingface.co/jobs/local/sft-3f2a9c1b7d4e-1/",
]
UNKNOWN_PLANS = ["plan-000000000000", "plan-", "plan-../x", "plan-\0", "plan-" + "0" * 10_000]


@pytest.mark.parametrize(("tool", "argument"), JOB_TOOLS)
@pytest.mark.parametrize("job_id", ODD_IDS[2:])
async def test_an_id_of_another_shape_names_no_job(refuses: Refuses, tool: str, argument: str, job_id: str) -> None:
    answer = await refuses(["No job has the id", "sft-3f2a9c1b7d4e-1", "job_status()"], tool, **{argument: job_id})
    assert len(answer.text) < 400


@pytest.mark.parametrize(("tool", "argument"), JOB_TOOLS[1:])
@pytest.mark.parametrize("job_id", ODD_IDS[:2])
async def test_an_empty_id_names_no_job(refuses: Refuses, tool: str, argument: str, job_id: str) -> None:
    await refuses(["No job has the id", "job_status()"], tool, **{argument: job_id})


@pytest.mark.parametrize(("tool", "argument"), JOB_TOOLS)
@pytest.mark.parametrize("job_id", FORMS)
async def test_every_form_of_an_id_is_understood(refuses: Refuses, tool: str, argument: str, job_id: str) -> None:
    await refuses(["No local job has the id 'sft-3f2a9c1b7d4e-1'", "job_status()"], tool, **{argument: job_id})


async def test_without_any_job_the_newest_is_refused_with_how_to_start_one(refuses: Refuses) -> None:
    await refuses(["There are no jobs yet.", "submit_training"], "job_status")


@pytest.mark.parametrize("plan_id", UNKNOWN_PLANS)
async def test_an_unknown_plan_is_refused_with_how_to_make_one(refuses: Refuses, home: Path, plan_id: str) -> None:
    answer = await refuses(["There is no plan", "dry_run=true", "Nothing was started."], "start_job", id=plan_id)
    assert len(answer.text) < 400
    assert [path.name for path in home.iterdir()] == ["envs"]


@pytest.mark.parametrize("arguments", [{"trainer_args": ["max_steps=9"]}, {"timeout": "2h"}, {"max_steps": 9}])
async def test_a_plan_cannot_be_changed_when_it_is_started(refuses: Refuses, arguments: dict[str, Any]) -> None:
    await refuses(["as it was agreed", "dry_run=true"], "start_job", id="plan-000000000000", **arguments)


@pytest.mark.parametrize(
    "uri",
    [
        "plan://plan-000000000000/script",
        "plan://..%2F..%2Fsecret/script",
        "job://local/sft-3f2a9c1b7d4e-1/script",
        "job://alice/sft-3f2a9c1b7d4e-1/script",
        "job://local/..%2F..%2Fsecret/script",
        "job://local/nothing",
    ],
)
async def test_the_script_of_what_is_not_there_cannot_be_read(connect: Connect, home: Path, uri: str) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert [word for word in (str(home), FAKE_TOKEN, "Traceback") if word in str(caught.value)] == []
    assert [path.name for path in home.iterdir()] == ["envs"]
