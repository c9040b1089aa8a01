"""Configuration files of TRL's command line: every entry lands where it belongs, is told as not used, or is refused."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.names import OWNED, REMOVED, RENAMED, TOOL_ARGUMENTS
from trl_mcp.recipes.ready_made import merged
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.recipes.trainer_arguments import argument_table
from trl_mcp.recipes.trl_yaml import MOST_BYTES, from_config, read_config
from trl_mcp.tools.submit_training import SubmitTraining

SEED = """
# Model
model_name_or_path: Qwen/Qwen3-0.6B
model_revision: main
# Data
dataset_name: trl-lib/Capybara
dataset_train_split: train
# Training
learning_rate: 2.0e-4
num_train_epochs: 1
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
gradient_checkpointing: true
eval_strategy: "no"
logging_steps: 5
max_length: 512
packing: true
# LoRA
use_peft: true
lora_r: 32
lora_alpha: 16
lora_target_modules: [all-linear]
# Output
output_dir: Qwen3-0.6B-SFT
push_to_hub: true
report_to: [trackio]
run_name: first
"""
# What TRL's command line knows: every option of `accelerate launch`, and every field of the classes it parses.
COMMAND_LINE = """
import dataclasses, importlib, json, sys
from accelerate.commands.launch import launch_command_parser
from trl.scripts.utils import DatasetMixtureConfig, ScriptArguments
from trl import ModelConfig
options = {word.lstrip("-").replace("-", "_") for action in launch_command_parser()._actions
           for word in action.option_strings if word.startswith("--")}
classes = [ModelConfig, ScriptArguments, DatasetMixtureConfig]
classes += [importlib.import_module(f"trl.scripts.{name}").__dict__[f"{name.upper()}ScriptArguments"]
            for name in ("grpo", "rloo")]
fields = {field.name: field.default for one in classes for field in dataclasses.fields(one)}
fields = {name: None if value is dataclasses.MISSING else value for name, value in fields.items()}
print(json.dumps([sorted(options - {"help"}), fields]))
"""

# What TRL's own parser reads of a file, as `trl sft --config` does.
PARSED = """
import json, sys
from trl import ModelConfig, SFTConfig, TrlParser
from trl.scripts.utils import DatasetMixtureConfig, ScriptArguments
classes = (ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig)
script, config, model, mixture = TrlParser(classes).parse_args_and_config(sys.argv[1:])
values = {**vars(script), **vars(model), **vars(config)}
print(json.dumps({name: values[name] for name in json.load(sys.stdin)}))
"""


def merge(text: object, **call: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of a call with this configuration, and what is said of it."""
    full: dict[str, Any] = {"method": "sft", "model": "a/model", "dataset": "a/data", "trainer_args": {}, **call}
    values, findings = merged(from_config(read_config(text), full), full, SubmitTraining.model_fields)
    return values, [finding.message for finding in findings]


def recipe_of(text: object, **call: Any) -> Recipe:
    """Return the recipe of a call with this configuration, read as the tool reads it."""
    values = SubmitTraining.model_validate(merge(text, **call)[0])
    return make_recipe(Asked(**values.model_dump(include=set(Asked.__dataclass_fields__) & values.model_fields_set)))


def refusal(text: object, **call: Any) -> str:
    with pytest.raises(InvalidArguments) as refused:
        merge(text, **call)
    assert "Nothing was started." in str(refused.value)
    return str(refused.value)


def test_the_entries_of_a_file_land_where_they_belong() -> None:
    recipe = recipe_of(SEED, model="Qwen/Qwen3-0.6B", dataset="trl-lib/Capybara")
    expected = {
        "learning_rate": 2e-4,
        "num_train_epochs": 1.0,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "gradient_checkpointing": True,
        "logging_steps": 5,
        "max_length": 512,
        "packing": True,
        "run_name": "first",
    }
    assert {name: recipe.config[name] for name in expected} == expected
    assert recipe.lora == {"r": 32, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": "all-linear"}
    assert (recipe.tuning, recipe.batch_size, recipe.report_to) == ("lora", 16, ("trackio",))
    assert (recipe.model.id, recipe.model.revision) == ("Qwen/Qwen3-0.6B", "main")
    assert recipe.eval_split is None


def test_what_is_taken_and_what_is_not_is_told() -> None:
    taken, unused, data, model = merge(SEED + "num_processes: 8\nenv:\n  A: b\n")[1]
    assert "learning_rate 0.0002" in taken
    assert "lora_alpha 16" in taken
    assert "eval_strategy" not in taken
    assert unused == "Not used of config: output_dir, push_to_hub, num_processes, env."
    assert [data, model] == [
        "model stays a/model: config names Qwen/Qwen3-0.6B@main.",
        "dataset stays a/data: config names trl-lib/Capybara.",
    ]


@pytest.mark.parametrize(
    ("call", "config"),
    [
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-3}),
        ({"epochs": 3}, {"num_train_epochs": 3}),
        ({"batch_size": 4}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}),
        ({"trainer_args": {"packing": "false"}}, {"packing": False}),
        ({"trainer_args": {"per_device_train_batch_size": 4}}, {"per_device_train_batch_size": 4}),
        ({"trainer_args": {"run_name": "second"}}, {"run_name": "second"}),
    ],
)
def test_what_the_call_gives_wins_over_the_file(call: dict[str, Any], config: dict[str, Any]) -> None:
    found = recipe_of(SEED, **call).config
    assert {name: found[name] for name in config} == config


