"""What a training would cost, told before anything is paid: options, reasons, and clear words for what cannot be told."""

import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import INHERITED, Era, WriteRows, without_counting
from tests.estimate.stored_models import stored_files
from tests.face.answer import Answer
from tests.hub import EmulatedHub, Fault
from tests.hub.support import safetensors_bytes
from tests.paid.desk import PaidDesk

pytestmark = pytest.mark.anyio
GIVEN: dict[str, Any] = {"method": "sft", "model": "acme/qwen3-0.6b", "rows": 5000, "tokens_per_row": 400}


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmulatedHub]:
    """A Hub with models that nothing here changes."""
    with EmulatedHub.start(tmp_path_factory.mktemp("hub")) as running:
        for name in ("qwen3-0.6b", "llama-2-7b", "llama-3-70b"):
            running.add_repo(f"acme/{name}", stored_files(name))
        yield running


@pytest.fixture
def desk(shared_hub: EmulatedHub, era: Era, home: Path) -> PaidDesk:
    return desk_at(shared_hub, home, era)


def desk_at(hub: EmulatedHub, home: Path, era: Era = "auto") -> PaidDesk:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    without_counting(home)
    own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "TRL_MCP_HOME": str(home)}
    own["CUDA_VISIBLE_DEVICES"] = ""  # a GPU here would be the cheapest of all
    return PaidDesk(hub, kept | own, era)


async def estimate(desk: PaidDesk, **changes: Any) -> Answer:
    given = {**GIVEN, **changes}
    return await desk.ask("estimate_cost", **{name: value for name, value in given.items() if value is not None})


async def options(desk: PaidDesk, **changes: Any) -> list[dict[str, Any]]:
    answer = await estimate(desk, **changes)
    assert not answer.is_error, answer.text
    return answer.result["options"]


async def refused(desk: PaidDesk, *words: str, **changes: Any) -> None:
    answer = await estimate(desk, **changes)
    assert answer.is_error, answer.text
    assert [word for word in words if word not in answer.text] == [], answer.text
    assert "failed inside the server" not in answer.text
    assert desk.hub.jobs() == []


async def test_without_a_tuning_all_three_are_compared_and_the_best_come_first(desk: PaidDesk) -> None:
    answer = await estimate(desk)
    found = answer.result["options"]
    assert 3 <= len(found) <= 6
    assert {option["tuning"] for option in found} == {"full", "lora", "qlora"}
    assert {option["verdict"] for option in found} == {"fits"}
    prices = [option["usd_expected"] for option in found]
    assert prices == sorted(prices)
    assert answer.result["cheapest"] == f"{found[0]['tuning']} on {found[0]['hardware']}"
    quickest = min(found, key=lambda option: option["hours_low"])
    assert answer.result["fastest"] == f"{quickest['tuning']} on {quickest['hardware']}"
    assert all("GB of" in option["reason"] for option in found)
    assert "5000 rows of 400 tokens" in answer.result["assumptions"][0]
    assert 0 <= answer.result["price_age_s"] < 60


async def test_the_text_says_what_the_result_says(desk: PaidDesk) -> None:
    answer = await estimate(desk, tuning="lora", hardware="a10g-small")
    (option,) = answer.result["options"]
    for value in (option["hardware"], option["reason"], str(option["timeout_s"]), *answer.result["assumptions"]):
        assert value in answer.text


async def test_full_fine_tuning_of_7b_does_not_fit_24_gb_and_says_by_how_much(desk: PaidDesk) -> None:
    (small,) = await options(desk, model="acme/llama-2-7b", tuning="full", hardware="a10g-large")
    assert small["verdict"] == "no"
    assert small["peak_gb"] > 50
    assert "does not fit" in small["reason"]
    assert "hours_low" not in small
    (large,) = await options(desk, model="acme/llama-2-7b", tuning="full", hardware="a100-large")
    assert large["verdict"] == "fits"


async def test_where_nothing_fits_the_nearest_is_named_with_what_would_help(desk: PaidDesk) -> None:
    found = await options(desk, model="acme/llama-3-70b", tuning="full")
    assert found
    assert {option["verdict"] for option in found} == {"no"}
    assert all("does not fit" in option["reason"] for option in found)


