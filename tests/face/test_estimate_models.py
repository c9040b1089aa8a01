"""What a training of models as they lie on the Hub would cost: many experts, images, few bits, other formats."""

import json
import os
import struct
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import INHERITED, without_counting
from tests.estimate.stored_models import stored_files
from tests.face.answer import Answer
from tests.hub import EmulatedHub
from tests.paid.desk import PaidDesk

pytestmark = pytest.mark.anyio
Stored = dict[str, bytes | str]
GIVEN: dict[str, Any] = {"method": "sft", "rows": 5000, "tokens_per_row": 500}
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14_336,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}
EXPERTS: dict[str, Any] = {
    "model_type": "mixtral",
    "vocab_size": 32_000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
#: As gpt-oss-20b has them; its numbers lie packed, two in a byte.
OPEN_EXPERTS: dict[str, Any] = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "head_dim": 64,
    "intermediate_size": 2880,
    "vocab_size": 201_088,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
}
IMAGES: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 3840, "num_hidden_layers": 48},
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27, "intermediate_size": 4304},
}
IMAGE_LAYER = {
    "self_attn.q_proj.weight": [4096, 3840],
    "self_attn.k_proj.weight": [2048, 3840],
    "self_attn.v_proj.weight": [2048, 3840],
    "self_attn.o_proj.weight": [3840, 4096],
    "self_attn.q_norm.weight": [256],
    "mlp.gate_proj.weight": [15_360, 3840],
    "mlp.up_proj.weight": [15_360, 3840],
    "mlp.down_proj.weight": [3840, 15_360],
}
IMAGE_TENSORS = {
    "language_model.model.embed_tokens.weight": [262_208, 3840],
    "vision_tower.encoder.weight": [417_000_000],
    **{f"language_model.model.layers.{n}.{name}": size for n in range(48) for name, size in IMAGE_LAYER.items()},
}


def header(tensors: Mapping[str, list[int]], kind: str = "BF16") -> bytes:
    entries = {name: {"dtype": kind, "shape": size, "data_offsets": [0, 0]} for name, size in tensors.items()}
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


def few_bits(method: str, config: Mapping[str, Any] = LLAMA_8B, **fields: Any) -> Stored:
    stored = {**config, "quantization_config": {"quant_method": method, **fields}}
    packed = header({"model.layers.0.mlp.up_proj.qweight": [4_000_000_000]}, "U8")
    return {"config.json": json.dumps(stored), "model.safetensors": packed}


MODELS: dict[str, Stored] = {
    "mixtral": {
        "config.json": json.dumps(LLAMA_8B | EXPERTS),
        "model.safetensors": header({"model.layers.0.block_sparse_moe.experts": [46_702_792_704]}),
    },
    "gemma": {"config.json": json.dumps(IMAGES), "model.safetensors": header(IMAGE_TENSORS)},
    "bert": {
        "config.json": json.dumps(LLAMA_8B | {"model_type": "bert"}),
        "model.safetensors": header({"a": [335_000_000]}),
    },
    "old": {"config.json": json.dumps(LLAMA_8B), "pytorch_model.bin": b"PK"},
    "gguf": {"model-Q4_K_M.gguf": b"GGUF", "README.md": "hi"},
    "gptq": few_bits("gptq", bits=4),
    "nf4": few_bits("bitsandbytes", load_in_4bit=True),
    "gpt-oss": few_bits("mxfp4", OPEN_EXPERTS),
    **{
        f"like-{kind}": {
            "config.json": json.dumps(LLAMA_8B | {"model_type": kind}),
            "model.safetensors": header({"a": [8_030_261_248]}),
        }
        for kind in ("gemma", "gemma2", "gpt_neox", "phi")
    },
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path_factory.mktemp("hub")) as running:
        for name, files in MODELS.items():
            running.add_repo(f"acme/{name}", files)
        for name in ("qwen3-8b", "qwen3-32b", "llama-3-70b"):
            running.add_repo(f"acme/{name}", stored_files(name))
        yield running


@pytest.fixture
def desk(hub: EmulatedHub, home: Path) -> PaidDesk:
    without_counting(home)
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "TRL_MCP_HOME": str(home)}
    return PaidDesk(hub, kept | own | {"CUDA_VISIBLE_DEVICES": ""})


async def told(desk: PaidDesk, model: str, **changes: Any) -> Answer:
    answer = await desk.ask("estimate_cost", **{**GIVEN, "model": f"acme/{model}", **changes})
    assert not answer.is_error, answer.text
    return answer


async def verdicts(desk: PaidDesk, model: str, hardware: str, **changes: Any) -> dict[str, str]:
    found = (await told(desk, model, hardware=hardware, **changes)).result["options"]
    return {option["tuning"]: option["verdict"] for option in found}


