"""The recipe: complete, with the batch split worked out, and named by what was asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.training import run_values
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe, one_line

DEVICE, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"


def recipe(method: str = "sft", **arguments: Any) -> Recipe:
    return make_recipe(Asked(method=method, model="a/b", dataset="c/d", **arguments))


def line(**arguments: Any) -> str:
    return one_line(run_values(recipe(**arguments), "3f2a9c1b7d4e"), "b")


def split(made: Recipe) -> tuple[object, object]:
    return made.config[DEVICE], made.config[ACCUMULATION]


def test_every_default_is_spelled_out() -> None:
    assert line() == (
        "sft lora of b, 3 epochs, batch_size 16 (8 per device x 2 accumulated), learning_rate 0.0002, "
        "lr_scheduler_type linear, warmup_steps 0, optim adamw_torch_fused, weight_decay 0, packing False, seed 42, "
        "max_length 1024, report_to trackio, lora_r 16, lora_alpha 32, lora_dropout 0, "
        "lora_target_modules all-linear"
    )


def test_full_fine_tuning_has_defaults_of_its_own_and_no_adapter() -> None:
    made = recipe(tuning="full")
    assert made.lora is None
    assert made.config["learning_rate"] == 2e-5
    assert "lora" not in line(tuning="full")


def test_steps_come_before_epochs() -> None:
    assert ", 50 steps, " in line(trainer_args={"max_steps": 50})


@given(st.integers(1, 10_000))
def test_the_device_batch_is_the_largest_divisor_up_to_eight(batch: int) -> None:
    made = recipe(batch_size=batch)
    device, steps = made.config[DEVICE], made.config[ACCUMULATION]
    assert isinstance(device, int)
    assert isinstance(steps, int)
    assert (device * steps, made.batch_size) == (batch, batch)
    assert device == max(size for size in range(1, 9) if batch % size == 0)


@pytest.mark.parametrize(
    ("given_split", "batch", "expected"),
    [
        ({DEVICE: 4}, None, (4, 4)),
        ({ACCUMULATION: 4}, None, (4, 4)),
        ({DEVICE: 32}, None, (32, 1)),
        ({DEVICE: 3, ACCUMULATION: 5}, None, (3, 5)),
        ({DEVICE: 2}, 6, (2, 3)),
        ({ACCUMULATION: 6}, 6, (1, 6)),
    ],
)
def test_what_is_given_of_the_batch_split_is_kept(
    given_split: dict[str, int], batch: int | None, expected: tuple[int, int]
) -> None:
    assert split(recipe(batch_size=batch, trainer_args=given_split)) == expected


@pytest.mark.parametrize(
    ("given_split", "batch"), [({DEVICE: 5}, 16), ({DEVICE: 4, ACCUMULATION: 2}, 16), ({DEVICE: 0}, 4)]
)
def test_a_split_that_is_not_the_batch_is_refused(given_split: dict[str, int], batch: int) -> None:
    with pytest.raises(InvalidArguments, match="Nothing was started"):
        recipe(batch_size=batch, trainer_args=given_split)


def test_evaluating_holds_rows_out_where_no_split_is_named() -> None:
    made = recipe(trainer_args={"eval_steps": 10})
    assert (made.eval_split, made.config["eval_strategy"]) == (0.05, "steps")
    assert [finding.code for finding in made.findings] == ["eval.hold_out"]


@pytest.mark.parametrize(
    ("text", "split_or_share"), [("0.1", 0.1), ("test", "test"), ("validation[:10%]", "validation[:10%]")]
)
def test_an_evaluation_split_is_a_name_or_a_share(text: str, split_or_share: object) -> None:
    made = recipe(eval_split=text)
    assert (made.eval_split, made.config["eval_strategy"]) == (split_or_share, "epoch")


def test_keeping_the_best_model_saves_at_every_evaluation() -> None:
    config = recipe(eval_split="0.1", trainer_args={"load_best_model_at_end": True, "eval_steps": 25}).config
    assert (config["save_strategy"], config["save_steps"], config["metric_for_best_model"]) == (
        "steps",
        25,
        "eval_loss",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_length": None, "trainer_args": {}},
        {"epochs": 3.0},
        {"learning_rate": 2e-4},
        {"batch_size": 16},
        {"trainer_args": {"lora_alpha": 32}},
    ],
)
def test_saying_a_default_does_not_change_what_is_trained(arguments: dict[str, Any]) -> None:
    assert recipe(**arguments).identity == recipe().identity


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 2},
        {"learning_rate": 1e-5},
        {"batch_size": 8},
        {"max_length": 512},
        {"tuning": "full"},
        {"system_prompt": "Be kind."},
        {"columns": {"text": "body"}},
        {"dataset_split": "train[:10]"},
        {"eval_split": "0.1"},
        {"trainer_args": {"packing": True}},
        {"trainer_args": {"r": 8}},
        {"trainer_args": {"seed": 7}},
    ],
)
def test_asking_for_something_else_is_another_training(arguments: dict[str, Any]) -> None:
    assert recipe(**arguments).identity != recipe().identity


@pytest.mark.parametrize("derived", [DEVICE, ACCUMULATION, "max_length", "save_steps", "save_strategy"])
def test_what_was_derived_names_no_training(derived: str) -> None:
    config = recipe().identity["config"]
    assert isinstance(config, dict)
    assert derived not in config
