"""Strategies that spread a training over GPUs, vLLM, kernels: what a recipe makes of them and what it refuses."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.plan import run_key
from trl_mcp.recipes.extras import COMPILER_IMAGE, DEEPSPEED, KERNELS, VLLM, image
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.recipes.sharding import STRATEGIES
from trl_mcp.render.script import header_of, with_dependencies
from trl_mcp.render.templates import job_module, template_source

PLAIN = Asked("sft", "a/b", "c/d")
REWARDED = Asked("grpo", "a/b", "c/d", rewards=("think_format_reward",))


def recipe(asked: Asked = PLAIN, /, **trainer_args: Any) -> Recipe:
    return make_recipe(replace(asked, trainer_args=trainer_args))


def refusal(asked: Asked) -> str:
    with pytest.raises(InvalidArguments) as refused:
        make_recipe(asked)
    assert "Nothing was started." in str(refused.value)
    return str(refused.value)


def test_the_strategies_are_those_that_the_script_knows() -> None:
    assert {None, *STRATEGIES} == set(job_module("sharding").STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deepspeed_and_its_image_come_with_the_strategies_that_need_them(strategy: str) -> None:
    made = recipe(strategy=strategy)
    needs = strategy.startswith("zero")
    assert (DEEPSPEED in made.dependencies) == needs
    assert image(made.config, made.strategy) == (COMPILER_IMAGE if needs else "")


def test_a_training_that_is_spread_is_another_run_than_one_that_is_not() -> None:
    keys = {strategy: run_key(recipe(strategy=strategy).identity) for strategy in (*STRATEGIES, None)}
    assert keys["single_gpu"] == keys["multi_gpu"] == keys[None]
    assert len(set(keys.values())) == len(STRATEGIES) - 1


@pytest.mark.parametrize("strategy", ["fsdp1", "fsdp2", "zero3"])
def test_weights_in_4_bits_are_not_spread(strategy: str) -> None:
    words = refusal(Asked("sft", "a/b", "c/d", tuning="qlora", trainer_args={"strategy": strategy}))
    assert f"strategy {strategy}: weights in 4 bits are not spread over GPUs." in words
    assert "What works with sft and qlora: single_gpu, multi_gpu, zero1, zero2." in words


def test_adapters_are_not_merged_where_nobody_has_the_whole_base() -> None:
    assert recipe(replace(PLAIN, merge=True), strategy="zero2").merge
    words = refusal(Asked("sft", "a/b", "c/d", merge=True, trainer_args={"strategy": "fsdp2"}))
    assert "merge: not with strategy fsdp2" in words
    assert "convert_gguf merges it" in words


def test_vllm_comes_with_its_package_and_image_and_shares_the_gpus() -> None:
    made = recipe(REWARDED, use_vllm=True)
    assert VLLM in made.dependencies
    assert image(made.config, made.strategy) == COMPILER_IMAGE
    assert COMPILER_IMAGE.endswith(VLLM.replace("vllm==", ":v"))


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"grpo", "rloo"}))
def test_no_other_method_takes_vllm(method: str) -> None:
    rewards = ("think_format_reward",) if method == "online_dpo" else ("a/reward",) if method == "ppo" else ()
    taught = {"teacher_model": "a/teacher"} if method in {"gkd", "distillation"} else {}
    given = {"use_vllm": True, **taught}
    assert "use_vllm" in refusal(Asked(method, "a/b", "c/d", rewards=rewards, trainer_args=given))


@pytest.mark.parametrize(
    ("given", "loading"),
    [
        ({"attn_implementation": "kernels-community/flash-attn2"}, "kernels-community/flash-attn2"),
        ({"attn_implementation": "flash_attention_2"}, "kernels-community/flash-attn2"),
        ({"model_init_kwargs": {"attn_implementation": "flash_attention_3"}}, "kernels-community/flash-attn3"),
        ({"model_init_kwargs": '{"use_cache": false}', "attn_implementation": "sdpa"}, "sdpa"),
    ],
)
def test_attention_is_a_way_to_load_the_model_and_brings_its_kernels(given: dict[str, Any], loading: str) -> None:
    made = recipe(**given)
    assert made.config["model_init_kwargs"]["attn_implementation"] == loading  # type: ignore[index]
    assert (KERNELS in made.dependencies) == ("/" in loading)


def test_kernels_for_layers_are_asked_for_by_name_and_left_out_by_default() -> None:
    assert KERNELS in recipe(use_kernels="true").dependencies
    assert KERNELS not in recipe(use_kernels=False).dependencies
    assert "model_init_kwargs" not in recipe().config


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"attn_implementation": "somebody/flash-attn2"}, "kernels of kernels-community on the Hub"),
        ({"model_init_kwargs": {"attn_implementation": "somebody/flash"}}, "attn_implementation cannot be"),
        ({"attn_implementation": "fast"}, "It is sdpa, eager, flex_attention"),
        ({"use_kernels": "perhaps"}, "use_kernels cannot be"),
        ({"use_kernels": True, "model_init_kwargs": {"use_kernels": False}}, "Give it once."),
        ({"model_init_kwargs": "no object"}, "model_init_kwargs cannot be"),
    ],
)
def test_kernels_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        recipe(**given)
    assert words in str(refused.value)


def examples() -> list[dict[str, Any]]:
    page = (Path(__file__).resolve().parents[2] / "docs/scaling.md").read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["method"])
def test_the_examples_of_the_page_are_recipes(example: dict[str, Any]) -> None:
    given = dict(entry.split("=", 1) for entry in example["trainer_args"])
    rewards = tuple(example.get("rewards", ()))
    asked = Asked(example["method"], example["model"], example["dataset"], rewards=rewards, trainer_args=given)
    made = make_recipe(replace(asked, tuning=example.get("tuning", "lora")))
    assert made.strategy == given.get("strategy")


def test_the_page_names_the_versions_that_scripts_pin() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/scaling.md").read_text(encoding="utf-8")
    for pin in (DEEPSPEED, KERNELS, VLLM):
        assert pin.replace("==", " ") in page
    assert f"`{COMPILER_IMAGE}`" in page
    assert all(f"{name} {RESOLVED[name]}" in page for name in ("torch", "transformers", "trl"))


def test_vllm_is_added_beside_the_pins_it_was_resolved_with() -> None:
    header = with_dependencies(header_of(template_source("grpo")), recipe(REWARDED, use_vllm=True).dependencies)
    pins = re.findall(r'"([\w.-]+)(?:\[\w+\])?==([\w.]+)"', header)
    assert dict(pins) == RESOLVED | {"vllm": VLLM.partition("==")[2]}


# One solution of uv's resolver for Linux on x86_64 with Python 3.12 has all of these.
RESOLVED = {
    "torch": "2.13.0",
    "trl": "1.16.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "datasets": "5.2.0",
    "accelerate": "1.15.0",
    "trackio": "0.43.0",
}