def test_the_calls_own_lora_arguments_win_under_either_name() -> None:
    for name in ("r", "lora_r"):
        lora = recipe_of(SEED, trainer_args={name: 8}).lora
        assert lora is not None
        assert (lora["r"], lora["lora_alpha"]) == (8, 16)
    assert recipe_of(SEED, tuning="full").lora is None


@pytest.mark.parametrize(
    ("text", "tuning"),
    [
        ("learning_rate: 1.0e-5", "full"),
        ("use_peft: false\nlora_r: 8", "full"),
        ("use_peft: true", "lora"),
        ("lora_r: 8", "lora"),
        ("use_peft: true\nload_in_4bit: true", "qlora"),
        ("load_in_4bit: true", "qlora"),
    ],
)
def test_the_tuning_is_the_one_that_trl_would_do(text: str, tuning: str) -> None:
    assert merge(text)[0]["tuning"] == tuning
    assert recipe_of(text).tuning == tuning


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("dataset_train_split: train[:10%]", {"dataset_split": "train[:10%]"}),
        ("dataset_test_split: test\neval_strategy: epoch", {"eval_split": "test"}),
        ("test_split_size: 0.1\neval_strategy: steps", {"eval_split": "0.1"}),
        ("dataset_name: a/data\ndataset_config: main", {"dataset": "a/data:main"}),
        ("model_name_or_path: a/model\nmodel_revision: v1", {"model": "a/model@v1"}),
        ("datasets:\n  - path: a/data\n    name: main\n    split: test", {"dataset": "a/data:main"}),
        ("dataset_text_field: story", {"columns": {"text": "story"}}),
        ("max_seq_length: 64", {"max_length": 64}),
        ("learning_rate: 2e-5", {"learning_rate": "2e-5"}),
        ("warmup_ratio: 0.1", {"trainer_args": {"warmup_ratio": 0.1}}),
        ("attn_implementation: sdpa", {"trainer_args": {"attn_implementation": "sdpa"}}),
        ("accelerate_config: multi_gpu", {"trainer_args": {"strategy": "multi_gpu"}}),
        ("save_strategy: no", {"trainer_args": {"save_strategy": "no"}}),
        (
            "gradient_accumulation_steps: 4",
            {"trainer_args": {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 8}},
        ),
        (
            "lora_target_modules: [q_proj, v_proj]",
            {"trainer_args": {"lora_target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.05}},
        ),
        ("run_name: 2026-01-01", {"trainer_args": {"run_name": "2026-01-01"}}),
        ({"packing": True}, {"trainer_args": {"packing": True}}),
    ],
)
def test_an_entry_means_what_it_means_to_trl(text: object, arguments: dict[str, Any]) -> None:
    values, _ = merge(text)
    assert {name: values[name] for name in arguments} == arguments


def test_an_estimate_without_data_of_its_own_is_made_of_the_files() -> None:
    entries = read_config("dataset_name: a/data\ndataset_config: main")
    call = {"method": "sft", "model": "a/model"}
    assert from_config(entries, call).completed["dataset"] == "a/data:main"
    assert "dataset" not in from_config(entries, call | {"rows": 100}).completed


def test_rewards_are_read_in_the_order_of_trls_scripts() -> None:
    text = "reward_funcs: [accuracy_reward, think_format_reward]\nreward_model_name_or_path: a/judge\n"
    plain = merge(text, method="grpo")[0]
    weighed = merge(text + "reward_weights: [1, 0.5, 0.2]", method="grpo")[0]
    assert plain["rewards"] == ["a/judge", "accuracy_reward", "think_format_reward"]
    assert weighed["rewards"] == ["a/judge:1", "accuracy_reward:0.5", "think_format_reward:0.2"]
    assert "2 entries and there are 3" in refusal(text + "reward_weights: [1, 2]", method="grpo")


