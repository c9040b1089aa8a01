"""The thirteen methods: each with complete defaults, its trainer's fields, and what it needs beside model and data."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.defaults import default, lora_defaults
from trl_mcp.recipes.method import Method, Rewards
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import TUNINGS, Asked, Recipe, make_recipe, one_line
from trl_mcp.recipes.trainer_arguments import argument_table
from trl_mcp.render.templates import job_module, template_source

EVERY_METHOD = pytest.mark.parametrize("name", sorted(METHODS))
DEVICE, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
NEEDS: dict[str, dict[str, Any]] = {
    "grpo": {"rewards": ("think_format_reward",)},
    "rloo": {"rewards": ("think_format_reward",)},
    "online_dpo": {"rewards": ("a/reward",)},
    "ppo": {"rewards": ("a/reward",)},
    "distillation": {"trainer_args": {"teacher_model": "a/teacher@v2"}},
    "gkd": {"trainer_args": {"teacher_model": "a/teacher"}},
}


def recipe(method: str, **arguments: Any) -> Recipe:
    needs = NEEDS.get(method, {})
    trainer_args = needs.get("trainer_args", {}) | arguments.pop("trainer_args", {})
    return make_recipe(
        Asked(method=method, model="a/b", dataset="c/d", **(needs | arguments | {"trainer_args": trainer_args}))
    )


def refusal(method: str, **arguments: Any) -> str:
    with pytest.raises(InvalidArguments) as caught:
        recipe(method, **arguments)
    assert "Nothing was started." in str(caught.value)
    return str(caught.value)


def fields(method: Method) -> set[str]:
    return set(argument_table(method.config_name))


def test_all_thirteen_methods_are_there() -> None:
    stable = {"sft", "dpo", "kto", "reward", "grpo", "rloo", "distillation"}
    assert {name for name in METHODS if not METHODS[name].is_experimental} == stable
    assert METHODS.keys() - stable == {"orpo", "cpo", "online_dpo", "gkd", "ppo", "prm"}


@EVERY_METHOD
def test_a_method_names_the_version_of_trl_that_its_template_pins(name: str) -> None:
    assert f'"trl=={METHODS[name].trl}"' in template_source(name)


@EVERY_METHOD
def test_rows_of_every_method_can_be_read(name: str) -> None:
    targets: Any = job_module("rows")
    assert name in targets.METHOD_TARGETS


@EVERY_METHOD
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_recipe_holds_only_fields_that_its_trainer_has(name: str, tuning: str) -> None:
    made = recipe(name, tuning=tuning)
    assert set(made.config) <= fields(METHODS[name])
    assert made.lora == (None if tuning == "full" else lora_defaults())
    assert made.config["learning_rate"] == default(name, tuning, "learning_rate").value
    assert made.dependencies == (("bitsandbytes==0.50.2",) if tuning == "qlora" else ())
    assert made.template == name


@EVERY_METHOD
def test_every_default_has_a_source_and_adapters_learn_faster(name: str) -> None:
    method = METHODS[name]
    assert all(entry.source for entry in (*method.defaults.values(), *method.adapter_defaults.values()))
    full, lora, qlora = (method.default("learning_rate", tuning) for tuning in ("full", "lora", "qlora"))
    assert full is not None
    assert lora is not None
    assert lora == qlora
    assert lora.value == pytest.approx(10 * float(str(full.value)))


@EVERY_METHOD
def test_a_limit_of_the_length_is_taken_where_the_trainer_has_one(name: str) -> None:
    if "max_length" in fields(METHODS[name]):
        assert recipe(name, max_length=77).config["max_length"] == 77
    else:
        field = METHODS[name].answer_length
        assert f"{name} has no max_length" in refusal(name, max_length=77)
        assert f"Use {field} in trainer_args." in refusal(name, max_length=77)
        assert field in fields(METHODS[name])


@EVERY_METHOD
def test_the_line_of_a_recipe_names_method_and_batch(name: str) -> None:
    made = recipe(name)
    run: dict[str, Any] = {"method": name, "tuning": made.tuning, "config": made.config, "lora": made.lora}
    run["rewards"] = [reward.as_run() for reward in made.rewards]
    line = one_line(run, "b")
    assert line.startswith(f"{name} lora of b, ")
    assert f"batch_size {made.batch_size} (" in line
    assert all(reward.name in line for reward in made.rewards)


@given(st.sampled_from(sorted(METHODS)), st.integers(2, 500), st.integers(2, 16))
def test_any_batch_is_split_so_that_its_parts_make_it_up(name: str, batch: int, group: int) -> None:
    grouped = METHODS[name].answers_in_groups
    made = recipe(name, batch_size=batch, trainer_args={"num_generations": group} if grouped else {})
    device, steps = made.config[DEVICE], made.config[ACCUMULATION]
    assert isinstance(device, int)
    assert isinstance(steps, int)
    assert device * steps == batch * (group if grouped else 1)
    assert device >= METHODS[name].least_device_batch
    assert made.batch_size == batch


def test_kto_needs_two_rows_at_a_time() -> None:
    assert recipe("kto", batch_size=13).config[DEVICE] == 13
    assert "per_device_train_batch_size cannot be 1" in refusal("kto", batch_size=1)
    assert recipe("kto", batch_size=1, trainer_args={"loss_type": "apo_zero_unpaired"}).config[DEVICE] == 1
    assert "sequential" in refusal("kto", trainer_args={"train_sampling_strategy": "random"})


def test_groups_that_do_not_come_out_even_are_refused_with_the_numbers_that_do() -> None:
    message = refusal("grpo", trainer_args={DEVICE: 4, ACCUMULATION: 3, "num_generations": 8})
    assert "4 x gradient_accumulation_steps 3 makes 12 answers" in message
    assert "num_generations 2 or 3 or 4 or 6 or 12, or gradient_accumulation_steps 2 or a multiple" in message
    fixed = recipe("grpo", trainer_args={DEVICE: 4, ACCUMULATION: 2, "num_generations": 8})
    assert fixed.batch_size == 1


@pytest.mark.parametrize("name", ["steps_per_generation", "generation_batch_size"])
def test_a_generation_batch_holds_whole_groups(name: str) -> None:
    message = refusal("rloo", trainer_args={DEVICE: 3, ACCUMULATION: 4, "num_generations": 6, name: 3})
    works = re.findall(r"What works: (\d+) or a multiple", message)
    assert len(works) == 1
    recipe("rloo", trainer_args={DEVICE: 3, ACCUMULATION: 4, "num_generations": 6, name: int(works[0])})


def test_evaluations_of_groups_are_whole_too() -> None:
    made = recipe("grpo", eval_split="0.1", trainer_args={"num_generations": 6})
    assert made.config["per_device_eval_batch_size"] == 6
    message = refusal("grpo", eval_split="0.1", trainer_args={"num_generations": 6, "per_device_eval_batch_size": 8})
    assert "What works: 6 or a multiple of it." in message


@pytest.mark.parametrize(
    ("method", "trainer_args", "words"),
    [
        ("grpo", {"auto_find_batch_size": True}, "auto_find_batch_size could tear"),
        ("grpo", {"num_generations": 1}, "at least 2 answers"),
        ("grpo", {"steps_per_generation": 8, "generation_batch_size": 64}, "say the same thing"),
        ("online_dpo", {"use_vllm": True}, "use_vllm is possible with grpo and rloo only"),
        ("sft", {"padding_free": True}, "padding_free needs packing"),
        ("ppo", {"num_mini_batches": 3, DEVICE: 4, ACCUMULATION: 2}, "It can be 1, 2, 4, 8."),
        ("ppo", {"whiten_rewards": True, DEVICE: 2, ACCUMULATION: 2}, "needs 8 rows in a mini batch, and there are 4"),
        ("ppo", {"total_episodes": 100}, "Use epochs, or max_steps"),
        ("ppo", {"batch_size": 8}, "Use the argument batch_size."),
        ("dpo", {"lora_target_modules": "q_proj,lm_head"}, "lm_head cannot be among target_modules"),
        ("grpo", {"use_vllm": True, "vllm_mode": "server"}, "vllm_mode cannot be server"),
        ("rloo", {"use_vllm": True, "use_cpu": True}, "use_vllm needs a GPU"),
        ("online_dpo", {"strategy": "zero3"}, "strategy zero3: its trainer cannot copy a model"),
        ("ppo", {"strategy": "fsdp2"}, "What works with ppo and lora: single_gpu, multi_gpu."),
        ("dpo", {"strategy": "multigpu"}, 'Did you mean "multi_gpu"?'),
        ("dpo", {"report_to": "wanbd"}, 'Did you mean "wandb"?'),
        ("gkd", {"teacher_model": "relative/path/too/long"}, "model"),
    ],
)
def test_what_a_trainer_would_fail_on_is_refused(method: str, trainer_args: dict[str, Any], words: str) -> None:
    assert words in refusal(method, trainer_args=trainer_args)


@pytest.mark.parametrize("method", ["distillation", "gkd"])
def test_a_method_that_learns_from_a_teacher_needs_one(method: str) -> None:
    with pytest.raises(InvalidArguments, match="needs a teacher"):
        make_recipe(Asked(method=method, model="a/b", dataset="c/d"))


def test_a_teacher_is_a_model_reference_with_its_revision_apart() -> None:
    made = recipe("distillation")
    assert made.teacher is not None
    assert (made.teacher.id, made.teacher.revision) == ("a/teacher", "v2")
    assert made.config["teacher_model_name_or_path"] == "a/teacher"
    assert recipe("sft").teacher is None


@pytest.mark.parametrize(
    "arguments",
    [{"eval_split": "0.1"}, {"trainer_args": {"eval_steps": 5}}, {"trainer_args": {"eval_strategy": "epoch"}}],
)
def test_ppo_does_not_evaluate(arguments: dict[str, Any]) -> None:
    assert "ppo has no evaluation" in refusal("ppo", **arguments)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].rewards is Rewards.ANY])
def test_the_best_by_loss_is_no_best_where_rewards_count(method: str) -> None:
    assert "does not tell which model" in refusal(
        method, eval_split="0.1", trainer_args={"load_best_model_at_end": True, "eval_steps": 5}
    )


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"save_steps": 30}, "save_steps 30 is no multiple of 20"),
        ({"save_strategy": "epoch"}, "saves when it evaluates"),
    ],
)
def test_the_best_model_is_saved_when_it_is_evaluated(extra: dict[str, Any], words: str) -> None:
    config = {"load_best_model_at_end": True, "eval_steps": 20, **extra}
    assert words in refusal("dpo", eval_split="0.1", trainer_args=config)


@pytest.mark.parametrize("config", [{"fp16": True}, {"bf16": False}])
def test_four_bits_compute_in_bf16_only(config: dict[str, Any]) -> None:
    assert "qlora computes in bf16" in refusal("sft", tuning="qlora", trainer_args=config)
    assert recipe("sft", tuning="lora", trainer_args=config).config.items() >= config.items()


def test_merging_is_for_adapters() -> None:
    assert "full fine-tuning saves a whole model" in refusal("sft", tuning="full", merge=True)
    made = recipe("sft", merge=True)
    assert made.merge
    assert made.identity != recipe("sft").identity


def test_all_linear_is_a_word_and_no_list() -> None:
    made = recipe("sft", trainer_args={"target_modules": '["all-linear"]'})
    assert made.lora is not None
    assert made.lora["target_modules"] == "all-linear"
    assert made.identity == recipe("sft").identity
    assert [finding.code for finding in made.findings] == ["args.renamed"]


def test_where_metrics_go_and_how_many_devices_train_change_nothing_that_is_learned() -> None:
    made = recipe("sft", trainer_args={"strategy": "single_gpu", "report_to": "wandb,trackio"})
    assert (made.strategy, made.report_to) == ("single_gpu", ("wandb", "trackio"))
    assert made.dependencies == ("wandb==0.31.0",)
    assert made.config["report_to"] == ["wandb", "trackio"]
    assert made.identity == recipe("sft").identity
    assert recipe("sft", trainer_args={"report_to": ["none"]}).report_to == ()


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_32bit", "adamw_bnb_8bit", "lion_8bit"])
def test_optimizers_of_other_packages_bring_them_along(optimizer: str) -> None:
    assert recipe("sft", trainer_args={"optim": optimizer}).dependencies == ("bitsandbytes==0.50.2",)
    assert recipe("sft", trainer_args={"optim": "adafactor"}).dependencies == ()
