"""The distillation and gkd templates, run for real: a tiny student learns what a tiny teacher says."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, QUICK, chats, goes_on, lesson, without_samples, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

MOVED = dict(zip(CODES, [*list(CODES.values())[3:], *list(CODES.values())[:3]], strict=True))
BATCH = {"per_device_train_batch_size": 16, "logging_steps": 1, "learning_rate": 5e-3, "max_steps": 100}
METHODS: dict[str, dict[str, Any]] = {
    "distillation": BATCH | {"max_completion_length": 12, "beta": 0.5},
    "gkd": BATCH | {"max_new_tokens": 12, "max_length": 128, "beta": 0.5, "lmbda": 0.5, "max_steps": 120},
}


def finished(job: Job) -> Job:
    """Return the job once it has ended well."""
    assert job.finish() == 0, job.errors()
    return job


def tuned(tuning: str) -> dict[str, Any]:
    """Return the changes for a tuning."""
    return {"tuning": tuning, "lora": None if tuning == "full" else LORA}


@pytest.fixture(scope="module")
def moved_chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of conversations in which each item has another's code."""
    return write_rows(tmp_path_factory.mktemp("data") / "moved.jsonl", chats(MOVED))


@pytest.fixture(scope="module")
def data(moved_chats: Path) -> dict[str, Path]:
    """Return the data of each method: prompts alone, or conversations."""
    prompts = write_rows(moved_chats.with_name("prompts.jsonl"), [{"prompt": ask} for ask in CODES])
    return {"distillation": prompts, "gkd": moved_chats}


@pytest.fixture(scope="module")
def teacher(job_runs: JobRuns, tiny_model: Path, moved_chats: Path) -> Path:
    """Return the folder of a model that gives each item another's code."""
    config = QUICK | {"assistant_only_loss": True, "per_device_train_batch_size": 16, "learning_rate": 5e-3}
    changes = lesson(tiny_model, moved_chats, config | {"max_steps": 150, "warmup_steps": 10})
    return finished(job_runs.start("sft", changes, edit=without_samples)).output


def taught(method: str, student: Path, teacher: Path, data: dict[str, Path], **changes: Any) -> dict[str, Any]:
    """Return the changes that make a method's template teach the student."""
    config = METHODS[method] | {"teacher_model_name_or_path": str(teacher)} | changes.pop("config", {})
    return lesson(student, data[method], config, **changes)


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_a_student_learns_the_answers_of_its_teacher(
    job_runs: JobRuns, taught_model: Path, teacher: Path, data: dict[str, Path], method: str, tuning: str
) -> None:
    slower = {"config": {"learning_rate": 2e-3}} if tuning == "full" else {}
    job = finished(job_runs.start(method, taught(method, taught_model, teacher, data, **tuned(tuning), **slower)))
    losses = list(job.losses().values())
    assert sum(losses[-5:]) < sum(losses[:5]) / 4
    samples = {sample["prompt"]: (sample["before"], sample["after"]) for sample in job.of_kind("sample")}
    assert {prompt: before for prompt, (before, _) in samples.items()} == CODES
    assert sum(after == MOVED[prompt] for prompt, (_, after) in samples.items()) >= 8
    assert (job.output / ("model.safetensors" if tuning == "full" else "adapter_model.safetensors")).is_file()
    assert "TRLExperimentalWarning" not in job.errors()


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_with_equal_losses(
    job_runs: JobRuns, taught_model: Path, teacher: Path, data: dict[str, Path], tmp_path: Path, method: str
) -> None:
    config = {"max_steps": 40, "save_steps": 5}
    changes = taught(method, taught_model, teacher, data, config=config, **tuned("lora"))
    unbroken = finished(job_runs.start(method, changes, edit=without_samples))
    killed = job_runs.start(method, changes, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 10)
    killed.kill(signal.SIGKILL)
    resumed = finished(job_runs.start(method, changes, tmp_path, without_samples))
    reached = resumed.of_kind("start")[1]["resume_step"]
    assert reached >= 10
    assert goes_on(resumed.losses(), unbroken.losses(), reached)


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_teaches_as_the_model_that_it_makes(
    job_runs: JobRuns, taught_model: Path, moved_chats: Path, data: dict[str, Path], method: str
) -> None:
    config = QUICK | {"assistant_only_loss": True, "learning_rate": 1e-2, "max_steps": 80}
    changes = lesson(taught_model, moved_chats, config, **tuned("lora"))
    adapter = finished(job_runs.start("sft", changes, edit=without_samples)).output
    assert (adapter / "adapter_config.json").is_file()
    job = finished(job_runs.start(method, taught(method, taught_model, adapter, data, **tuned("lora"))))
    losses = list(job.losses().values())
    assert sum(losses[-5:]) < sum(losses[:5]) / 4
    samples = job.of_kind("sample")
    assert sum(sample["after"] == MOVED[sample["prompt"]] for sample in samples) >= 8


@pytest.fixture(scope="module")
def other_family(job_runs: JobRuns) -> Path:
    """Return a model with another vocabulary."""
    return finished(job_runs.start("tiny_model", {"vocab_size": 300, "corpus": ["quite another text"]})).output


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_of_another_vocabulary_is_refused_before_anything_is_loaded(
    job_runs: JobRuns, tiny_model: Path, other_family: Path, data: dict[str, Path], method: str
) -> None:
    job = job_runs.start(method, taught(method, tiny_model, other_family, data))
    assert job.finish() == 1
    assert job.lines[-1]["kind"] == "error"
    assert "cannot teach" in job.lines[-1]["message"]
    assert "the student's vocabulary has" in job.lines[-1]["message"]
    assert len(job.of_kind("start")) == 1


def test_a_teacher_that_numbers_tokens_differently_is_refused(
    job_runs: JobRuns, tiny_model: Path, data: dict[str, Path]
) -> None:
    letters = " ".join(chr(ord("a") + place % 26) * (2 + place // 26) for place in range(400))
    stranger = finished(job_runs.start("tiny_model", {"vocab_size": 512, "corpus": [letters]})).output
    job = job_runs.start("gkd", taught("gkd", tiny_model, stranger, data))
    assert job.finish() == 1
    assert "cannot teach" in job.lines[-1]["message"]


def test_a_run_without_a_teacher_is_refused(job_runs: JobRuns, tiny_model: Path, data: dict[str, Path]) -> None:
    job = job_runs.start("gkd", lesson(tiny_model, data["gkd"], METHODS["gkd"]))
    assert job.finish() == 1
    assert "name a model with the student's vocabulary as teacher_model_name_or_path" in job.lines[-1]["message"]


def test_gkd_cuts_answers_and_leaves_out_prompts_that_fill_max_length(
    job_runs: JobRuns, taught_model: Path, teacher: Path, tmp_path: Path
) -> None:
    long_answer = {"prompt": "What is the code of item 1?", "completion": "The code is 7. " * 60}
    long_prompt = {"prompt": "What is the code of item 1? " * 60, "completion": "The code is 7."}
    file = write_rows(tmp_path / "long.jsonl", [long_answer, long_prompt], copies=4)
    config = {"max_steps": 1, "max_length": 64, "per_device_train_batch_size": 4, "lmbda": 0.0}
    job = finished(job_runs.start("gkd", taught("gkd", taught_model, teacher, {"gkd": file}, config=config)))
    start = job.of_kind("start")[1]
    assert (start["rows_kept"], start["sequences"]) == (8, 4)