async def test_money_is_minutes_times_price_and_a_cap_leaves_out_what_could_cost_more(desk: PaidDesk) -> None:
    (option,) = await options(desk, tuning="lora", hardware="t4-small")
    minutes = option["usd_expected"] / 0.006667
    assert minutes == pytest.approx(round(minutes), abs=1e-3)
    assert minutes == pytest.approx(option["hours_low"] * 60, abs=2)
    assert option["timeout_s"] % 900 == 0
    assert option["timeout_s"] > option["hours_high"] * 3600
    capped = await options(desk, tuning="lora", max_cost_usd=1.0)
    prices = {flavor.name: flavor.micro_usd_per_minute for flavor in await flavors(desk)}
    assert capped
    assert all(each["timeout_s"] / 60 * prices[each["hardware"]] <= 1_000_000 for each in capped)
    assert all("above max_cost_usd" in each["reason"] for each in await options(desk, max_cost_usd=0.01))


async def test_what_an_option_costs_at_most_is_what_a_cap_is_held_against(desk: PaidDesk) -> None:
    (option,) = await options(desk, tuning="lora", hardware="l40sx1")
    assert option["usd_expected"] <= option["usd_p90"] <= option["usd_ceiling"]
    assert option["usd_ceiling"] == pytest.approx(option["timeout_s"] / 60 * 0.03, abs=1e-6)
    below = {"tuning": "lora", "hardware": "l40sx1", "max_cost_usd": option["usd_ceiling"]}
    (kept,) = await options(desk, **below)
    assert "above max_cost_usd" not in kept["reason"]
    (left_out,) = await options(desk, **below | {"max_cost_usd": option["usd_ceiling"] - 0.001})
    assert "above max_cost_usd" in left_out["reason"]
    (local,) = await options(desk, tuning="lora", hardware="local", rows=10, tokens_per_row=50)
    assert "usd_ceiling" not in local


async def test_where_all_could_cost_more_than_the_cap_the_epochs_that_do_not_are_named(desk: PaidDesk) -> None:
    asked = {"tuning": "lora", "hardware": "l40sx1", "rows": 50_000}
    (three,) = await options(desk, **asked, epochs=3)
    (one,) = await options(desk, **asked, epochs=1)
    answer = await estimate(desk, **asked, epochs=3, max_cost_usd=one["usd_ceiling"])
    (note,) = [each for each in answer.result["assumptions"] if each.startswith("nothing that fits stays below")]
    assert note.endswith(f"with epochs=1 it is ${one['usd_ceiling']:.2f}")
    assert three["usd_ceiling"] > one["usd_ceiling"]


async def test_a_plan_is_no_model_yet(desk: PaidDesk) -> None:
    await refused(desk, "is a plan: there is no model until", "start_job", model="plan-0123456789ab")


async def flavors(desk: PaidDesk) -> list[Any]:
    from trl_mcp.hub.hub import Hub

    async with Hub(desk.hub.endpoint) as hub:
        return (await hub.flavors(desk.environ["HF_TOKEN"]))[0]


async def test_more_rows_cost_more_and_a_longer_row_needs_more_memory(desk: PaidDesk) -> None:
    usual, many, long = [
        (await options(desk, tuning="lora", hardware="a10g-large", **changes))[0]
        for changes in ({}, {"rows": 50_000}, {"tokens_per_row": 1600, "batch_size": 1})
    ]
    assert many["usd_expected"] > 5 * usual["usd_expected"]
    assert many["peak_gb"] == usual["peak_gb"]
    assert long["peak_gb"] > usual["peak_gb"]


async def test_the_trainers_arguments_count(desk: PaidDesk) -> None:
    fixed = {"tuning": "lora", "hardware": "a10g-large"}
    (usual,) = await options(desk, **fixed)
    (wide,) = await options(desk, **fixed, trainer_args=["lora_r=256", "gradient_checkpointing=false"])
    (short,) = await options(desk, **fixed, trainer_args=["max_steps=10"])
    (split,) = await options(desk, **fixed, trainer_args=["per_device_train_batch_size=8"])
    assert wide["peak_gb"] > usual["peak_gb"]
    assert short["hours_low"] < usual["hours_low"] / 2
    assert split["device_batch"] == 8
    answer = await estimate(desk, trainer_args=["lora_r=8"])
    assert {option["tuning"] for option in answer.result["options"]} == {"lora", "qlora"}
    assert "without full" in answer.text


