"""Rewards: what an entry means, and reward code that is read and never run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.recipes.reward_code import reward_functions
from trl_mcp.recipes.rewards import Reward
from trl_mcp.values import Severity

CODE = """
import re

LIMIT = 3


def _digits(text):
    return re.findall("[0-9]", text)


def right(prompts, completions, answer, *, unit, margin=0, **kwargs):
    return [float(text == wanted) for text, wanted in zip(completions, answer)]


def short(completions, trainer_state=None, log_metric=None):
    return [-len(text) for text in completions]
"""


def recipe(method: str = "grpo", **arguments: Any) -> Recipe:
    return make_recipe(Asked(method=method, model="a/b", dataset="c/d", **arguments))


def refusal(method: str = "grpo", **arguments: Any) -> str:
    with pytest.raises(InvalidArguments) as caught:
        recipe(method, **arguments)
    assert "Nothing was started." in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "reward"),
    [
        ("right", Reward("right", "code")),
        ("right:0.5", Reward("right", "code", 0.5)),
        ("think_format_reward:2", Reward("think_format_reward", "trl", 2.0)),
        ("org/reward", Reward("org/reward", "model")),
        (" org/reward@v1:-0.2 ", Reward("org/reward", "model", -0.2, "v1")),
        ("/models/reward:1e-1", Reward("/models/reward", "model", 0.1)),
    ],
)
def test_an_entry_is_read_as_what_it_names(entry: str, reward: Reward) -> None:
    made = recipe(rewards=(entry, "short"), reward_code=CODE)
    assert made.rewards == (reward, Reward("short", "code"))


def test_the_columns_that_functions_cannot_do_without_are_known() -> None:
    made = recipe(rewards=("right", "accuracy_reward", "short"), reward_code=CODE)
    assert made.reward_columns == ("answer", "unit", "solution")


def test_the_only_function_need_not_be_named() -> None:
    code = "def _help(text):\n    return 1\n\ndef good(completions, **kwargs):\n    return [1.0 for _ in completions]\n"
    assert recipe(reward_code=code).rewards == (Reward("good", "code"),)
    assert "Name those that are rewards, of: right, short." in refusal(reward_code=CODE)


def test_reward_models_are_references_and_name_the_run() -> None:
    made = recipe(rewards=("org/reward@v1", "/models/reward"))
    assert [(model.id, model.revision, model.is_folder) for model in made.reward_models] == [
        ("org/reward", "v1", False),
        ("/models/reward", None, True),
    ]
    assert made.identity != recipe(rewards=("org/reward@v2", "/models/reward")).identity


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "grpo needs rewards to learn from"),
        ({"rewards": ("rigth",), "reward_code": CODE}, 'Did you mean "right"?'),
        ({"rewards": ("acuracy_reward",)}, 'Did you mean "accuracy_reward"?'),
        ({"rewards": ("short", "short:2"), "reward_code": CODE}, "short more than once"),
        ({"rewards": ("short:nan",), "reward_code": CODE}, "no finite number"),
        ({"rewards": ("org/reward",), "reward_code": CODE}, "names none of its functions"),
        ({"rewards": ("judge:model",)}, "names no judge"),
        ({"reward_code": "def f(:\n"}, "line 1"),
        ({"reward_code": "x = 1"}, "defines no function"),
        ({"reward_code": "async def f(completions): ..."}, "is async"),
        ({"reward_code": "def f(completions, /): ..."}, "arguments without names"),
        ({"reward_code": "x = '\0'"}, "no valid Python"),
        ({"reward_code": "(" * 5000}, "no valid Python"),
    ],
)
def test_what_is_no_reward_is_refused_with_what_would_be_one(arguments: dict[str, Any], words: str) -> None:
    assert words in refusal(**arguments)


@pytest.mark.parametrize("method", ["sft", "dpo", "prm"])
@pytest.mark.parametrize("arguments", [{"rewards": ("a/b",)}, {"reward_code": CODE}])
def test_methods_without_rewards_refuse_them(method: str, arguments: dict[str, Any]) -> None:
    assert "grpo, online_dpo, ppo, rloo have it" in refusal(method, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rewards": ("a/b", "a/c")}, "exactly one reward model"),
        ({"rewards": ("accuracy_reward",)}, "exactly one reward model"),
        ({"rewards": ("a/b:0.5",)}, "cannot be weighed"),
        ({"reward_code": CODE}, "learns from one reward model"),
        ({}, "Give rewards: a reward model."),
    ],
)
def test_ppo_learns_from_one_reward_model(arguments: dict[str, Any], words: str) -> None:
    assert words in refusal("ppo", **arguments)
    assert recipe("ppo", rewards=("a/b",)).rewards == (Reward("a/b", "model"),)


@pytest.mark.parametrize("name", ["accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward"])
def test_an_accuracy_reward_brings_its_package_and_proposes_a_system_prompt(name: str) -> None:
    made = recipe(rewards=(name,))
    assert made.dependencies == ("math-verify==0.9.0",)
    assert [(found.code, found.severity) for found in made.findings] == [("reward.boxed", Severity.WARNING)]
    told = recipe(rewards=(name,), system_prompt=r"Write the answer in \boxed{}.")
    assert told.findings == ()
    assert recipe(rewards=("think_format_reward",)).dependencies == ()


def test_reward_code_is_never_run() -> None:
    assert list(reward_functions("1 / 0\n\ndef f(completions):\n    return []\n")) == ["f"]


def read_or_refusal(code: str) -> list[str] | InvalidArguments:
    try:
        return list(reward_functions(code))
    except InvalidArguments as error:
        return error


@given(st.text(max_size=200) | st.text("def f(x, y=1, /):\n async.", max_size=60))
def test_any_text_is_functions_or_a_refusal(code: str) -> None:
    answer = read_or_refusal(code)
    if isinstance(answer, InvalidArguments):
        assert answer.what.startswith(("reward_code", "The reward function"))
    else:
        assert all(name.isidentifier() for name in answer)


def test_every_method_with_rewards_is_one_whose_template_reads_them() -> None:
    taking = {name for name in METHODS if METHODS[name].rewards != "none"}
    assert taking == {"grpo", "rloo", "online_dpo", "ppo"}
