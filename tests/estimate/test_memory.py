"""Peak memory: what counts, what adds up, and in which direction everything moves it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.estimate.shapes import shape
from trl_mcp.estimate.memory import peak, verdict
from trl_mcp.estimate.setup import METHODS, Lora, Setup, adapter_numbers
from trl_mcp.estimate.shape import guessed_shape

ROUNDING = 1e-9
FULL = Setup(tuning="full", length=1024)
LORA = replace(FULL, tuning="lora", lora=Lora())
QLORA = replace(LORA, tuning="qlora", quantization="nf4-dq")
SETUPS = st.builds(
    Setup,
    tuning=st.just("full"),
    length=st.integers(1, 65_536),
    batch=st.integers(1, 64),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    optimizer=st.sampled_from(["adamw_torch_fused", "adamw_torch", "paged_adamw_8bit", "adafactor", "sgd"]),
    checkpointing=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    attention=st.sampled_from(["eager", "sdpa", "flash"]),
    loss=st.sampled_from(["fused", "plain", "chunked", "none"]),
    gpus=st.sampled_from([1, 2, 8]),
    strategy=st.sampled_from(["single_gpu", "multi_gpu", "fsdp1", "fsdp2", "zero1", "zero2", "zero3"]),
    wide=st.booleans(),
    varied=st.booleans(),
)


def process(name: str, setup: Setup) -> float:
    return peak(shape(name), setup).process


def test_full_fine_tuning_of_7b_with_adamw_does_not_fit_24_gb() -> None:
    needed = peak(shape("llama-2-7b"), replace(FULL, length=256), 23.6)
    assert needed.weights + needed.gradients + needed.optimizer == pytest.approx(8 * 6.738, rel=0.01)
    assert verdict(needed.process, 23.6) == "no"


def test_float32_weights_take_twice_what_16_bits_take() -> None:
    narrow, wide = (peak(shape("qwen3-4b"), replace(FULL, dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert wide.weights + wide.gradients + wide.optimizer == pytest.approx(16 * 4.022, rel=0.01)
    assert wide.weights == 2 * narrow.weights


def test_an_adapter_of_rank_16_on_all_linear_layers_of_llama_3_8b_has_42_million_numbers() -> None:
    assert adapter_numbers(shape("llama-3-8b"), Lora(rank=16)) == 41_943_040


def test_dora_adds_one_number_for_each_output() -> None:
    added = adapter_numbers(shape("llama-3-8b"), Lora(dora=True)) - adapter_numbers(shape("llama-3-8b"), Lora())
    assert added == 32 * (4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096)


@pytest.mark.parametrize("name", ["qwen3-0.6b", "qwen3-8b", "llama-3-70b"])
def test_qlora_needs_less_than_lora_and_lora_less_than_full(name: str) -> None:
    assert process(name, QLORA) < process(name, LORA) < process(name, FULL)


def test_a_large_vocabulary_costs_little_with_the_fused_head_and_much_without() -> None:
    fused = peak(shape("qwen3-0.6b"), replace(LORA, batch=8))
    plain = peak(shape("qwen3-0.6b"), replace(LORA, batch=8, loss="plain"))
    assert fused.logits < 0.4
    assert plain.logits == pytest.approx(14 * 151_936 * 8192 / 1e9, rel=0.05)


def test_optimizers_with_fewer_or_smaller_moments_take_less() -> None:
    names = ["adamw_torch_fused", "adamw_bnb_8bit", "adamw_torch_4bit", "adafactor"]
    taken = [peak(shape("qwen3-4b"), replace(FULL, optimizer=name)).optimizer for name in names]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] == pytest.approx(4 * 4.022, rel=0.01)
    assert taken[-1] == 0


def test_sharding_spreads_states_over_the_gpus_and_plain_data_parallelism_does_not() -> None:
    eight = replace(FULL, gpus=8)
    alone = process("llama-3-8b", FULL)
    by = {name: process("llama-3-8b", replace(eight, strategy=name)) for name in ("multi_gpu", "fsdp2", "zero2")}
    assert by["fsdp2"] < alone / 2 < alone < by["multi_gpu"]
    assert by["fsdp2"] < by["zero2"] < alone


def test_eager_attention_grows_with_the_square_of_the_length() -> None:
    at = [process("tinyllama", replace(LORA, length=length, attention="eager")) for length in (2048, 4096, 8192)]
    assert at[2] - at[1] > 3.5 * (at[1] - at[0])


def test_experts_all_stay_in_memory_though_a_token_meets_few() -> None:
    sparse = replace(shape("qwen3-8b"), experts=64, experts_per_token=2, expert_intermediate=1024, sparse_layers=36)
    kept = replace(FULL, batch=8, checkpointing=0.0)
    assert peak(sparse, FULL).weights == peak(shape("qwen3-8b"), FULL).weights
    assert peak(sparse, kept).activations < peak(shape("qwen3-8b"), kept).activations


def test_an_adapter_on_all_linear_layers_of_a_model_with_experts_has_as_many_numbers_as_peft_gives_it() -> None:
    sizes = {"hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "sparse_layers": 2}
    sparse = replace(shape("qwen3-8b"), **sizes, experts=4, expert_intermediate=32)
    assert adapter_numbers(sparse, Lora(rank=16)) == 61_568
    assert adapter_numbers(sparse, Lora(rank=16, targets=frozenset({"q_proj", "v_proj"}))) == 7_168


def test_gradients_that_a_step_collects_need_room_beside_activations() -> None:
    once = peak(shape("qwen3-4b"), replace(FULL, batch=8, checkpointing=0.0))
    twice = peak(shape("qwen3-4b"), replace(FULL, batch=8, checkpointing=0.0, accumulation=2))
    assert twice.allocated - once.allocated == pytest.approx(twice.gradients)


def test_trl_keeps_adapters_on_quantised_weights_in_16_bits() -> None:
    plain, quantised = (peak(shape("qwen3-8b"), setup) for setup in (LORA, QLORA))
    assert quantised.optimizer == pytest.approx(plain.optimizer / 2)
    assert peak(shape("qwen3-8b"), replace(QLORA, loss="plain")).optimizer == plain.optimizer


def test_a_model_that_gives_scores_holds_no_head_for_words() -> None:
    words, scores = (peak(shape("llama-3-8b"), replace(FULL, loss=loss)) for loss in ("fused", "none"))
    assert words.weights - scores.weights == pytest.approx(2 * 128_256 * 4096 / 1e9)


def test_unused_blocks_are_given_back_before_a_card_is_full() -> None:
    setup = replace(LORA, batch=8, varied=True)
    free, full = peak(shape("qwen3-8b"), setup), peak(shape("qwen3-8b"), setup, 26.0)
    assert free.process > 26 > full.process
    assert full.allocated == pytest.approx(free.allocated)


def test_the_parts_add_up_to_the_whole() -> None:
    needed = peak(shape("qwen3-8b"), replace(FULL, frozen_gb=3.0, server_share=0.3), 84.9)
    assert sum(needed.parts().values()) == needed.process
    assert needed.serving == pytest.approx(0.3 * 84.9)
    assert needed.allocated < needed.reserved < needed.process


@given(SETUPS, st.integers(10_000_000, 100_000_000_000))
def test_every_part_of_every_setup_is_a_number_not_below_zero(setup: Setup, parameters: int) -> None:
    assert all(part >= 0 for part in peak(guessed_shape(parameters), setup).parts().values())


@settings(max_examples=50)
@given(SETUPS, st.sampled_from(["length", "batch"]), st.integers(1, 4096))
def test_longer_rows_or_more_of_them_never_need_less(setup: Setup, what: str, more: int) -> None:
    larger = replace(setup, **{what: getattr(setup, what) + more})
    assert peak(shape("qwen3-1.7b"), larger).allocated >= peak(shape("qwen3-1.7b"), setup).allocated - ROUNDING


@given(SETUPS, st.integers(300_000_001, 50_000_000_000), st.floats(1.05, 10))
def test_a_larger_model_of_the_same_depth_never_needs_less(setup: Setup, parameters: int, times: float) -> None:
    small = guessed_shape(parameters)
    large = replace(small, hidden=int(small.hidden * times), parameters=int(small.parameters * times**2))
    assert peak(large, setup).allocated >= peak(small, setup).allocated - ROUNDING


@given(SETUPS, st.integers(1, 256), st.integers(1, 256))
def test_a_higher_rank_never_needs_less(setup: Setup, rank: int, more: int) -> None:
    low, high = (
        replace(setup, tuning="lora", lora=Lora(rank=number), dtype="bfloat16") for number in (rank, rank + more)
    )
    assert peak(shape("qwen3-1.7b"), high).allocated >= peak(shape("qwen3-1.7b"), low).allocated - ROUNDING


@given(SETUPS)
def test_recomputing_every_layer_never_keeps_more_than_recomputing_none(setup: Setup) -> None:
    none, every = (replace(setup, checkpointing=share, attention="flash") for share in (0.0, 1.0))
    most = peak(shape("qwen3-8b"), none).allocated
    assert peak(shape("qwen3-8b"), every).allocated <= most * 1.05


@pytest.mark.parametrize(("needed", "expected"), [(20.0, "fits"), (20.1, "tight"), (24.0, "tight"), (24.1, "no")])
def test_fits_leaves_a_fifth_to_spare(needed: float, expected: str) -> None:
    assert verdict(needed, 24.0) == expected


def test_every_method_of_the_tools_is_known() -> None:
    expected = "sft dpo orpo cpo kto reward grpo rloo online_dpo distillation gkd ppo prm"
    assert set(METHODS) == set(expected.split())
