"""Where a training can run, for how long and how much: the answers a practitioner would give."""

import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.estimate.shapes import A10G, A100, A100X4, CPU, H200, H200X8, L40S, MACHINES, T4, job, machine, shape
from trl_mcp.estimate.options import best_value, cheapest, choose, fastest, option, options
from trl_mcp.estimate.setup import METHODS, Lora
from trl_mcp.values import Flavor

PRESETS = Path(__file__).parents[3] / "shared" / "data" / "trl_jobs_presets.json"
#: The presets that trl-jobs 0.4.0 ships for one A100 of 80 GB: model, adapter, length, rows a step.
SHIPPED = [
    ("llama-3-8b", False, 4096, 64, 2),
    ("llama-3-8b", True, 24_576, 8, 2),
    ("qwen3-0.6b", False, 32_768, 2, 2),
    ("qwen3-1.7b", False, 24_576, 4, 2),
    ("qwen3-4b", False, 20_480, 8, 2),
    ("qwen3-8b", False, 4096, 64, 2),
    ("qwen3-8b", True, 24_576, 8, 2),
    ("qwen3-14b", True, 20_480, 8, 2),
    ("qwen3-32b", True, 2048, 32, 1),
    ("smollm3-3b", False, 28_672, 4, 2),
]
H100 = machine("h100", "H100", vram_gb=80)
ALPACA = {
    "rows": 1900,
    "tokens_per_row": 110.0,
    "longest": 512,
    "epochs": 4,
    "batch_size": 8,
    "device_batch": 2,
    "lora": Lora(rank=32),
}
PAIRS = {
    "method": "dpo",
    "rows": 11_000,
    "tokens_per_row": 1000.0,
    "longest": 1512,
    "batch_size": 12,
    "device_batch": 12,
    "lora": Lora(rank=256),
}


@pytest.mark.parametrize(("name", "adapter", "length", "rows", "models"), SHIPPED)
def test_the_presets_of_trl_jobs_fit_the_card_they_are_shipped_for(
    name: str, adapter: bool, length: int, rows: int, models: int
) -> None:
    asked = job(
        longest=length,
        batch_size=rows,
        device_batch=1,
        packing=True,
        attention="flash",
        liger=True,
        lora=Lora(targets=frozenset({"q_proj", "v_proj"})),
    )
    assert option(shape(name), asked, A100, "lora" if adapter else "full").verdict == "fits"


def test_checkpoints_cost_time_as_often_as_they_are_asked_for() -> None:
    saving: list[float] = []
    wishes: list[dict[str, Any]] = [
        {"checkpoints": 0},
        {},
        {"checkpoints": 50, "save_only_model": True},
        {"checkpoints": 50},
    ]
    for asked in wishes:
        taken = option(shape("qwen3-8b"), job(rows=20_000, **asked), A100, "full").duration
        assert taken is not None
        saving.append(taken.saving)
    never, by_clock, often_but_small, often = saving
    assert never < by_clock < often_but_small < often


def test_these_are_all_presets_there_are() -> None:
    if not PRESETS.exists():
        pytest.skip("the list of presets is not here")
    listed = [preset for preset in json.loads(PRESETS.read_text(encoding="utf-8"))["presets"] if preset["exists"]]
    told = {
        (bool(one["peft"]), one["args"]["max_length"], one["args"]["gradient_accumulation_steps"]) for one in listed
    }
    assert told == {(adapter, length, rows) for _, adapter, length, rows, _ in SHIPPED}
    assert len(listed) == sum(models for *_, models in SHIPPED) == 19


@pytest.mark.parametrize(
    ("name", "tuning", "verdicts"),
    [
        ("qwen3-0.6b", "full", "fits fits fits fits fits"),
        ("qwen3-1.7b", "full", "no fits fits fits fits"),
        ("qwen3-4b", "full", "no no fits fits fits"),
        ("qwen3-4b", "lora", "fits fits fits fits fits"),
        ("qwen3-8b", "qlora", "no fits fits fits fits"),
        ("qwen3-8b", "lora", "no fits fits fits fits"),
        ("qwen3-8b", "full", "no no no tight fits"),
        ("qwen3-14b", "qlora", "no fits fits fits fits"),
        ("qwen3-14b", "lora", "no no fits fits fits"),
        ("qwen3-32b", "qlora", "no tight fits fits fits"),
        ("qwen3-32b", "lora", "no no no fits fits"),
        ("llama-3-70b", "qlora", "no no tight fits fits"),
        ("llama-3-70b", "lora", "no no no no tight"),
    ],
)
def test_one_t4_a10g_l40s_a100_and_h200_hold_what_a_practitioner_expects(name: str, tuning: str, verdicts: str) -> None:
    cards = [T4, A10G, L40S, A100, H200]
    assert [option(shape(name), job(), card, tuning).verdict for card in cards] == verdicts.split()