@pytest.mark.parametrize("method", ["dpo", "grpo", "ppo", "kto", "online_dpo"])
async def test_methods_that_need_more_than_data_are_estimated_without_it(desk: PaidDesk, method: str) -> None:
    found = await options(desk, method=method, tuning="lora", hardware="h200")
    assert [option["verdict"] for option in found] == ["fits"]


async def test_a_method_with_a_teacher_counts_the_teacher(desk: PaidDesk) -> None:
    fixed = {"method": "gkd", "tuning": "lora", "hardware": "h200"}
    await refused(desk, "gkd needs a teacher", **fixed)
    small, large = [
        (await options(desk, **fixed, trainer_args=[f"teacher_model=acme/{teacher}"]))[0]
        for teacher in ("qwen3-0.6b", "llama-2-7b")
    ]
    assert large["peak_gb"] - small["peak_gb"] == pytest.approx(2 * (6.74 - 0.6), abs=1.5)


async def test_data_that_is_named_is_looked_at(desk: PaidDesk, write_rows: WriteRows) -> None:
    path = str(write_rows(rows=[{"text": "a " * 50}] * 40))
    answer = await estimate(desk, rows=None, tokens_per_row=None, dataset=path, tuning="lora")
    assert "40 rows" in answer.result["assumptions"][0]
    empty = str(write_rows("empty.jsonl", rows=[{"text": ""}]))
    await refused(
        desk, "No row of empty.jsonl is left", "validate_dataset", rows=None, tokens_per_row=None, dataset=empty
    )


async def test_this_machine_is_free_and_is_judged_by_its_own_memory(desk: PaidDesk) -> None:
    (small,) = await options(desk, hardware="local", tuning="lora", rows=10, tokens_per_row=50)
    assert (small["hardware"], small.get("usd_expected", 0)) == ("local", 0)
    assert "timeout_s" not in small
    (large,) = await options(desk, hardware="local", tuning="lora", model="acme/llama-3-70b")
    assert large["verdict"] == "no"


async def test_without_a_token_only_this_machine_is_looked_at_and_said(desk: PaidDesk) -> None:
    answer = await estimate(desk.with_settings(HF_TOKEN=""))
    assert {option["hardware"] for option in answer.result["options"]} == {"local"}
    assert "only this machine is looked at" in answer.text
    assert "price_age_s" not in answer.result


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 0}, '"rows"|greater than or equal to 1|given: 0'),
        ({"tokens_per_row": 0}, '"tokens_per_row"|greater than or equal to 1'),
        ({"tokens_per_row": None}, "either dataset, or rows and tokens_per_row|rows=5000|Nothing was started."),
        ({"dataset": "acme/data"}, "either dataset, or rows and tokens_per_row"),
        ({"rows": None, "tokens_per_row": None}, "either dataset, or rows and tokens_per_row"),
        ({"hardware": "a100-larg"}, 'Did you mean "a100-large"?|a100-large $2.50/h|Nothing was started.'),
        ({"model": "acme/qwen3-06b"}, "no model acme/qwen3-06b|Did you mean acme/qwen3-0.6b?"),
        ({"tuning": "dora"}, '"tuning" cannot be "dora"|lora, qlora, full'),
        ({"method": "sftt"}, 'Did you mean "sft"?'),
        ({"batch_sise": 3}, 'Did you mean "batch_size"?'),
        ({"trainer_args": ["packin=true"]}, 'Did you mean "packing"?'),
    ],
)
async def test_what_cannot_be_understood_is_said(desk: PaidDesk, changes: dict[str, Any], words: str) -> None:
    await refused(desk, *words.split("|"), **changes)


@pytest.fixture
def odd_hub(tmp_path: Path) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub") as running:
        yield running


