"""Rewards that cannot be used are refused before anything starts: code that is none, names and columns that are not."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.face.conftest import Ask, Refuses

pytestmark = pytest.mark.anyio

ROWS = [{"prompt": f"What is {number} + 1?", "answer": f"{number + 1}"} for number in range(12)]
SHORT = "def short(completions):\n    return [-len(text) for text in completions]\n"
RIGHT = "def right(completions, {}):\n    return [float(a in b) for a, b in zip({}, completions)]\n"


@pytest.fixture
def environ(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The operator's shell, in which code of the user's own may run on this machine."""
    return {**environ, "TRL_MCP_ALLOW_LOCAL_CODE": "1"}


@pytest.fixture
def training(training: dict[str, Any], write_rows: WriteRows) -> dict[str, Any]:
    """Return arguments of a training by rewards, which are still missing."""
    return training | {"method": "grpo", "dataset": str(write_rows("data/questions.jsonl", ROWS))}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def short(completions:\n    return 1", ["reward_code is no valid Python: line 1", "Correct it."]),
        ("1 +", ["reward_code is no valid Python"]),
        ("(" * 500 + ")" * 500, ["reward_code is no valid Python"]),
        ("\0", ["reward_code is no valid Python"]),
        ("", ["reward_code defines no function", "def short(completions"]),
        ("short = len", ["reward_code defines no function"]),
        ("class Short:\n    pass", ["reward_code defines no function"]),
        (f"async {SHORT}", ["short (line 1) is async", "plain `def`"]),
        (
            "def short(completions, /):\n    return []",
            ["short (line 1) takes arguments without names", "Take out the /"],
        ),
        (f"{SHORT}{SHORT.replace('short', 'long')}", ["defines 2 functions", "short, long"]),
    ],
)
async def test_code_that_is_no_reward_is_refused(refuses_training: Refuses, code: str, words: list[str]) -> None:
    await refuses_training(*words, reward_code=code)


@pytest.mark.parametrize("method", ["grpo", "rloo", "online_dpo"])
async def test_rewards_are_refused_by_what_they_may_be(refuses_training: Refuses, method: str) -> None:
    await refuses_training(f"{method} needs rewards to learn from", method=method)
    await refuses_training(
        'No reward is called "acuracy_reward". Did you mean "accuracy_reward"?',
        "In reward_code: none",
        "think_format_reward",
        "A reward model",
        method=method,
        rewards=["acuracy_reward"],
    )
    await refuses_training("rewards names none of its functions", method=method, reward_code=SHORT, rewards=["a/model"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reward_code": SHORT}, ["reward_code cannot be used with ppo", "grpo or rloo"]),
        ({"rewards": ["think_format_reward"]}, ["exactly one reward model, not from think_format_reward"]),
        ({"rewards": ["a/one", "a/two"]}, ["exactly one reward model, not from a/one, a/two"]),
        ({"rewards": ["a/one:0.5"]}, ["one reward, which cannot be weighed", "kl_coef"]),
        ({}, ["ppo needs rewards", "a reward model"]),
    ],
)
async def test_ppo_learns_from_one_reward_model(
    refuses_training: Refuses, arguments: dict[str, Any], words: list[str]
) -> None:
    await refuses_training(*words, method="ppo", **arguments)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "reward", "prm", "orpo", "cpo"])
async def test_a_method_that_learns_from_rows_has_no_rewards(refuses_training: Refuses, method: str) -> None:
    taking = ["grpo", "online_dpo", "ppo", "rloo"]
    await refuses_training(f"reward_code is no argument of {method}", *taking, method=method, reward_code=SHORT)
    await refuses_training(
        f"rewards is no argument of {method}", *taking, method=method, rewards=["think_format_reward"]
    )


@pytest.mark.parametrize("column", ["answers", "completion_text"])
async def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    refuses_training: Refuses, ask: Ask, training: dict[str, Any], column: str
) -> None:
    code = RIGHT.format(column, column)
    await refuses_training("grpo.reward", f"The rewards read {column}", "answer", "columns=", reward_code=code)
    looked = await ask("validate_dataset", dataset=training["dataset"], method="grpo", reward_code=code)
    assert looked.result["verdict"] == "needs_columns"
    assert f"The rewards read {column}" in looked.text


@pytest.mark.parametrize("column", ["answer", "answer, **kwargs", "answer, prompts, trainer_state=None", "*, answer"])
async def test_a_column_that_is_there_is_read(ask: Ask, training: dict[str, Any], column: str) -> None:
    code = RIGHT.format(column, "answer")
    answer = await ask("submit_training", **training, reward_code=code, dry_run=True)
    assert answer.result["status"] == "planned", answer.text
    assert "rewards right" in answer.result["recipe"]
    looked = await ask("validate_dataset", dataset=training["dataset"], method="grpo", reward_code=code)
    assert looked.result["verdict"] == "ready", looked.text


async def test_a_column_is_taken_from_where_the_call_says(ask: Ask, training: dict[str, Any]) -> None:
    code = RIGHT.format("solution", "solution")
    renamed = training | {"reward_code": code, "columns": ["solution=answer"], "dry_run": True}
    assert (await ask("submit_training", **renamed)).result["status"] == "planned"


async def test_an_accuracy_reward_needs_solutions_and_answers_in_a_box(
    refuses_training: Refuses, ask: Ask, training: dict[str, Any]
) -> None:
    await refuses_training("grpo.reward", "The rewards read solution", rewards=["accuracy_reward"])
    right = training | {"rewards": ["accuracy_reward"], "columns": ["solution=answer"], "dry_run": True}
    answer = await ask("submit_training", **right)
    assert answer.result["status"] == "planned", answer.text
    (found,) = [each for each in answer.result["findings"] if each["code"] == "reward.boxed"]
    assert found["severity"] == "warning"
    assert r"\boxed{}" in found["fix"]
    prompt = json.loads(found["fix"].partition("system_prompt to ")[2].replace("\\", "\\\\"))
    told = await ask("submit_training", **right, system_prompt=prompt)
    assert "reward.boxed" not in [each["code"] for each in told.result["findings"]]


async def test_code_is_never_run_on_the_server(ask: Ask, training: dict[str, Any], tmp_path: Any) -> None:
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w').close()\n{SHORT}"
    answer = await ask("submit_training", **training, reward_code=code, dry_run=True)
    assert answer.result["status"] == "planned", answer.text
    await ask("validate_dataset", dataset=training["dataset"], method="grpo", reward_code=code)
    assert not mark.exists()
