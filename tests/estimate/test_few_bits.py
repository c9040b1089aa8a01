"""Models stored in few bits: which tuning can train them, where, and how much memory that takes."""

from dataclasses import replace

import pytest

from tests.estimate.shapes import A10G, A100, H200, config_of, job, shape
from trl_mcp.estimate.few_bits import cannot_train
from trl_mcp.estimate.options import option
from trl_mcp.estimate.shape import shape_of


@pytest.mark.parametrize(
    ("stored", "trained"),
    [
        ("", "lora qlora full"),
        ("nf4", "qlora"),
        ("int8", "qlora"),
        ("gptq", ""),
        ("awq", ""),
        ("compressed-tensors", ""),
        ("mxfp4", "lora full"),
        ("fp8", "lora full"),
    ],
)
def test_each_kind_can_be_trained_with_the_tunings_that_transformers_allows(stored: str, trained: str) -> None:
    assert [tuning for tuning in ("lora", "qlora", "full") if not cannot_train(stored, tuning)] == trained.split()


def test_fp8_is_trained_where_the_card_has_none_and_it_is_unpacked() -> None:
    stored = replace(shape("qwen3-8b"), quantization="fp8")
    old, new = (option(stored, job(), card, "lora") for card in (A10G, H200))
    assert old.verdict == "fits"
    assert old.breakdown.weights == pytest.approx(16.4, rel=0.01)
    assert (new.verdict, new.is_unable) == ("no", True)
    assert "a card without fp8 (A10G, A100)" in new.reason


@pytest.mark.parametrize(("stored", "tuning"), [("gptq", "lora"), ("nf4", "full"), ("mxfp4", "qlora")])
def test_what_cannot_be_trained_says_no_and_why_whatever_the_memory(stored: str, tuning: str) -> None:
    found = option(replace(shape("qwen3-0.6b"), quantization=stored), job(), A100, tuning)
    assert (found.verdict, found.is_unable) == ("no", True)
    assert f"stored quantised ({stored})" in found.reason
    assert "of the time" not in found.reason


def test_what_is_stored_in_4_bits_lies_so_in_memory() -> None:
    stored, usual = (
        option(replace(shape("qwen3-8b"), quantization=kind), job(), A100, "qlora").breakdown for kind in ("nf4", "")
    )
    assert usual.weights < stored.weights < 1.1 * usual.weights


@pytest.mark.parametrize("method", ["gptq", "awq", "mxfp4", "compressed-tensors", "fp8"])
def test_the_parameters_of_packed_weights_are_counted_by_the_layers(method: str) -> None:
    config = config_of("qwen3-8b") | {"quantization_config": {"quant_method": method}}
    packed = {"model.layers.0.mlp.up_proj.qweight": ("I32", (512, 12_288))}
    found = shape_of(config, packed, parameters=1_234)
    assert (found.quantization, found.parameters) == (method, shape("qwen3-8b").parameters)


def test_experts_in_few_bits_are_active_as_the_config_tells() -> None:
    """gpt-oss-20b: 20.9 billion parameters; 3.6 of them active, and the embedding."""
    config: dict[str, object] = {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 2880,
        "vocab_size": 201_088,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "quantization_config": {"quant_method": "mxfp4"},
    }
    found = shape_of(config, {"model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (32, 5760, 90, 16))})
    assert found.parameters == pytest.approx(20.9e9, rel=0.01)
    assert found.active_parameters == pytest.approx(4.2e9, rel=0.02)