def test_a_teacher_is_named_with_its_revision() -> None:
    text = "teacher_model_name_or_path: a/teacher\nteacher_model_revision: v2\n"
    teacher = recipe_of(text, method="distillation").teacher
    assert teacher is not None
    assert (teacher.id, teacher.revision) == ("a/teacher", "v2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("just words", ["no mapping of names to values, but a text"]),
        ("- a\n- b", ["no mapping", "a list"]),
        ("", ["no mapping", "empty"]),
        ("# nothing but a comment", ["no mapping", "empty"]),
        ("7", ["no mapping", "a number"]),
        ([1], ["no mapping", "a list"]),
        ("1: 2", ["config names 1, which is no name but a number"]),
        ("a: [1", ["no valid YAML in line 1"]),
        ("learning_rate: 1\n  packing: true", ["no valid YAML in line 2"]),
        ("packing: !!python/name:os.system", ["no valid YAML in line 1"]),
        ("a: &x [1]\nb: *x", ["an alias"]),
        ("run_name: 2026-13-45", ["no valid YAML", "month"]),
        ("[" * 9000, ["nested too deep"]),
        ("a" * (MOST_BYTES + 1), ["larger than 100,000 bytes"]),
        ("learning_rat: 1", ['TRL has no entry "learning_rat"', 'Did you mean "learning_rate"?']),
        ("dataset_nam: a", ['Did you mean "dataset_name"?']),
        ("beta: 0.1", ["config: beta is no argument of sft", "dpo"]),
        ("num_generations: 4", ["config: num_generations is no argument of sft", "grpo"]),
        ("packing: perhaps", ["config: packing cannot be perhaps", "true or false"]),
        ("use_peft: perhaps", ["config: use_peft cannot be perhaps"]),
        ("load_in_8bit: true", ["load_in_8bit is not possible", "qlora"]),
        ("group_by_length: true", ["group_by_length no longer exists", "train_sampling_strategy"]),
        ("trust_remote_code: true", ["trust_remote_code cannot be given", "never run"]),
        ("report_to: wandbb", ["report_to cannot be wandbb"]),
        ("max_length: 8\nmax_seq_length: 16", ["gives max_length twice, as 8 and 16"]),
        ("datasets:\n  - path: a/b\n  - path: c/d", ["2 data sets: a/b, c/d", "Join them"]),
        ("datasets: words", ["no list of entries with a path"]),
        ("preset: trl-jobs", ['TRL has no entry "preset"']),
    ],
)
def test_what_cannot_be_read_is_refused_in_words_of_its_own(text: object, words: list[str]) -> None:
    told = refusal(text)
    assert [word for word in words if word not in told] == [], told


def test_entries_that_only_switch_off_what_is_not_there_are_left_out() -> None:
    text = "group_by_length: false\nload_in_8bit: false\ntrust_remote_code: false\noverwrite_output_dir: true\n"
    values, told = merge(text)
    assert values["trainer_args"] == {}
    assert told[1:] == ["Not used of config: group_by_length, trust_remote_code, overwrite_output_dir."]


NAMES = sorted(
    {*OWNED, *REMOVED, *RENAMED, *TOOL_ARGUMENTS, *argument_table("SFTConfig"), *argument_table("LoraConfig")}
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=9), VALUES, max_size=4), st.sampled_from(sorted(METHODS))
)
def test_any_entries_are_taken_or_refused(entries: dict[str, object], method: str) -> None:
    try:
        values, told = merge(entries, method=method)
    except InvalidArguments:
        event("refused")
    else:
        assert told
        assert set(values) <= set(SubmitTraining.model_fields)


def read_or_refusal(text: str) -> dict[str, object] | InvalidArguments:
    try:
        return read_config(text)
    except InvalidArguments as error:
        return error


@settings(max_examples=200)
@given(st.text(max_size=60) | st.text("ab:-[]{}*&!%#'\"|> \n\t0.", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    read = read_or_refusal(text)
    if isinstance(read, InvalidArguments):
        assert read.what.startswith("config ")
    else:
        assert read
        assert all(isinstance(name, str) for name in read)


@pytest.mark.training
def test_everything_that_trls_command_line_knows_is_understood(training_python: str) -> None:
    done = subprocess.run([training_python, "-c", COMMAND_LINE], capture_output=True, text=True, check=True)
    options, fields = json.loads(done.stdout.splitlines()[-1])
    assert len(options) > 100
    for name in [name for name in options if name not in argument_table("SFTConfig")]:
        merge({"learning_rate": 1e-5, name: "x"})
    needs_rewards = {"reward_funcs", "reward_model_name_or_path"}
    merge({name: value for name, value in fields.items() if name not in needs_rewards})
    merge(fields, method="grpo")


@pytest.mark.training
def test_trls_own_parser_reads_the_same_from_a_file(training_python: str, tmp_path: Path) -> None:
    path = tmp_path / "sft.yaml"
    path.write_text(SEED.replace("report_to: [trackio]", "report_to: none"), encoding="utf-8")
    recipe = recipe_of(SEED, model="Qwen/Qwen3-0.6B", dataset="trl-lib/Capybara")
    ours = {name: value for name, value in recipe.config.items() if name != "report_to"}
    assert recipe.lora is not None
    ours |= {name if name.startswith("lora_") else f"lora_{name}": value for name, value in recipe.lora.items()}
    ours |= {"model_name_or_path": recipe.model.id, "model_revision": recipe.model.revision}
    ours |= {"dataset_name": recipe.dataset.id, "dataset_train_split": recipe.dataset_split}
    command = [training_python, "-c", PARSED, "--config", str(path), "--use_cpu", "--bf16", "false"]
    done = subprocess.run(command, input=json.dumps([*ours]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ours