def test_full_fine_tuning_of_7b_fits_80_gb_and_not_24() -> None:
    judged = {card.name: option(shape("llama-2-7b"), job(), card, "full").verdict for card in (A10G, A100)}
    assert judged == {"a10g-large": "no", "a100-large": "fits"}


def test_qlora_of_7b_at_2048_tokens_fits_16_gb_and_lora_24() -> None:
    asked = job(longest=2048)
    assert option(shape("llama-2-7b"), asked, machine("x", "RTX4070TiS", vram_gb=16), "qlora").verdict == "fits"
    assert option(shape("llama-2-7b"), asked, A10G, "lora").verdict == "fits"


def test_a_32b_model_fits_nowhere_whole_without_sharding_and_the_reason_says_what_helps() -> None:
    found = option(shape("qwen3-32b"), job(), H200X8, "full")
    assert found.verdict == "no"
    assert "does not fit" in found.reason
    assert "strategy=fsdp2" in found.reason
    assert option(shape("qwen3-32b"), job(strategy="fsdp2"), H200X8, "full").verdict == "fits"


def test_fsdp_keeps_what_it_trains_in_float32() -> None:
    found = option(shape("llama-3-70b"), job(strategy="fsdp2"), H200X8, "full")
    assert found.verdict == "no"
    assert found.breakdown.weights + found.breakdown.gradients + found.breakdown.optimizer == pytest.approx(
        16 * 70.55 / 8, rel=0.01
    )


def test_qlora_on_a_t4_is_refused_for_what_the_card_cannot_do() -> None:
    found = option(shape("qwen3-0.6b"), job(), T4, "qlora")
    assert found.verdict == "no"
    assert "bfloat16" in found.reason


def test_rows_that_cannot_be_split_over_the_gpus_are_refused_with_what_to_change() -> None:
    found = option(shape("qwen3-0.6b"), job(batch_size=6), A100X4, "lora")
    assert found.verdict == "no"
    assert "batch_size" in found.reason


def test_an_adapter_on_nothing_is_refused() -> None:
    found = option(shape("qwen3-0.6b"), job(lora=Lora(targets=frozenset({"c_attn"}))), A100, "lora")
    assert "target_modules" in found.reason


def test_disk_and_memory_of_the_host_count_too() -> None:
    small_disk = option(shape("qwen3-8b"), job(), machine("x", "H200", vram_gb=141, disk_gb=100.0), "full")
    small_ram = option(shape("qwen3-8b"), job(), machine("x", "H200", vram_gb=141, gpus=4, ram_gb=40.0), "lora")
    assert (small_disk.verdict, small_ram.verdict) == ("no", "no")
    assert "disk" in small_disk.reason
    assert "RAM" in small_ram.reason


def test_device_batch_times_accumulation_times_gpus_is_the_batch_asked_for() -> None:
    for machine_ in MACHINES:
        found = option(shape("qwen3-1.7b"), job(batch_size=32), machine_, "lora")
        assert found.device_batch * found.accumulation * machine_.gpu_count == 32


def test_a_device_batch_that_is_given_is_kept() -> None:
    assert option(shape("qwen3-1.7b"), job(device_batch=8), A100, "lora").device_batch == 8


def test_without_a_card_memory_is_the_hosts_and_hours_are_not_known() -> None:
    found = option(shape("qwen3-0.6b"), job(), CPU, "lora")
    assert (found.hours_low, found.usd_expected, found.timeout_s) == (None, None, None)
    assert found.verdict == "fits"
    assert option(shape("qwen3-8b"), job(), CPU, "lora").verdict == "no"


def test_a_card_that_is_not_in_the_table_is_judged_by_its_size_and_its_hours_are_not_known() -> None:
    found = option(shape("qwen3-0.6b"), job(), machine("local", "Quadro 9", vram_gb=48), "lora")
    assert (found.verdict, found.hours_low) == ("fits", None)


def test_money_is_the_price_of_started_minutes_and_the_timeout_whole_quarters_of_an_hour() -> None:
    found = option(shape("qwen3-4b"), job(), A100, "lora")
    assert found.duration is not None
    assert found.usd_expected == math.ceil(found.duration.expected / 60) * Decimal("0.041667")
    assert found.timeout_s is not None
    assert found.timeout_s % 900 == 0
    assert found.timeout_s > found.duration.late
    assert found.duration.late > found.duration.expected