async def test_experts_all_lie_in_memory_and_few_take_time(desk: PaidDesk) -> None:
    assert await verdicts(desk, "mixtral", "a100-large") == {"lora": "no", "qlora": "fits", "full": "no"}
    (large,) = (await told(desk, "mixtral", tuning="lora", hardware="h200")).result["options"]
    (dense,) = (await told(desk, "llama-3-70b", tuning="qlora", hardware="h200")).result["options"]
    assert 93.4 < large["peak_gb"] < 115
    assert large["hours_low"] < dense["hours_low"] / 2


async def peak_gb(desk: PaidDesk, model: str, *trainer_args: str) -> float:
    given = {"tuning": "lora", "hardware": "h200", "trainer_args": list(trainer_args), "rows": 50}
    (option,) = (await told(desk, model, tokens_per_row=4000, **given)).result["options"]
    return option["peak_gb"]


async def test_where_transformers_has_but_eager_attention_for_a_model_its_scores_need_room(desk: PaidDesk) -> None:
    fused, eager = await peak_gb(desk, "like-gemma"), await peak_gb(desk, "like-gemma2")
    assert eager > fused + 5
    loading = "attn_implementation=eager"
    assert await peak_gb(desk, "like-gemma", loading) == eager == await peak_gb(desk, "like-gemma2", loading)


async def test_an_activation_written_out_in_operations_keeps_more_of_a_layer(desk: PaidDesk) -> None:
    kept = "gradient_checkpointing=false"
    assert await peak_gb(desk, "like-phi", kept) > 1.5 * await peak_gb(desk, "like-gpt_neox", kept)


async def test_of_a_model_that_sees_images_the_text_part_is_read_from_its_weights(desk: PaidDesk) -> None:
    answer = await told(desk, "gemma", tuning="lora", hardware="a100-large")
    assert "guessed" not in answer.text
    assert answer.result["options"][0]["peak_gb"] == pytest.approx(27, abs=3)


@pytest.mark.parametrize(("method", "expected"), [("sft", "no"), ("dpo", "no"), ("reward", "fits")])
async def test_a_model_that_only_encodes_can_learn_to_score_and_not_to_write(
    desk: PaidDesk, method: str, expected: str
) -> None:
    answer = await told(desk, "bert", method=method, tuning="lora", hardware="l4x1")
    assert answer.result["options"][0]["verdict"] == expected
    assert ("only encodes (bert)" in answer.text) == (expected == "no")


@pytest.mark.parametrize(
    ("model", "expected", "words"),
    [
        ("gptq", {"lora": "no", "qlora": "no", "full": "no"}, "stored quantised (gptq), on which a job cannot train"),
        ("nf4", {"lora": "no", "qlora": "fits", "full": "no"}, "on which only qlora trains"),
        ("gpt-oss", {"lora": "fits", "qlora": "no", "full": "no"}, "cannot be quantised anew: take lora"),
    ],
)
async def test_of_models_in_few_bits_it_is_said_what_can_be_trained(
    desk: PaidDesk, model: str, expected: dict[str, str], words: str
) -> None:
    assert await verdicts(desk, model, "a100-large") == expected
    assert words in (await told(desk, model, hardware="a100-large")).text


async def test_no_machine_without_a_gpu_is_named_for_experts_in_few_bits(desk: PaidDesk) -> None:
    """Counted by the bytes that are stored, gpt-oss would have no active parameters and cost nothing."""
    answer = await told(desk, "gpt-oss")
    assert answer.result["cheapest"].startswith("lora on ")
    assert [option for option in answer.result["options"] if option["hardware"].startswith("cpu")] == []


async def test_what_submit_training_is_asked_for_such_a_model_is_refused_with_the_tuning_to_take(
    desk: PaidDesk, hub: EmulatedHub
) -> None:
    hub.add_repo("acme/rows", {"train.jsonl": '{"text": "a"}\n' * 9}, repo_type="dataset")
    given = {"method": "sft", "model": "acme/nf4", "dataset": "acme/rows", "tuning": "lora", "dry_run": True}
    answer = await desk.ask("submit_training", **given)
    assert answer.result["status"] == "refused"
    (finding,) = [each for each in answer.result["findings"] if each["code"] == "model.trainable"]
    assert 'Use tuning="qlora"' in finding["fix"]
    assert "No machine can run it" in answer.text


async def test_weights_in_the_old_format_are_sized_by_their_config(desk: PaidDesk) -> None:
    (option,) = (await told(desk, "old", tuning="lora", hardware="l4x1")).result["options"]
    assert option["peak_gb"] == pytest.approx(18.5, abs=1)