def unknown_model() -> Mapping[str, bytes | str]:
    weights = safetensors_bytes({"a": ("BF16", [1000, 1000])}, b"")
    return {"config.json": json.dumps({"model_type": "novel"}), "model.safetensors": weights}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": "hi"}, "neither a config.json nor safetensors|Nothing was started."),
        ({"config.json": '{"model_type": "novel"}'}, "tells neither its layers nor its width"),
        ({"config.json": "["}, "config.json of alice/odd is no JSON object"),
        ({"config.json": '{"text_config": 7}'}, "config.json of odd does not describe a model"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": b"x"}, "adapter that does not name its base model"),
    ],
)
async def test_a_model_whose_size_cannot_be_told_is_refused(
    odd_hub: EmulatedHub, home: Path, files: dict[str, bytes | str], words: str
) -> None:
    odd_hub.add_repo("alice/odd", files)
    await refused(desk_at(odd_hub, home), *words.split("|"), model="alice/odd")


async def test_a_kind_of_model_that_is_not_known_is_guessed_from_its_parameters(
    odd_hub: EmulatedHub, home: Path
) -> None:
    odd_hub.add_repo("alice/odd", unknown_model())
    answer = await estimate(desk_at(odd_hub, home), model="alice/odd", hardware="t4-small", tuning="lora")
    assert answer.result["options"][0]["verdict"] == "fits"
    assert "guessed from 0.00 billion parameters" in answer.text


async def test_weights_in_the_old_format_are_guessed_from_their_size(odd_hub: EmulatedHub, home: Path) -> None:
    odd_hub.add_repo("alice/odd", {"config.json": '{"model_type": "novel"}', "pytorch_model.bin": bytes(4_000_000)})
    answer = await estimate(desk_at(odd_hub, home), model="alice/odd", hardware="t4-small", tuning="lora")
    assert "guessed from" in answer.text


async def test_an_adapter_has_the_shape_of_its_base(odd_hub: EmulatedHub, home: Path) -> None:
    odd_hub.add_repo("alice/base", stored_files("qwen3-0.6b"))
    card = "---\nbase_model: alice/base\n---\n"
    files = {"adapter_config.json": '{"base_model_name_or_path": "alice/base"}', "adapter_model.safetensors": b"x"}
    odd_hub.add_repo("alice/adapter", {**files, "README.md": card})
    desk = desk_at(odd_hub, home)
    (adapter,), (base,) = [
        await options(desk, model=model, tuning="lora", hardware="t4-small")
        for model in ("alice/adapter", "alice/base")
    ]
    assert adapter == base


async def test_a_gated_model_names_the_page_where_it_is_accepted(odd_hub: EmulatedHub, home: Path) -> None:
    odd_hub.add_repo("bob/gated", stored_files("qwen3-0.6b"), gated="manual")
    await refused(desk_at(odd_hub, home), "gated", f"{odd_hub.endpoint}/bob/gated", model="bob/gated")


async def test_prices_that_cannot_be_had_are_no_prices(odd_hub: EmulatedHub, home: Path) -> None:
    odd_hub.add_repo("alice/m", stored_files("qwen3-0.6b"))
    odd_hub.faults.add(Fault("GET", "/api/jobs/hardware", status=503, times=99, message="maintenance"))
    desk = desk_at(odd_hub, home)
    await refused(desk, "list the hardware of Hugging Face Jobs", "maintenance", model="alice/m")
    assert (await options(desk, model="alice/m", hardware="local"))[0]["hardware"] == "local"


async def test_prices_of_a_minute_ago_are_used_with_their_age(odd_hub: EmulatedHub, home: Path) -> None:
    from tests.face.answer import answer_of

    odd_hub.add_repo("alice/m", stored_files("qwen3-0.6b"))
    asked = {**GIVEN, "model": "alice/m"}
    async with desk_at(odd_hub, home).client() as client:
        first = answer_of(await client.call_tool("estimate_cost", asked))
        odd_hub.faults.add(Fault("GET", "/api/jobs/hardware", status=503, times=99))
        again = answer_of(await client.call_tool("estimate_cost", asked))
    assert first.result["options"] == again.result["options"]
    assert again.result["price_age_s"] >= first.result["price_age_s"]