def test_the_parts_of_the_time_add_up() -> None:
    taken = option(shape("qwen3-4b"), job("grpo", evaluations=2, eval_rows=100), A100, "lora").duration
    assert taken is not None
    parts = taken.starting + taken.loading + taken.training + taken.generating + taken.evaluating + taken.saving
    assert parts == pytest.approx(taken.expected)
    assert taken.generating > taken.training / 10


def test_judges_take_their_time_over_every_answer() -> None:
    asked = job(method="grpo", rows=1000, batch_size=16, max_steps=60, generations=8)
    alone, judged = (
        option(shape("qwen3-0.6b"), one, A100, "lora").duration for one in (asked, replace(asked, judges=1))
    )
    assert alone is not None
    assert judged is not None
    # 60 steps of 16 prompts x 8 answers, each 2 s, eight at a time.
    assert judged.generating - alone.generating == pytest.approx(60 * 16 * 8 * 2 / 8)


def test_a_checkpoint_every_ten_minutes_takes_its_time() -> None:
    """Of all weights and their moments, at a GB/s: `save_minutes` of the templates."""
    short, long = (
        option(shape("qwen3-8b"), job(rows=1_000_000, max_steps=steps), A100, "full").duration for steps in (10, 5000)
    )
    assert short is not None
    assert long is not None
    checkpoints = int(long.training / 600)
    assert checkpoints > 5
    assert long.saving - short.saving == pytest.approx(checkpoints * 3 * 2 * 8.19, rel=0.01)


def test_cheapest_fastest_and_best_value_are_what_they_say() -> None:
    found = options(shape("qwen3-8b"), job(), MACHINES)
    fitting = [one for one in found if one.verdict == "fits"]
    low, quick, value = cheapest(found), fastest(found), best_value(found)
    assert low is not None and quick is not None and value is not None  # noqa: PT018  (a narrowing)
    assert low.usd_expected == min(one.usd_expected for one in fitting if one.usd_expected is not None)
    assert quick.hours_low == min(one.hours_low for one in fitting if one.hours_low is not None)
    assert low.usd_expected is not None and value.usd_expected is not None  # noqa: PT018  (a narrowing)
    assert low.usd_expected <= value.usd_expected
    assert fitting[0] == low


def test_auto_takes_the_cheapest_that_fits_below_the_limit() -> None:
    found = options(shape("qwen3-8b"), job(), MACHINES, ["lora"])
    chosen, why = choose(found)
    assert chosen == cheapest(found)
    assert "cheapest that fits" in why
    assert chosen is not None
    assert choose(found, Decimal(100))[0] == chosen


def test_auto_takes_none_above_the_limit_and_says_how_much_is_needed() -> None:
    found = options(shape("qwen3-8b"), job(), MACHINES, ["lora"])
    chosen, why = choose(found, Decimal("0.10"))
    assert chosen is None
    assert "at least $" in why
    assert choose(found, Decimal("0.10"), attempts=3)[1] != why


def test_auto_takes_none_where_nothing_fits_and_names_the_nearest() -> None:
    chosen, why = choose(options(shape("llama-3-70b"), job(), [T4, A10G], ["lora"]))
    assert chosen is None
    assert "Nearest: lora on t4-small" in why or "Nearest: lora on a10g-large" in why


def test_auto_takes_none_where_it_fits_and_nobody_knows_how_long_it_takes() -> None:
    unknown = machine("new-1", "Quadro 9", vram_gb=48)
    chosen, why = choose(options(shape("qwen3-8b"), job(), [T4, unknown], ["lora"]))
    assert chosen is None
    assert why == "It fits new-1, and how long it takes there is not known."


def test_what_no_machine_can_run_is_no_question_of_memory() -> None:
    chosen, why = choose(options(replace(shape("qwen3-8b"), quantization="gptq"), job(), MACHINES))
    assert chosen is None
    assert why.startswith("No machine can run it: its weights are stored quantised (gptq)")


def test_of_machines_that_are_all_too_small_the_one_that_sharding_helps_is_named() -> None:
    chosen, why = choose(options(shape("qwen3-32b"), job(), [A100, H200, H200X8], ["full"]))
    assert chosen is None
    assert "Nearest: full on h200x8" in why
    assert "strategy=fsdp2" in why


