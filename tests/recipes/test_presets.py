"""The presets of trl-jobs: each makes a recipe that the pinned TRL accepts; what the call gives comes first."""

import json
import subprocess
from typing import Any

import pytest

from tests.recipes.test_rendered_scripts import run_of, script_of
from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.presets import Preset, from_preset, presets
from trl_mcp.recipes.ready_made import merged
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.render.script import read_run
from trl_mcp.tools.submit_training import SubmitTraining
from trl_mcp.values import Finding, Severity

ALL = [pytest.param(preset, id=f"{preset.model.rpartition('/')[2]}-{preset.tuning}") for preset in presets()]
BOTH = "Qwen/Qwen3-8B"
ONLY_FULL = "Qwen/Qwen3-0.6B"
ONLY_LORA = "Qwen/Qwen3-32B"
ACCEPTS = """
import json, sys
from peft import LoraConfig
from trl import ModelConfig, SFTConfig, TrlParser
for config, lora in json.load(sys.stdin):
    fields = {**config, "use_cpu": True, "bf16": False, "report_to": "none", "output_dir": "unused"}
    made = SFTConfig(**fields)
    assert all(getattr(made, name) == value for name, value in config.items() if name != "report_to"), config
    flags = [word for name, value in fields.items() for word in (f"--{name}", json.dumps(value).strip('"'))]
    (parsed,) = TrlParser((SFTConfig,)).parse_args_into_dataclasses(flags)
    assert parsed.lr_scheduler_kwargs == config["lr_scheduler_kwargs"], parsed.lr_scheduler_kwargs
    assert parsed.warmup_steps == config["warmup_steps"]
    if lora:
        LoraConfig(**lora)
    print("accepted")
"""


