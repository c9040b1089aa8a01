"""The ppo template, run for real on a tiny model with a tiny reward model."""

import random
import shutil
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, QUICK, lesson, said, without_samples, write_rows

checkpoints = load_shared("checkpoints")
pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]

SCORE, KL = "objective/scores", "objective/kl"
PPO = {
    "max_steps": 12,
    "per_device_train_batch_size": 32,
    "learning_rate": 1e-3,
    "response_length": 10,
    "temperature": 1.0,
    "kl_coef": 0.0,
}


@pytest.fixture(scope="module")
def ppo_runs(pinned_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Generator[JobRuns]:
    """What runs templates with the packages that ppo pins."""
    with JobRuns(pinned_python("ppo"), tmp_path_factory) as runs:
        yield runs


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of ten prompts."""
    rows = [{"prompt": said("user", ask)} for ask in CODES]
    return write_rows(tmp_path_factory.mktemp("prompts") / "prompts.jsonl", rows, copies=1)


@pytest.fixture(scope="module")
def reward_model(job_runs: JobRuns, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a reward model that likes codes of many digits."""
    chance = random.Random(0)

    def answer(digits: int) -> list[dict[str, str]]:
        code = "".join(chance.choice("0123456789") for _ in range(digits))
        return said("assistant", f"The code is {code}{chance.choice(['', '.'])}")

    def pair(ask: str) -> dict[str, Any]:
        few, many = sorted(chance.sample(range(9), 2))
        return {"prompt": said("user", ask), "chosen": answer(many), "rejected": answer(few)}

    rows = [pair(ask) for ask in CODES for _ in range(30)]
    data = write_rows(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", rows, copies=1)
    config = QUICK | {"per_device_train_batch_size": 16, "learning_rate": 2e-3, "max_steps": 80}
    job = job_runs.start("reward", lesson(tiny_model, data, config), edit=without_samples)
    assert job.finish() == 0, job.errors()
    return job.output


@pytest.fixture(scope="module")
def lessons(taught_model: Path, prompts: Path, reward_model: Path) -> Callable[..., dict[str, Any]]:
    """Return what makes the changes to the template's recipe."""
    rewards = [{"name": str(reward_model), "kind": "model", "weight": None, "revision": None}]

    def changes(config: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
        return lesson(taught_model, prompts, PPO | (config or {})) | {"rewards": rewards} | others

    return changes


@pytest.fixture(scope="module")
def trained(ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]]) -> Job:
    """Return a finished run."""
    job = ppo_runs.start("ppo", lessons())
    assert job.finish() == 0, job.errors()
    return job


@pytest.fixture(scope="module")
def adapted(ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]]) -> Job:
    """Return a finished run of an adapter."""
    job = ppo_runs.start("ppo", lessons({"learning_rate": 5e-3}, tuning="lora", lora=LORA), edit=without_samples)
    assert job.finish() == 0, job.errors()
    return job


def measured(job: Job, name: str) -> dict[int, float]:
    """Return a measure of the policy at each step that was logged."""
    return {line["step"]: line[name] for line in job.of_kind("log") if name in line}


def rise(job: Job) -> float:
    """Return by how much the mean score of the last three steps is above that of the first three."""
    scores = list(measured(job, SCORE).values())
    return (sum(scores[-3:]) - sum(scores[:3])) / 3


