"""Judges among the rewards: what an entry names, and the rubric that they go by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.judges import Judge, check_rubric, judge_named, rubric_columns
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.recipes.rewards import Reward

PARTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)


def recipe(method: str = "grpo", **arguments: Any) -> Recipe:
    return make_recipe(Asked(method=method, model="a/b", dataset="c/d", **arguments))


@pytest.mark.parametrize(
    ("entry", "reward"),
    [
        ("judge:org/model", Reward("judge:org/model", "judge")),
        ("judge:org/model:0.2", Reward("judge:org/model", "judge", 0.2)),
        ("judge:org/model:novita", Reward("judge:org/model:novita", "judge")),
        ("judge:org/model:hf-inference:-2", Reward("judge:org/model:hf-inference", "judge", -2.0)),
        (" judge: org/Model-1.5:cheapest:1e-1 ", Reward("judge:org/Model-1.5:cheapest", "judge", 0.1)),
    ],
)
def test_an_entry_names_a_model_a_provider_and_a_weight(entry: str, reward: Reward) -> None:
    assert recipe(rewards=(entry,)).rewards == (reward,)


@given(PARTS, PARTS, st.none() | st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True))
def test_what_a_judge_is_called_names_it_again(owner: str, name: str, provider: str | None) -> None:
    judge = Judge(f"{owner}/{name}", provider)
    assert judge_named(str(judge)) == judge


@pytest.mark.parametrize(
    "entry",
    [
        "judge",
        "judge:",
        "judge:model",
        "judge:0.5",
        "judge:org/model@v1",
        "judge:/models/judge",
        "judge:org/model:a:b",
        "judge:org/model:No Such",
        "judge:org/..",
        "judge:https://example.org/v1",
        "judge:local-20261121-000000-abcd",
    ],
)
def test_what_is_no_judge_is_refused_with_how_one_is_written(entry: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        recipe(rewards=(entry,))
    assert "names no judge" in str(caught.value)
    assert '"judge:owner/name:provider:0.2"' in str(caught.value)
    assert "Nothing was started." in str(caught.value)


def test_a_judge_stands_beside_other_rewards_and_alone_reads_no_column() -> None:
    made = recipe(rewards=("judge:org/model", "accuracy_reward:2", "org/model"))
    assert [reward.kind for reward in made.rewards] == ["judge", "trl", "model"]
    assert made.reward_columns == ("solution",)
    assert [model.id for model in made.reward_models] == ["org/model"]


def test_a_rubric_is_part_of_the_run_and_says_which_columns_are_read() -> None:
    rubric = "1: as good as {solution}, in {unit} or {solution}. 0: worse."
    made = recipe(rewards=("judge:org/model",), trainer_args={"judge_rubric": rubric})
    assert made.reward_columns == ("solution", "unit")
    assert made.rewards[0].as_run()["rubric"] == rubric
    assert "judge_rubric" not in made.config
    usual = recipe(rewards=("judge:org/model",))
    assert usual.identity != made.identity
    assert "rubric" not in usual.rewards[0].as_run()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rewards": ("judge:a/b",), "trainer_args": {"judge_rubric": ""}}, "judge_rubric cannot be"),
        ({"rewards": ("judge:a/b",), "trainer_args": {"judge_rubric": 5}}, "judge_rubric cannot be"),
        ({"rewards": ("judge:a/b",), "trainer_args": {"judge_rubric": "x" * 9000}}, "9,000 characters"),
        ({"rewards": ("judge:a/b",), "trainer_args": {"judge_rubric": "Is {completion} good?"}}, "{completion}, which"),
        ({"rewards": ("think_format_reward",), "trainer_args": {"judge_rubric": "Good?"}}, "rewards names no judge"),
        ({"rewards": ("judge:a/b", "judge:a/b:2")}, "judge:a/b more than once"),
        ({"method": "ppo", "rewards": ("judge:a/b",)}, "exactly one reward model, not from judge:a/b"),
        ({"method": "sft", "rewards": ("judge:a/b",)}, "rewards is no argument of sft"),
        ({"method": "sft", "trainer_args": {"judge_rubric": "Good?"}}, "rewards names no judge"),
    ],
)
def test_what_cannot_be_judged_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        recipe(**arguments)
    assert words in str(caught.value)
    assert "Nothing was started." in str(caught.value)


@given(st.text(min_size=1, max_size=200))
def test_any_text_is_a_rubric_or_refused_and_its_columns_are_names(text: str) -> None:
    try:
        rubric = check_rubric(text)
    except InvalidArguments:
        assert not text.strip() or any(
            f"{{{name}}}" in text for name in ("prompt", "prompts", "completion", "completions")
        )
        return
    assert rubric == text
    assert all(name.isidentifier() and f"{{{name}}}" in text for name in rubric_columns(rubric))
