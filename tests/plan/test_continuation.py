"""A job goes on as it was, but for what may change; a completed one runs anew under the next key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.logs import JOB
from trl_mcp.backends.base import Stage
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.plan.continuation import next_run_key, plan_continuation
from trl_mcp.plan.place import Place
from trl_mcp.plan.plan import Plan
from trl_mcp.recipes.names import CONTINUABLE
from trl_mcp.render.script import read_run

DEVICE, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
FAILED = replace(JOB, stage=Stage.ERROR, timeout_s=600)
CONFIG = {"num_train_epochs": 3.0, "learning_rate": 2e-4, DEVICE: 8, ACCUMULATION: 2}


def script(**run: Any) -> str:
    values = {"method": "sft", "run_key": JOB.run, "model": "a/b", "dataset": "c/d", "tuning": "full"}
    values |= {"config": CONFIG, "lora": None} | run
    return f"RUN = {values!r}\n\nprint(RUN)\n"


def continued(given_arguments: dict[str, Any], job: Any = FAILED, place: Place | None = None, **run: Any) -> Plan:
    return plan_continuation(job, script(**run), given_arguments, place or Place("local", "local", job.timeout_s))


def config_of(plan: Plan) -> dict[str, Any]:
    config = read_run(plan.script)["config"]
    assert isinstance(config, dict)
    return {**config}


@pytest.mark.parametrize("stage", [Stage.ERROR, Stage.CANCELED])
def test_an_unfinished_job_goes_on_under_its_key(stage: Stage) -> None:
    plan = continued({}, replace(FAILED, stage=stage))
    assert (plan.run, plan.continues, plan.timeout_s) == (JOB.run, JOB.id, 600)
    assert read_run(plan.script) == read_run(script())
    assert plan.script.endswith("\n\nprint(RUN)\n")


def test_a_completed_job_runs_again_under_the_next_key() -> None:
    plan = continued({}, replace(FAILED, stage=Stage.COMPLETED))
    assert plan.run == f"{JOB.run}r1"
    assert read_run(plan.script)["run_key"] == f"{JOB.run}r1"


def test_two_calls_to_run_a_job_again_mean_one_key() -> None:
    first, second = [continued({}, replace(FAILED, stage=Stage.COMPLETED)) for _ in range(2)]
    assert first == second


@given(st.integers(0, 10_000))
def test_the_counter_of_a_key_is_raised_by_one(counter: int) -> None:
    assert next_run_key(f"3f2a9c1b7d4er{counter}") == f"3f2a9c1b7d4er{counter + 1}"


@pytest.mark.parametrize("key", ["", "3f2a9c1b7d4", "3f2a9c1b7d4er", "3f2a9c1b7d4e-1", "3f2a9c1b7d4er1r1"])
def test_what_is_no_key_has_no_next_one(key: str) -> None:
    with pytest.raises(ValueError, match="no run key"):
        next_run_key(key)


@pytest.mark.parametrize(
    ("given_split", "expected"),
    [
        ({DEVICE: 1}, (1, 16)),
        ({DEVICE: "4"}, (4, 4)),
        ({DEVICE: 16}, (16, 1)),
        ({ACCUMULATION: 8}, (2, 8)),
        ({DEVICE: 2, ACCUMULATION: 8}, (2, 8)),
        ({DEVICE: 8}, (8, 2)),
    ],
)
def test_another_split_keeps_the_batch(given_split: dict[str, Any], expected: tuple[int, int]) -> None:
    config = config_of(continued(given_split))
    assert (config[DEVICE], config[ACCUMULATION]) == expected


@pytest.mark.parametrize(
    "given_split",
    [{DEVICE: 3}, {DEVICE: 0}, {DEVICE: -4, ACCUMULATION: -4}, {DEVICE: 4, ACCUMULATION: 2}, {ACCUMULATION: 32}],
)
def test_a_split_of_another_batch_is_refused(given_split: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments, match=r"batch size, 16.* Nothing was started"):
        continued(given_split)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 1e-5}, "learning_rate cannot change"),
        ({"lora_r": 8}, "r cannot change"),
        ({"seed": 1, "packing": True}, "packing, seed cannot change"),
        ({"num_train_epochs": 2}, "can only become larger"),
        ({"save_steps": 0}, "above 0"),
        ({"max_steps": 0}, "from 1"),
        ({"save_stesp": 10}, 'Did you mean "save_steps"'),
        ({"output_dir": "/x"}, "output_path"),
    ],
)
def test_what_may_not_change_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        continued(change)
    assert words in str(caught.value)
    assert "Nothing was started." in str(caught.value)


def test_a_refusal_says_what_may_change() -> None:
    with pytest.raises(InvalidArguments) as caught:
        continued({"learning_rate": 1e-5})
    assert [name for name in CONTINUABLE if name not in str(caught.value)] == []


def test_what_may_change_is_written_into_the_script_and_said() -> None:
    plan = continued({"num_train_epochs": 5, "save_steps": "10", "lr_scheduler_type": "cosine"})
    assert config_of(plan) == CONFIG | {"num_train_epochs": 5, "save_steps": 10, "lr_scheduler_type": "cosine"}
    said = (
        f"{JOB.id} continued, with num_train_epochs 5, save_steps 10, lr_scheduler_type cosine: sft full of b, 5 epochs"
    )
    assert plan.recipe.startswith(said)


def test_a_new_timeout_comes_before_the_old_one() -> None:
    assert continued({}, place=Place("local", "local", 60, attempts=2)).timeout_s == 60


@pytest.mark.parametrize("name", ["model", "dataset"])
def test_a_job_whose_files_are_gone_cannot_go_on(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f'The {name} of this job, "gone.jsonl"'):
        continued({}, FAILED, None, **{name: str(tmp_path / "gone.jsonl")})


def test_a_job_that_is_no_training_goes_on_with_its_script_as_it_is() -> None:
    job = replace(FAILED, kind="tiny_model")
    assert plan_continuation(job, "print(1)\n", {}, Place("local", "local")).script == "print(1)\n"
    with pytest.raises(InvalidArguments, match="no training"):
        plan_continuation(job, "print(1)\n", {"max_steps": 5}, Place("local", "local"))