async def test_a_repository_of_gguf_files_alone_is_refused_with_what_to_name(desk: PaidDesk) -> None:
    answer = await desk.ask("estimate_cost", **GIVEN, model="acme/gguf")
    assert answer.is_error
    assert "only GGUF files, which are for inference" in answer.text
    assert "Name the model they were made from" in answer.text


async def test_a_cap_below_everything_names_the_least_that_would_do_and_no_choice(desk: PaidDesk) -> None:
    answer = await told(desk, "qwen3-8b", max_cost_usd=0.5)
    assert {"cheapest", "fastest"}.isdisjoint(answer.result)
    (note,) = [each for each in answer.result["assumptions"] if each.startswith("nothing that fits stays below")]
    least = float(note.partition("lowest ceiling, $")[2].partition(";")[0])
    assert least > 0.5
    enough = await told(desk, "qwen3-8b", max_cost_usd=least)
    assert "nothing that fits" not in enough.text
    assert enough.result["cheapest"] in note


async def test_a_choice_is_never_one_that_the_cap_forbids(desk: PaidDesk) -> None:
    free = (await told(desk, "qwen3-8b")).result
    answer = (await told(desk, "qwen3-8b", max_cost_usd=5)).result
    below = {f"{each['tuning']} on {each['hardware']}" for each in answer["options"]}
    assert {answer["cheapest"], answer["fastest"]} <= below
    assert not any("above max_cost_usd" in each["reason"] for each in answer["options"])
    assert len(answer["options"]) < len(free["options"])


async def test_where_nothing_fits_the_machine_that_sharding_makes_fit_is_shown(desk: PaidDesk) -> None:
    found = (await told(desk, "qwen3-32b", tuning="full")).result["options"]
    assert {each["verdict"] for each in found} == {"no"}
    assert "strategy=fsdp2 spreads it over the GPUs and fits" in found[0]["reason"]
    spread = await verdicts(desk, "qwen3-32b", found[0]["hardware"], tuning="full", trainer_args=["strategy=fsdp2"])
    assert spread == {"full": "fits"}


async def test_the_most_that_fits_is_told_and_true(desk: PaidDesk) -> None:
    (option,) = (await told(desk, "qwen3-8b", tuning="lora", hardware="l4x1")).result["options"]
    tokens = int(option["reason"].partition("or rows of up to ")[2].partition(" ")[0])
    for length, expected in ((tokens, "fits"), (tokens + 1, "tight")):
        asked = {"tuning": "lora", "max_length": length, "tokens_per_row": length}
        assert await verdicts(desk, "qwen3-8b", "l4x1", **asked) == {"lora": expected}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "3 epochs, batch_size 16: 938 steps"),
        ({"trainer_args": ["max_steps=20"]}, "at most, batch_size 16: 20 steps"),
        ({"tokens_per_row": 100_000}, "cut at max_length 4096"),
        ({"max_length": 100_000}, "max_length 100000 is more than the model's context of 40960 tokens"),
        ({}, "to start a container and install packages"),
        ({}, "to fetch and load models"),
        ({}, "to save checkpoints and push the result"),
        ({}, "hours_high takes 1.25 times as long to train and evaluate"),
        ({"method": "grpo"}, 'trainer_args=["use_vllm=true"] takes less time'),
        ({"rows": 1}, "1 row of 500 tokens"),
    ],
)
async def test_what_the_figures_rest_on_is_said(desk: PaidDesk, changes: dict[str, Any], words: str) -> None:
    answer = await told(desk, "qwen3-8b", tuning="lora", hardware="h200", **changes)
    assert words in "\n".join(answer.result["assumptions"])


async def test_a_method_without_vllm_is_not_told_to_use_it(desk: PaidDesk) -> None:
    assert "use_vllm" not in (await told(desk, "qwen3-8b", method="ppo", tuning="lora", hardware="h200")).text


@pytest.mark.parametrize(
    ("given", "meant"), [("a100", "a100-large"), ("L4", "l4x1"), ("h100", "h200"), ("rtx", "rtx-pro-6000")]
)
async def test_of_hardware_that_begins_so_the_cheapest_is_meant(desk: PaidDesk, given: str, meant: str) -> None:
    answer = await desk.ask("estimate_cost", **GIVEN, model="acme/qwen3-8b", hardware=given)
    assert answer.is_error
    assert f'Did you mean "{meant}"?' in answer.text


async def test_qlora_on_a_t4_says_why_not(desk: PaidDesk) -> None:
    answer = await told(desk, "qwen3-8b", tuning="qlora", hardware="t4-small")
    assert answer.result["options"][0]["verdict"] == "no"
    assert "qlora computes in bfloat16, which a T4 does not: take lora" in answer.text
