"""What a config.json and safetensors headers tell about a model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.estimate.shapes import architectures, config_of, shape
from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.shape import guessed_shape, shape_of

MIXTRAL: dict[str, object] = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 32000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "tie_word_embeddings": False,
}
QWEN3_30B: dict[str, object] = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "tie_word_embeddings": False,
    "mlp_only_layers": [],
    "decoder_sparse_step": 1,
}


GATED = sorted(
    name for name, known in architectures().items() if known["gated"] and name not in {"chatglm3-6b", "qwen-1.8b"}
)


@pytest.mark.parametrize("name", GATED)
def test_the_layers_add_up_to_the_published_parameters(name: str) -> None:
    published = architectures()[name]["parameters"]
    assert shape(name).parameters == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("config", "total", "active"), [(MIXTRAL, 46.7e9, 12.9e9), (QWEN3_30B, 30.5e9, 3.35e9)], ids=["mixtral", "qwen3"]
)
def test_of_experts_all_are_stored_and_few_are_used(config: dict[str, object], total: float, active: float) -> None:
    found = shape_of(config)
    assert found.parameters == pytest.approx(total, rel=0.02)
    assert found.active_parameters == pytest.approx(active, rel=0.03)


def test_the_headers_count_more_than_the_config() -> None:
    tensors = {
        "model.embed_tokens.weight": ("F32", (32, 8)),
        "model.layers.0.q_proj.weight": ("F32", (8, 8)),
        "lm_head.weight": ("F32", (32, 8)),
    }
    config: dict[str, object] = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 32,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }
    found = shape_of(config, tensors)
    assert (found.parameters, found.tied, found.dtype, found.bytes_on_disk) == (576, False, "float32", 2304)


def test_the_text_part_of_a_vision_model_is_taken_and_its_vision_part_counted() -> None:
    tensors = {"visual.blocks.0.weight": ("BF16", (100, 10)), "model.norm.weight": ("BF16", (4096,))}
    found = shape_of({"model_type": "qwen3_vl", "text_config": config_of("qwen3-8b"), "vision_config": {}}, tensors)
    assert (found.layers, found.hidden, found.vision_parameters, found.parameters) == (36, 4096, 1000, 5096)


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model.", "model."])
def test_what_a_short_config_leaves_to_its_class_the_weight_files_tell(prefix: str) -> None:
    """As that of gemma-3-4b-it: no vocabulary, no heads."""
    text: dict[str, object] = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10_240}
    config = {"model_type": "gemma3", "text_config": text | {"num_hidden_layers": 34}, "vision_config": {}}
    layer = {
        "self_attn.q_proj.weight": (2048, 2560),
        "self_attn.k_proj.weight": (1024, 2560),
        "self_attn.q_norm.weight": (256,),
        "mlp.up_proj.weight": (10_240, 2560),
    }
    tensors = {
        f"{prefix}layers.{number}.{name}": ("BF16", size) for number in range(34) for name, size in layer.items()
    }
    tensors |= {f"{prefix}embed_tokens.weight": ("BF16", (262_208, 2560))}
    tensors |= {"vision_tower.encoder.layers.0.self_attn.q_proj.weight": ("BF16", (1152, 1152))}
    found = shape_of(config, tensors)
    assert not found.guessed
    assert (found.vocab, found.layers, found.hidden, found.intermediate) == (262_208, 34, 2560, 10_240)
    assert (found.heads, found.kv_heads, found.head_dim, found.tied) == (8, 4, 256, True)
    assert found.vision_parameters == 1152**2


def test_what_a_config_tells_is_not_taken_from_the_weight_files() -> None:
    """As in OPT, whose embedding is narrower than its layers, and Qwen2, whose heads are 64 wide."""
    config: dict[str, object] = {
        "model_type": "qwen2",
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "vocab_size": 1000,
    }
    tensors = {
        "model.embed_tokens.weight": ("BF16", (1024, 512)),
        "model.layers.0.self_attn.q_proj.weight": ("BF16", (896, 896)),
        "model.layers.0.self_attn.k_proj.weight": ("BF16", (128, 896)),
    }
    found = shape_of(config, tensors)
    assert (found.vocab, found.hidden, found.layers) == (1000, 896, 24)
    assert (found.heads, found.kv_heads, found.head_dim) == (14, 2, 64)


def test_a_quantised_repository_counts_its_parameters_by_its_layers() -> None:
    config = config_of("qwen3-8b") | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    found = shape_of(config, {"model.layers.0.q_proj.weight": ("U8", (4096 * 2048, 1))})
    assert (found.quantization, found.parameters) == ("nf4", shape("qwen3-8b").parameters)


def test_an_encoder_has_no_head_over_the_vocabulary() -> None:
    bert: dict[str, Any] = {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12}
    found = shape_of(bert | {"num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30522})
    assert found.encoder
    assert found.parameters == pytest.approx(109e6, rel=0.02)


def test_an_unknown_architecture_is_guessed_from_its_parameters_and_says_so() -> None:
    found = shape_of({"model_type": "mamba9", "state_size": 16}, None, 8_000_000_000)
    assert found.guessed
    assert found.parameters == 8_000_000_000
    assert 30 <= found.layers <= 40
    assert 3000 <= found.hidden <= 5000


def test_a_model_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(InvalidArguments, match=r"config\.json"):
        shape_of({"model_type": "mystery"})


@given(st.dictionaries(st.sampled_from(list(QWEN3_30B)), st.one_of(st.none(), st.integers(-5, 10), st.text())))
def test_whatever_a_config_holds_there_is_a_shape_or_a_guess(config: dict[str, object]) -> None:
    found = shape_of(config, None, 1_000_000_000)
    assert found.parameters > 0
    assert found.linear >= 0


@given(st.integers(1_000_000, 500_000_000_000))
def test_a_guessed_shape_has_the_parameters_it_was_guessed_from(parameters: int) -> None:
    found = guessed_shape(parameters)
    assert found.parameters == parameters
    assert min(found.layers, found.hidden, found.heads, found.kv_heads, found.head_dim) >= 1
