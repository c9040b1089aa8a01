"""Hardware and timeout left to the estimate: chosen below the cap, agreed in the plan, and no part of the run's name."""

import re
from typing import Any, cast

import pytest

from tests.estimate.stored_models import stored_files
from tests.hub import EmulatedHub
from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio
AUTO: dict[str, Any] = {"model": "alice/qwen3-0.6b", "hardware": None, "timeout": None}


@pytest.fixture(autouse=True)
def models(hub: EmulatedHub) -> None:
    for name in ("qwen3-0.6b", "llama-2-7b", "llama-3-70b"):
        hub.add_repo(f"alice/{name}", stored_files(name))


async def script_of(desk: PaidDesk, uri: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    return getattr(content, "text", "")


async def split_of(desk: PaidDesk, uri: str) -> tuple[int, int]:
    config = cast(dict[str, int], read_run(await script_of(desk, uri))["config"])
    return config["per_device_train_batch_size"], config["gradient_accumulation_steps"]


async def test_hardware_and_timeout_left_open_come_back_as_a_plan_that_start_job_starts(
    desk_of_each_era: PaidDesk,
) -> None:
    desk = desk_of_each_era
    plan = (await desk.submit(**AUTO)).result
    assert (plan["status"], plan["verdict"]) == ("planned", "fits")
    assert 0 < plan["usd_expected"] < plan["usd_ceiling"]
    assert 0 < plan["hours_low"] <= plan["hours_high"] < plan["timeout_s"] / 3600
    assert plan["timeout_s"] % 900 == 0
    assert "the cheapest that fits: fits" in plan["where"]
    script = await script_of(desk, plan["script_uri"])
    started = (await desk.ask("start_job", id=plan["plan_id"])).result
    assert started["status"] == "submitted"
    (job,) = desk.hub.jobs("alice")
    assert job["flavor"] in plan["where"]
    assert job["timeout"] == plan["timeout_s"]
    assert await script_of(desk, started["script_uri"]) == script
    assert f'flavor = "{job["flavor"]}"' in script


async def test_with_a_cap_the_job_starts_at_once_and_the_same_call_finds_it(desk: PaidDesk) -> None:
    first = await desk.submit(**AUTO, max_cost_usd=2)
    again = await desk.submit(**AUTO, max_cost_usd=2)
    assert (first.result["status"], again.result["status"]) == ("submitted", "already_submitted")
    assert first.result["job_id"] == again.result["job_id"]
    assert first.result["usd_ceiling"] <= 2


async def test_the_choice_stays_below_the_cap_or_is_refused_with_the_ceiling(desk: PaidDesk) -> None:
    await desk.refused("money.cap", "max_cost_usd allows $0.01", **AUTO, max_cost_usd=0.01)
    limited = desk.with_settings(TRL_MCP_MAX_USD_PER_JOB="0.005")
    await limited.refused("TRL_MCP_MAX_USD_PER_JOB allows", **AUTO, max_cost_usd=5)


async def test_what_no_machine_holds_is_refused_with_the_nearest(desk: PaidDesk) -> None:
    answer = await desk.refused(
        "hw.memory", "Nearest: full on", "does not fit", **AUTO | {"model": "alice/llama-3-70b"}, tuning="full"
    )
    assert answer.result["verdict"] == "no"
    assert 'tuning="lora"' in answer.text


async def test_hardware_that_is_named_and_too_small_is_refused_before_it_costs(desk: PaidDesk) -> None:
    named = {"model": "alice/llama-2-7b", "tuning": "full", "hardware": "a10g-large"}
    answer = await desk.refused("hw.memory", "full on a10g-large: does not fit", **named)
    assert answer.result["peak_gb"] > 50
    fitting = await desk.submit(**named | {"hardware": "a100-large", "timeout": None})
    assert (fitting.result["status"], fitting.result["verdict"]) == ("planned", "fits")


async def test_a_tight_machine_is_a_warning_where_it_is_named_and_no_choice_for_auto(desk: PaidDesk) -> None:
    given = {"model": "alice/llama-3-70b", "tuning": "lora", "timeout": None}
    named = await desk.submit(**given, hardware="h200")
    assert (named.result["status"], named.result["verdict"]) == ("planned", "tight")
    assert [finding["code"] for finding in named.result["findings"]] == ["hw.tight"]
    await desk.refused('hardware="h200" to take the risk', **given, hardware="auto", max_cost_usd=500)


async def test_a_model_whose_size_is_not_known_needs_hardware_and_a_timeout(desk: PaidDesk) -> None:
    await desk.refused('hardware cannot be "auto"', "are not known", "t4-small $", hardware="auto", timeout=None)
    await desk.refused("needs a timeout", "are not known", hardware="t4-small", timeout=None)
    answer = await desk.submit(hardware="t4-small", timeout="1h")
    assert answer.result["status"] == "planned"
    assert "verdict" not in answer.result


async def test_the_batch_is_split_as_memory_allows_over_all_gpus_and_keeps_its_size(desk: PaidDesk) -> None:
    for hardware, gpus in (("t4-small", 1), ("l4x4", 4), ("h200x8", 8)):
        plan = await desk.submit(model="alice/qwen3-0.6b", hardware=hardware, timeout="1h", batch_size=32)
        device, steps = await split_of(desk, plan.result["script_uri"])
        assert device * steps * gpus == 32, hardware
        assert "batch_size 32 (" in plan.result["recipe"]


async def test_a_split_that_is_given_is_kept(desk: PaidDesk) -> None:
    given = ["per_device_train_batch_size=2", "gradient_accumulation_steps=3"]
    plan = await desk.submit(model="alice/qwen3-0.6b", hardware="h200", timeout="1h", trainer_args=given)
    assert await split_of(desk, plan.result["script_uri"]) == (2, 3)


async def test_the_name_of_the_run_holds_nothing_that_was_estimated(desk: PaidDesk) -> None:
    """Another price makes another machine, and with it another timeout and split: the run stays what it is."""
    plans = [await desk.submit(**AUTO)]
    chosen = _flavor(plans[0].result["where"])
    desk.hub.set_price(chosen, 9_000_000)
    plans.append(await desk.submit(**AUTO))
    runs = [read_run(await script_of(desk, plan.result["script_uri"]))["run_key"] for plan in plans]
    assert _flavor(plans[1].result["where"]) != chosen
    assert runs[0] == runs[1]
    named = await desk.submit(**AUTO | {"hardware": chosen})
    assert read_run(await script_of(desk, named.result["script_uri"]))["run_key"] != runs[0]


async def test_a_plan_keeps_its_machine_when_another_becomes_cheaper(desk: PaidDesk) -> None:
    plan = (await desk.submit(**AUTO)).result
    desk.hub.set_price("h200", 1)
    started = await desk.ask("start_job", id=plan["plan_id"])
    assert started.result["status"] == "submitted"
    assert desk.hub.jobs()[0]["flavor"] == _flavor(plan["where"])


async def test_a_plan_whose_chosen_machine_has_another_price_is_refused(desk: PaidDesk) -> None:
    plan = (await desk.submit(**AUTO)).result
    desk.hub.set_price(_flavor(plan["where"]), 9_000_000)
    desk.check_refusal(await desk.ask("start_job", id=plan["plan_id"]), "price per minute", "to 9000000")
    assert desk.hub.jobs() == []


def _flavor(where: str) -> str:
    found = re.search(r"in alice: (\S+) at ", where)
    assert found is not None, where
    return found.group(1)


async def test_without_a_token_auto_is_this_machine_and_has_no_timeout(desk: PaidDesk, tmp_path: Any) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in stored_files("qwen3-0.6b").items():
        (folder / name).write_bytes(content)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n' * 5, encoding="utf-8")
    given = {"method": "sft", "model": str(folder), "dataset": str(rows), "dry_run": True, "max_length": 64}
    answer = await desk.with_settings(HF_TOKEN="").ask("submit_training", **given)
    assert answer.result["status"] == "planned", answer.text
    assert "on this machine, no timeout, free of charge" in answer.result["where"]
    assert answer.result["peak_gb"] > 2
    assert "usd_ceiling" not in answer.result