@pytest.mark.parametrize("tuning", ["trained", "adapted"])
def test_the_score_of_the_answers_rises(tuning: str, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(tuning)
    assert rise(job) > 1.5, measured(job, SCORE)


def test_ten_prompts_are_enough_for_batches_of_thirty_two(trained: Job) -> None:
    start = trained.of_kind("start")[1]
    assert (start["sequences"], start["per_device_batch"], start["max_steps"]) == (10, 32, 12)
    assert [line["step"] for line in trained.of_kind("log")] == list(range(1, 13))
    assert {sample["prompt"] for sample in trained.of_kind("sample")} == set(CODES)
    assert trained.lines[-1]["steps"] == 12


def test_the_result_is_the_policy_alone(trained: Job, adapted: Job, ppo_runs: JobRuns, tmp_path: Path) -> None:
    names = {path.name for path in trained.output.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "trl-mcp.json"} <= names
    assert "value_model" not in names
    assert (adapted.output / "adapter_model.safetensors").is_file()
    loaded = ppo_runs.program(
        """
        import json, sys
        from transformers import AutoModelForCausalLM
        from peft import AutoPeftModelForCausalLM
        models = AutoModelForCausalLM.from_pretrained(sys.argv[1]), AutoPeftModelForCausalLM.from_pretrained(sys.argv[2])
        print(json.dumps([type(model).__name__ for model in models]))
        """,
        tmp_path,
        str(trained.output),
        str(adapted.output),
    )
    assert loaded == ["Qwen3ForCausalLM", "PeftModelForCausalLM"]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_killed_run_goes_on_with_the_answers_that_it_would_have_given(
    ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]], tmp_path: Path, tuning: str
) -> None:
    lora = None if tuning == "full" else LORA
    changes = lessons({"max_steps": 50, "save_steps": 2}, tuning=tuning, lora=lora)
    killed = ppo_runs.start("ppo", changes, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 4)
    killed.read_until(lambda line: line["kind"] == "log")
    assert killed.kill(signal.SIGKILL) == -signal.SIGKILL
    newest = checkpoints.newest_complete_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    reached = int(newest.name.partition("-")[2])
    again = next(step for step in measured(killed, SCORE) if step > reached)

    resumed = ppo_runs.start("ppo", changes, tmp_path, without_samples)
    resumed.read_until(lambda line: line["kind"] == "log" and line["step"] >= reached + 2)
    resumed.kill(signal.SIGKILL)
    assert resumed.of_kind("start")[1]["resume_step"] == reached >= 4
    # Prompts, answers and their distance from the reference are those of the same weights and random numbers.
    for name in (SCORE, KL, "lr", "episode"):
        assert measured(resumed, name)[again] == measured(killed, name)[again]


def test_sigterm_saves_a_checkpoint_and_stops(
    ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    job = ppo_runs.start("ppo", lessons({"max_steps": 5000}), tmp_path, without_samples)
    job.read_until(lambda line: line["kind"] == "log" and line["step"] >= 2)
    assert job.kill(signal.SIGTERM) == 143
    saved = job.of_kind("checkpoint")[-1]["step"]
    assert checkpoints.newest_complete_checkpoint(tmp_path / "checkpoints") is not None
    assert f"at step {saved} of 5000" in job.lines[-1]["message"]


def test_an_adapter_is_trained_further_and_compared_with_itself(
    ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]], adapted: Job
) -> None:
    changes = lessons({"max_steps": 2}, model=str(adapted.output), tuning="lora", lora=LORA)
    job = ppo_runs.start("ppo", changes, edit=without_samples)
    assert job.finish() == 0, job.errors()
    assert abs(measured(job, KL)[1]) < 1e-3
    assert measured(job, SCORE)[1] > measured(adapted, SCORE)[1] + 1


def test_a_reward_model_with_another_tokenizer_ends_the_job_with_the_reason(
    ppo_runs: JobRuns, job_runs: JobRuns, lessons: Callable[..., dict[str, Any]]
) -> None:
    other = job_runs.start("tiny_model", {"corpus": ["an altogether different corpus of words " * 5]})
    assert other.finish() == 0, other.errors()
    job = ppo_runs.start("ppo", lessons(model=str(other.output)))
    assert job.finish() == 1
    assert (job.lines[-1]["kind"], job.lines[-1]["where"]) == ("error", "model")
    assert "has another tokenizer than" in job.lines[-1]["message"]


def test_a_tokenizer_that_pads_with_the_end_of_text_gets_a_token_of_its_own(
    ppo_runs: JobRuns, lessons: Callable[..., dict[str, Any]], tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    path = model / "tokenizer_config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"<|endoftext|>"', '"<|im_end|>"'), encoding="utf-8")
    stops = {"stop_token": "eos", "missing_eos_penalty": 1.0, "max_steps": 1}
    job = ppo_runs.start("ppo", lessons(stops, model=str(model)), edit=without_samples)
    assert job.finish() == 0, job.errors()
    assert '"pad_token": "<|endoftext|>"' in (job.output / "tokenizer_config.json").read_text(encoding="utf-8")