def asked_of(model: str, **given: Any) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Return the arguments of a call with preset=trl-jobs, and what is said of them."""
    call: dict[str, Any] = {"method": "sft", "model": model, "dataset": "a/b", "trainer_args": {}, **given}
    return merged(from_preset("trl-jobs", call), call, SubmitTraining.model_fields)


def recipe_of(model: str, **given: Any) -> Recipe:
    return make_recipe(Asked(**asked_of(model, **given)[0]))


def refusal(model: str, preset: object = "trl-jobs", **given: Any) -> str:
    with pytest.raises(InvalidArguments, match="Nothing was started") as refused:
        from_preset(preset, {"method": "sft", "model": model} | given)
    return str(refused.value)


def test_there_are_nineteen_for_fifteen_models() -> None:
    assert len(presets()) == 19
    assert len({preset.model for preset in presets()}) == 15
    assert sum(preset.tuning == "lora" for preset in presets()) == 7


@pytest.mark.parametrize("preset", ALL)
def test_a_preset_becomes_a_script_with_its_values(preset: Preset) -> None:
    recipe = recipe_of(preset.model, tuning=preset.tuning)
    config: dict[str, Any] = read_run(script_of(recipe))["config"]  # pyright: ignore[reportAssignmentType]
    elsewhere = {"per_device_train_batch_size", "gradient_accumulation_steps", "attn_implementation", "use_kernels"}
    expected = {name: value for name, value in preset.fields.items() if name not in elsewhere | {"report_to"}}
    assert {name: config[name] for name in expected} == expected
    assert config["model_init_kwargs"] == {"attn_implementation": "kernels-community/flash-attn2", "use_kernels": True}
    assert any(package.startswith("kernels==") for package in recipe.dependencies)
    assert recipe.batch_size == preset.fields["gradient_accumulation_steps"]
    assert recipe.report_to == ("trackio",)
    assert recipe.tuning == preset.tuning
    assert (recipe.lora is not None) == (preset.tuning == "lora")


@pytest.mark.training
def test_the_pinned_trl_accepts_every_preset(training_python: str) -> None:
    runs = [run_of(recipe_of(preset.model, tuning=preset.tuning)) for preset in presets()]
    given = json.dumps([(run["config"], run["lora"]) for run in runs])
    done = subprocess.run([training_python, "-c", ACCEPTS], input=given, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["accepted"] * 19, done.stderr


@pytest.mark.parametrize(
    ("model", "given", "used"),
    [
        (BOTH, {}, "lora"),
        (BOTH, {"tuning": "full"}, "full"),
        (ONLY_FULL, {}, "full"),
        (ONLY_LORA, {}, "lora"),
        (ONLY_LORA, {"tuning": "qlora"}, "qlora"),
        ("qwen/qwen3-8b@main", {"tuning": "lora"}, "lora"),
    ],
)
def test_the_preset_that_exists_is_taken_where_no_tuning_is_given(model: str, given: dict[str, Any], used: str) -> None:
    values, findings = asked_of(model, **given)
    assert (given | values)["tuning"] == used
    assert ("tuning" in findings[0].message) == ("tuning" not in given)


def test_it_is_told_what_a_preset_sets_and_what_it_was_made_for() -> None:
    findings = asked_of(BOTH, learning_rate=1e-5)[1]
    assert {(finding.code, finding.severity) for finding in findings} == {("args.preset", Severity.INFO)}
    told = " ".join(finding.message for finding in findings)
    assert "max_length 24576" in told
    assert "a100-large" in told
    assert "learning_rate" not in told


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({"learning_rate": 1e-5}, {"learning_rate": 1e-5, "max_length": 24576}),
        ({"epochs": 2}, {"num_train_epochs": 2}),
        ({"max_length": 512}, {"max_length": 512}),
        ({"trainer_args": {"warmup_ratio": 0.1}}, {"warmup_steps": 0.1}),
        ({"trainer_args": {"packing": False, "seed": 1}}, {"packing": False, "seed": 1}),
        ({"trainer_args": {"project": "mine"}}, {"project": "mine"}),
        ({"batch_size": 2}, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}),
        (
            {"trainer_args": {"gradient_accumulation_steps": 4}},
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        ),
        (
            {"trainer_args": {"per_device_train_batch_size": 2}},
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        ),
        (
            {"trainer_args": {"attn_implementation": "sdpa", "use_kernels": False}},
            {"model_init_kwargs": {"attn_implementation": "sdpa", "use_kernels": False}},
        ),
        (
            {"trainer_args": {"model_init_kwargs": {"attn_implementation": "sdpa"}}},
            {"model_init_kwargs": {"attn_implementation": "sdpa", "use_kernels": True}},
        ),
    ],
)
def test_what_the_call_gives_wins_over_the_preset(given: dict[str, Any], config: dict[str, Any]) -> None:
    found = recipe_of(BOTH, tuning="lora", **given).config
    assert {name: found[name] for name in config} == config


def test_rows_are_not_padded_beyond_a_length_that_the_call_gives() -> None:
    assert "pad_to_multiple_of" not in recipe_of(BOTH, max_length=512).config
    assert recipe_of(BOTH, max_length=8192).config["pad_to_multiple_of"] == 4096


def test_gradient_checkpointing_under_its_new_name_leaves_the_old_one_out() -> None:
    config = recipe_of(BOTH, trainer_args={"activation_checkpointing": False}).config
    assert "gradient_checkpointing" not in config


def test_a_preset_is_the_same_run_as_its_values_written_out() -> None:
    values, _ = asked_of(BOTH)
    assert recipe_of(BOTH).identity == make_recipe(Asked(**values)).identity
    assert recipe_of(BOTH).identity != recipe_of(BOTH, tuning="full").identity


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (BOTH, {"preset": "trl-job"}, ["preset cannot be trl-job", 'Did you mean "trl-jobs"?']),
        (BOTH, {"preset": 7}, ["preset cannot be 7", "It is trl-jobs"]),
        (BOTH, {"method": "dpo"}, ["sft only, not for dpo"]),
        (ONLY_FULL, {"tuning": "lora"}, [f"{ONLY_FULL} with tuning lora", "It has one with tuning full"]),
        (ONLY_FULL, {"tuning": "qlora"}, ["with tuning qlora", "tuning full"]),
        (ONLY_LORA, {"tuning": "full"}, ["with tuning full", "tuning lora"]),
        ("/models/Qwen3-8B", {}, ["no preset for /models/Qwen3-8B", f"{BOTH} (full and lora)", f"{ONLY_LORA} (lora)"]),
        ("Qwen/Qwen3-80B", {}, ["no preset for Qwen/Qwen3-80B", "Did you mean"]),
        ("Qwen/Qwen3-32B-Base", {}, ["no preset", "SmolLM3-3B (full)"]),
    ],
)
def test_where_there_is_no_preset_it_is_said_which_there_are(
    model: str, given: dict[str, Any], words: list[str]
) -> None:
    text = refusal(model, **given)
    assert [word for word in words if word not in text] == [], text
