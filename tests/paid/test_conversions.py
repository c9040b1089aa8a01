"""Paid conversions: planned, agreed, cancelled, gone on with, run again; no GGUF file is made here."""

import json
from typing import Any

import pytest

from tests.estimate.stored_models import stored_files
from tests.face.answer import answer_of
from tests.hub import EmulatedHub
from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio
CONVERSION: dict[str, Any] = {"model": "alice/qwen3-0.6b", "quantizations": ["Q8_0", "F16"]}


@pytest.fixture(autouse=True)
def repositories(hub: EmulatedHub) -> None:
    for name in ("qwen3-0.6b", "qwen3-8b"):
        files = dict(stored_files(name))
        config = json.loads(files["config.json"]) | {"architectures": ["Qwen3ForCausalLM"]}
        hub.add_repo(f"alice/{name}", files | {"config.json": json.dumps(config)})


async def started(desk: PaidDesk, **arguments: Any) -> str:
    """Start a conversion and return its job id."""
    answer = await desk.ask("convert_gguf", **CONVERSION, **{"max_cost_usd": 1} | arguments)
    assert answer.result.get("status") == "submitted", answer.text
    return answer.result["job_id"]


async def run_of(desk: PaidDesk, uri: str) -> dict[str, Any]:
    """Return the RUN literal of a script."""
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    return read_run(getattr(content, "text", ""))


async def test_a_plan_of_a_conversion_is_started_once(desk: PaidDesk) -> None:
    plan = (await desk.ask("convert_gguf", **CONVERSION)).result
    assert plan["status"] == "planned"
    answers = [(await desk.ask("start_job", id=plan["plan_id"])).result for _ in range(2)]
    (job,) = desk.hub.jobs()
    assert [(each["status"], each["job_id"]) for each in answers] == [
        ("submitted", job["id"]),
        ("already_submitted", job["id"]),
    ]
    assert (job["labels"]["kind"], job["labels"]["method"]) == ("conversion", "convert_gguf")
    assert job["environment"]["TRL_MCP_PLAN"] == plan["plan_id"]
    assert float(job["environment"]["TRL_MCP_CEILING_USD"]) == plan["usd_ceiling"]


async def test_a_plan_whose_model_has_moved_on_is_refused_with_both_commits(desk: PaidDesk) -> None:
    plan = (await desk.ask("convert_gguf", **CONVERSION)).result
    sha = desk.hub.commit_files("alice/qwen3-0.6b", {"README.md": "new"})
    refused = await desk.ask("start_job", id=plan["plan_id"])
    desk.check_refusal(refused, "the model has changed from alice/qwen3-0.6b@", f"@{sha}", "Nothing was started.")
    assert desk.hub.jobs() == []


async def test_a_cancelled_conversion_goes_on_in_the_same_place(desk: PaidDesk) -> None:
    job_id = await started(desk)
    cancelled = (await desk.ask("cancel_job", job_id=job_id)).result
    assert (cancelled["stage"], cancelled["next_call"]) == ("CANCELED", f'start_job(id="{job_id}")')
    plan = (await desk.ask("start_job", id=job_id)).result
    assert plan["status"] == "planned"
    assert (await desk.ask("start_job", id=plan["plan_id"])).result["status"] == "submitted"
    first, second = desk.hub.jobs()
    assert (first["labels"]["run"], second["labels"]["part"]) == (second["labels"]["run"], "2")
    for name in ("TRL_MCP_RUN_FOLDER", "TRL_MCP_OUTPUT_REPO"):
        assert first["environment"][name] == second["environment"][name]
    before, after = [await run_of(desk, f"job://alice/{job['id']}/script") for job in (first, second)]
    assert before == after


async def test_a_complete_conversion_is_made_again_beside_the_first(desk: PaidDesk) -> None:
    job_id = await started(desk)
    desk.hub.end_job(job_id, ran_s=600)
    again = (await desk.ask("start_job", id=job_id, max_cost_usd=1)).result
    first, second = desk.hub.jobs()
    assert (again["status"], second["labels"]["run"]) == ("submitted", f"{first['labels']['run']}r1")
    assert again["output_repo"] == f"{first['environment']['TRL_MCP_OUTPUT_REPO']}r1"
    async with desk.client() as client:
        same = answer_of(await client.call_tool("convert_gguf", CONVERSION | {"max_cost_usd": 1})).result
    assert (same["status"], same["job_id"]) == ("already_submitted", job_id)


async def test_a_machine_without_the_room_is_refused_and_one_with_it_is_not(desk: PaidDesk) -> None:
    large = CONVERSION | {"model": "alice/qwen3-8b", "max_cost_usd": 100, "timeout": "3h"}
    refused = await desk.ask("convert_gguf", **large, hardware="cpu-basic")
    desk.check_refusal(refused, "gguf.room", "GB of memory, and cpu-basic has 16 GB", 'hardware="auto"')
    assert desk.hub.jobs() == []
    assert (await desk.ask("convert_gguf", **large, hardware="auto")).result["status"] == "submitted"
    assert desk.hub.jobs()[0]["flavor"] != "cpu-basic"


async def test_what_cannot_be_converted_is_refused_without_a_way_round_it(desk: PaidDesk, hub: EmulatedHub) -> None:
    hub.commit_files("alice/qwen3-0.6b", {"config.json": '{"architectures": ["OPTForCausalLM"]}'})
    refused = await desk.ask("convert_gguf", **CONVERSION, max_cost_usd=1)
    desk.check_refusal(refused, "gguf.architecture", "Nothing was started.")
    assert "accept=" not in refused.text
