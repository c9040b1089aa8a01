"""The dpo, orpo and cpo templates, run for real on a tiny model that knows other answers than those preferred."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, goes_on, lesson, pairs, without_samples, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]

# A loss that also teaches the words: preferring alone would leave a tiny model with no answer at all.
METHODS: dict[str, dict[str, Any]] = {
    "dpo": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0], "learning_rate": 1e-3},
    "orpo": {"learning_rate": 1e-3},
    "cpo": {"learning_rate": 1e-3},
    "cpo as SimPO": {"loss_type": "simpo", "cpo_alpha": 1.0, "learning_rate": 1e-3},
}


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of pairs in which the new wording is preferred to the one that the model knows."""
    return write_rows(tmp_path_factory.mktemp("data") / "pairs.jsonl", pairs(OTHER_CODES, CODES))


def tuned(tuning: str) -> dict[str, Any]:
    """Return the changes for a tuning."""
    return {"tuning": tuning, "lora": None if tuning == "full" else LORA}


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_learns_to_give_the_preferred_answers(
    job_runs: JobRuns, taught_model: Path, preferences: Path, method: str, tuning: str
) -> None:
    faster = {"full": 1, "lora": 5}[tuning]
    config = QUICK | METHODS[method] | {"max_steps": 100}
    config["learning_rate"] *= faster
    job = job_runs.start(method.partition(" ")[0], lesson(taught_model, preferences, config, **tuned(tuning)))
    assert job.finish() == 0, job.errors()
    logs = [line for line in job.of_kind("log") if "rewards/margins" in line]
    assert logs[-1]["rewards/margins"] > logs[0]["rewards/margins"] + 0.1
    assert logs[-1]["rewards/accuracies"] == 1
    assert job.losses()[100] < job.losses()[1] / 2
    samples = job.of_kind("sample")
    assert {sample["prompt"]: sample["before"] for sample in samples} == CODES
    assert {sample["prompt"]: sample["expected"] for sample in samples} == OTHER_CODES
    assert sum(sample["after"] == sample["expected"] for sample in samples) >= 9
    assert "TRLExperimentalWarning" not in job.errors()


@pytest.mark.parametrize("method", ["dpo", "orpo", "cpo"])
def test_a_killed_run_goes_on_with_equal_losses(
    job_runs: JobRuns, taught_model: Path, preferences: Path, tmp_path: Path, method: str
) -> None:
    config = QUICK | METHODS[method] | {"max_steps": 40, "save_steps": 5}
    changes = lesson(taught_model, preferences, config, tuning="lora", lora=LORA | {"lora_dropout": 0.1})
    unbroken = finished(job_runs.start(method, changes, edit=without_samples))
    killed = job_runs.start(method, changes, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 10)
    killed.kill(signal.SIGKILL)
    resumed = finished(job_runs.start(method, changes, tmp_path, without_samples))
    reached = resumed.of_kind("start")[1]["resume_step"]
    assert reached >= 10
    assert goes_on(resumed.losses(), unbroken.losses(), reached)


def finished(job: Job) -> Job:
    """Return the job once it has ended well."""
    assert job.finish() == 0, job.errors()
    return job
