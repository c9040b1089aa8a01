"""Arguments that cannot be understood are refused in words that say what is wrong and how to go on."""

from typing import Any

import pytest

from tests.face.conftest import Ask, Refuses

pytestmark = pytest.mark.anyio

TOOLS = ["submit_training", "start_job", "job_status", "job_logs", "cancel_job"]
MISSPELT = [
    ("submit_training", "modell", "model"),
    ("submit_training", "dry_rum", "dry_run"),
    ("submit_training", "learning_rte", "learning_rate"),
    ("start_job", "timout", "timeout"),
    ("job_status", "wait_second", "wait_seconds"),
    ("job_logs", "patern", "pattern"),
    ("cancel_job", "jobid", "job_id"),
]
WRONG_VALUES: list[tuple[str, Any, list[str]]] = [
    ("method", "sfft", ['"method"', "sfft", 'Did you mean "sft"?', "Allowed: ", "dpo", "sft ("]),
    ("method", 7, ['"method"', "7", "Allowed: ", "sft ("]),
    ("tuning", "lorra", ['"tuning"', 'Did you mean "lora"?', "Allowed: lora, qlora, full."]),
    ("hardware", "a100", ['"a100"', "offline", 'hardware="local"']),
    ("epochs", "many", ['"epochs"', "valid number", "many"]),
    ("epochs", -1, ['"epochs"', "greater than or equal to 0"]),
    ("epochs", 0, ["num_train_epochs", "above 0"]),
    ("epochs", "nan", ['"epochs"']),
    ("epochs", 1e9, ["num_train_epochs", "at most 1000"]),
    ("batch_size", 0, ['"batch_size"', "greater than or equal to 1"]),
    ("batch_size", 1.5, ['"batch_size"', "integer"]),
    ("max_length", "long", ['"max_length"', "integer"]),
    ("learning_rate", 3, ["learning_rate", "at most 1"]),
    ("dry_run", "perhaps", ['"dry_run"', "boolean"]),
    ("eval_split", "1.5", ["eval_split", "1.5", "a share such as 0.05"]),
    ("eval_split", "nan", ["eval_split", "a share such as 0.05"]),
    ("dataset_split", "train[", ["dataset_split", "train[:10%]"]),
    ("dataset_split", "nowhere", ["dataset_split", "nowhere", "It has: train."]),
    ("eval_split", "held_out", ["eval_split", "held_out", "It has: train."]),
    ("model", ["a/b"], ['"model"', "valid string"]),
    ("timeout", "soon", ["timeout", "soon", "90m, 2h or 1d, of at most 30d"]),
    ("timeout", "0", ["timeout", "90m, 2h or 1d, of at most 30d"]),
    ("timeout", "9" * 400, ["timeout", "90m, 2h or 1d, of at most 30d"]),
    ("timeout", "31d", ["timeout", "31d", "at most 30d"]),
]


@pytest.mark.parametrize(("tool", "given", "meant"), MISSPELT)
async def test_a_misspelt_argument_is_refused_with_the_name_that_was_meant(
    refuses: Refuses, tool: str, given: str, meant: str
) -> None:
    await refuses([f'There is no argument "{given}".', f'Did you mean "{meant}"?', "Allowed: "], tool, **{given: "x"})


@pytest.mark.parametrize("tool", [*TOOLS[:2], *TOOLS[3:]])
async def test_a_missing_argument_is_named_with_what_it_is_for(refuses: Refuses, tool: str) -> None:
    await refuses(["is missing: ", "Nothing was started."], tool)


@pytest.mark.parametrize(("argument", "value", "words"), WRONG_VALUES)
async def test_a_value_that_cannot_be_is_refused_with_what_can(
    refuses_training: Refuses, argument: str, value: Any, words: list[str]
) -> None:
    await refuses_training(*words, **{argument: value})


async def test_all_faults_of_a_call_are_told_at_once(refuses_training: Refuses) -> None:
    await refuses_training('"tuning"', '"epochs"', '"modle"', tuning="none", epochs="x", modle="y")


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("job_status", {"wait_seconds": 21}, ['"wait_seconds"', "less than or equal to 20", "21"]),
        ("job_logs", {"job_id": "sft-000000000000-1", "lines": 0}, ['"lines"', "greater than or equal to 1"]),
        ("job_logs", {"job_id": "sft-000000000000-1", "show": "everything"}, ['"show"', "tail, errors, metrics"]),
        ("start_job", {"id": "plan-000000000000", "trainer_args": ["x=1"]}, ["A plan is started as it was agreed"]),
    ],
)
async def test_other_tools_say_what_their_arguments_may_be(
    refuses: Refuses, tool: str, arguments: dict[str, Any], words: list[str]
) -> None:
    await refuses(words, tool, **arguments)


async def test_an_unknown_tool_is_answered_with_the_tools_there_are(refuses: Refuses) -> None:
    await refuses(
        ['There is no tool "submit_trainning".', 'Did you mean "submit_training"?', *TOOLS], "submit_trainning"
    )


async def test_an_argument_that_looks_like_a_token_is_not_repeated(refuses_training: Refuses) -> None:
    token = "hf_" + "Zz9" * 11
    answer = await refuses_training('"model"', model=f"./{token}")
    assert token not in answer.text


async def test_a_very_long_value_is_cut_in_the_answer(refuses_training: Refuses) -> None:
    answer = await refuses_training('"tuning"', tuning="x" * 100_000)
    assert len(answer.text) < 1000


async def test_numbers_may_come_as_text_and_text_as_numbers(ask: Ask, training: dict[str, Any]) -> None:
    texts = {"epochs": "2", "batch_size": "8", "learning_rate": "1e-5", "max_length": "64", "dry_run": "true"}
    numbers = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-5, "max_length": 64, "dry_run": True}
    as_text = await ask("submit_training", **training, **texts, eval_split="0.5")
    as_numbers = await ask("submit_training", **training, **numbers, eval_split=0.5)
    assert as_text.result["plan_id"] == as_numbers.result["plan_id"]