def test_of_machines_that_cost_the_same_the_faster_is_taken() -> None:
    dear = replace(A100, name="dear", micro_usd_per_minute=H200.micro_usd_per_minute)
    asked = job(rows=10)
    found = [option(shape("qwen3-8b"), asked, card, "lora") for card in (dear, H200)]
    even = [replace(one, usd_expected=Decimal(1)) for one in found]
    assert cheapest(even) == even[1]
    level = [replace(one, hours_low=1.0) for one in found]
    assert fastest(level) == min(level, key=lambda one: one.usd_expected or 0)


def test_a_merged_model_counts_on_the_disk() -> None:
    found = option(shape("qwen3-4b"), job(merge=True), replace(T4, disk_gb=20.0), "lora")
    assert (found.verdict, "GB disk" in found.reason) == ("no", True)
    assert option(shape("qwen3-4b"), job(merge=True), T4, "lora").verdict == "fits"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_an_estimate_for_every_tuning(method: str) -> None:
    found = options(shape("qwen3-0.6b"), job(method), [H200])
    assert {one.tuning for one in found if one.verdict == "fits"} == {"full", "lora", "qlora"}


def test_a_reference_counts_for_whole_weights_and_not_for_an_adapter() -> None:
    whole, adapter = (option(shape("qwen3-4b"), job("dpo"), H200, tuning) for tuning in ("full", "lora"))
    assert whole.breakdown.frozen == pytest.approx(8.04, rel=0.01)
    assert adapter.breakdown.frozen == 0


def test_a_reward_model_that_is_named_counts() -> None:
    found = option(shape("qwen3-4b"), job("grpo", frozen=(shape("qwen3-0.6b"),)), H200, "lora")
    assert found.breakdown.frozen == pytest.approx(1.19, rel=0.01)


def test_vllm_takes_its_share_of_the_card_and_saves_time() -> None:
    slow, quick = (option(shape("qwen3-4b"), job("grpo", vllm=vllm), H200, "lora") for vllm in (False, True))
    assert quick.breakdown.serving == pytest.approx(0.3 * 149)
    assert slow.duration is not None and quick.duration is not None  # noqa: PT018  (a narrowing)
    assert quick.duration.generating < slow.duration.generating / 2


def test_packing_takes_fewer_steps_over_short_rows() -> None:
    assert job(packing=True).steps == pytest.approx(job().steps * 500 / 1024, abs=1)
    assert job(max_steps=7, packing=True).steps == 7


@settings(max_examples=30)
@given(st.integers(1, 100_000), st.integers(1, 5), st.sampled_from(["sft", "dpo", "grpo"]))
def test_more_rows_or_epochs_never_take_less_time(rows: int, epochs: int, method: str) -> None:
    hours = [
        option(shape("qwen3-1.7b"), job(method, rows=count, epochs=many), A100, "lora").hours_low
        for count, many in ((rows, epochs), (rows * 2, epochs), (rows, epochs + 1))
    ]
    assert None not in hours
    assert hours[0] <= min(hours[1:])  # type: ignore[operator,type-var]  # None was excluded above


def test_a_faster_card_is_faster() -> None:
    asked = job(batch_size=32, longest=4096, packing=True)
    hours = [option(shape("qwen3-1.7b"), asked, card, "lora").hours_low for card in (T4, A10G, A100, H200)]
    assert hours == sorted(hours, key=lambda known: known or 0, reverse=True)


@pytest.mark.parametrize(
    ("name", "card", "tuning", "hours", "asked"),
    [
        # litgpt, config_hub: Alpaca2k, four epochs on one A10G.
        ("llama-2-7b", A10G, "lora", 0.547, ALPACA),
        ("llama-2-7b", A10G, "qlora", 0.761, ALPACA),
        # AnswerDotAI, fsdp_qlora 03_2024: 1,024 rows of 2,048 tokens, two A100 of 40 GB: 0.91 h, here one of 80 GB.
        (
            "llama-2-70b",
            A100,
            "qlora",
            1.82,
            {"rows": 1024, "tokens_per_row": 2048.0, "longest": 2048, "batch_size": 8},
        ),
        # philschmid, DPO in 2024: 11,000 pairs on one H100, rank 256.
        ("mistral-7b", H100, "qlora", 1.5, PAIRS),
    ],
)
def test_whole_runs_that_were_published_take_what_they_took_within_a_factor_of_two(
    name: str, card: Flavor, tuning: str, hours: float, asked: dict[str, Any]
) -> None:
    taken = option(shape(name), job(**asked), card, tuning).duration
    assert taken is not None
    assert hours / 2 < taken.training / 3600 < hours * 2
