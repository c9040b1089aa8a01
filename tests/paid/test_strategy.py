"""Strategies, vLLM and kernels on machines on offer: what is chosen, what is refused, what travels with the job."""

from typing import Any, cast

import pytest

from tests.estimate.stored_models import stored_files
from tests.hub import EmulatedHub
from tests.hub.hardware import Hardware
from tests.paid.desk import PaidDesk
from trl_mcp.recipes.extras import COMPILER_IMAGE, DEEPSPEED, KERNELS, VLLM
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio
LLAMA: dict[str, Any] = {"model": "alice/llama-2-13b", "tuning": "full", "hardware": None, "timeout": None}
SMALL: dict[str, Any] = {"model": "alice/qwen3-0.6b", "hardware": None, "timeout": None}
ANSWERED = {"method": "grpo", "rewards": ["think_format_reward"], "columns": ["prompt=prompt"]}


@pytest.fixture(autouse=True)
def models(hub: EmulatedHub) -> None:
    for name in ("qwen3-0.6b", "llama-2-13b"):
        hub.add_repo(f"alice/{name}", stored_files(name))


async def script_of(desk: PaidDesk, uri: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    return getattr(content, "text", "")


async def test_what_no_card_holds_whole_fits_four_of_them_under_fsdp2(desk: PaidDesk) -> None:
    await desk.refused("hw.memory", **LLAMA | {"hardware": "a100-large"}, max_cost_usd=500)
    spread = LLAMA | {"trainer_args": ["strategy=fsdp2"]}
    four = (await desk.submit(**spread | {"hardware": "a100x4"})).result
    assert (four["status"], four["verdict"]) == ("planned", "fits")
    assert four["peak_gb"] < 84.9 / 1.2
    assert read_run(await script_of(desk, four["script_uri"]))["strategy"] == "fsdp2"
    chosen = (await desk.submit(**spread)).result
    assert chosen["verdict"] == "fits"
    assert "x" in chosen["where"].partition(" x $")[0]


async def test_estimates_look_at_machines_with_several_gpus_only(desk: PaidDesk) -> None:
    question = {"method": "sft", "model": "alice/llama-2-13b", "rows": 1000, "tokens_per_row": 300, "tuning": "full"}
    found = (await desk.ask("estimate_cost", **question, trainer_args=["strategy=zero3"])).result
    flavors = Hardware().flavors
    assert found["options"]
    assert all(flavors[option["hardware"]].gpus > 1 for option in found["options"])
    answer = await desk.ask("estimate_cost", **question, trainer_args=["strategy=zero3"], hardware="a100-large")
    assert answer.is_error
    assert "is for several GPUs, and a100-large has one" in answer.text


@pytest.mark.parametrize("strategy", ["multi_gpu", "fsdp1", "fsdp2", "zero1", "zero2", "zero3"])
async def test_a_strategy_for_several_gpus_is_refused_with_one(desk: PaidDesk, strategy: str) -> None:
    words = f"strategy {strategy} is for several GPUs, and a10g-small has one."
    named = SMALL | {"hardware": "a10g-small"}
    answer = await desk.refused(
        words, "What can: ", "Nothing was started.", **named, trainer_args=[f"strategy={strategy}"]
    )
    assert "a10g-largex4" in answer.text
    assert "t4-small," not in answer.text


async def test_deepspeed_travels_in_an_image_with_a_compiler(desk: PaidDesk) -> None:
    given = SMALL | {"hardware": "a10g-largex2", "timeout": "1h", "trainer_args": ["strategy=zero2"]}
    answer = await desk.submit(**given, max_cost_usd=20)
    assert answer.result["status"] == "submitted", answer.text
    (job,) = desk.hub.jobs("alice")
    assert job["dockerImage"] == COMPILER_IMAGE
    script = await script_of(desk, answer.result["script_uri"])
    assert f'"{DEEPSPEED}"' in script
    assert f'# image = "{COMPILER_IMAGE}"' in script


async def test_vllm_travels_in_its_image_and_takes_its_share_of_the_card(desk: PaidDesk) -> None:
    given = SMALL | ANSWERED | {"hardware": "a10g-small"}
    alone = (await desk.submit(**given)).result
    beside = (await desk.submit(**given, trainer_args=["use_vllm=true", "vllm_gpu_memory_utilization=0.5"])).result
    assert (alone["status"], beside["status"]) == ("planned", "planned")
    assert beside["peak_gb"] > alone["peak_gb"]
    script = await script_of(desk, beside["script_uri"])
    assert f'"{VLLM}"' in script
    assert f'# image = "{COMPILER_IMAGE}"' in script


@pytest.mark.parametrize("hardware", ["t4-small", "cpu-basic"])
async def test_vllm_is_refused_on_what_it_does_not_run_on(desk: PaidDesk, hardware: str) -> None:
    given = SMALL | ANSWERED | {"hardware": hardware}
    await desk.refused(
        "use_vllm needs GPUs from Ampere on, and", hardware, "l4x1", **given, trainer_args=["use_vllm=true"]
    )


async def test_kernels_are_left_out_where_the_card_is_too_old_and_that_is_said(desk: PaidDesk) -> None:
    flash = ["attn_implementation=kernels-community/flash-attn2"]
    old = (await desk.submit(**SMALL | {"hardware": "t4-small"}, trainer_args=flash)).result
    assert "hw.kernels" in [finding["code"] for finding in old["findings"]]
    new = (await desk.submit(**SMALL | {"hardware": "l4x1"}, trainer_args=flash)).result
    assert "hw.kernels" not in [finding["code"] for finding in new.get("findings", [])]
    script = await script_of(desk, new["script_uri"])
    assert f'"{KERNELS}"' in script
    config = cast(dict[str, Any], read_run(script)["config"])
    assert config["model_init_kwargs"] == {"attn_implementation": "kernels-community/flash-attn2"}
    without = (await desk.submit(**SMALL | {"hardware": "cpu-basic"}, trainer_args=flash)).result
    assert KERNELS not in await script_of(desk, without["script_uri"])


async def test_a_job_that_goes_on_keeps_its_image_and_needs_as_many_gpus(desk: PaidDesk) -> None:
    given = SMALL | {"hardware": "a10g-largex2", "timeout": "1h", "trainer_args": ["strategy=zero3"]}
    job_id = await desk.submitted(**given, max_cost_usd=20)
    await desk.ask("cancel_job", job_id=job_id)
    for hardware, words in (("a10g-small", "has one"), ("a10g-largex4", "a10g-largex2 has 2, and a10g-largex4 4")):
        answer = await desk.ask("start_job", id=job_id, hardware=hardware, max_cost_usd=20)
        assert answer.is_error
        assert words in answer.text
    again = await desk.ask("start_job", id=job_id, max_cost_usd=20)
    assert again.result["status"] == "submitted", again.text
    assert [job["dockerImage"] for job in desk.hub.jobs("alice")] == [COMPILER_IMAGE] * 2
