"""The sft template, run for real on a tiny model."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns, Line
from tests.templates.lessons import goes_on

checkpoints = load_shared("checkpoints")
pytestmark = [pytest.mark.training, pytest.mark.timeout(150)]

CODES = {f"What is the code of item {item}?": f"The code is {item * 7 % 100}." for item in range(10)}
OTHER_CODES = {question: answer.replace("The code is", "It is") for question, answer in CODES.items()}
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
QUICK = {"per_device_train_batch_size": 8, "max_length": 128, "logging_steps": 1}


def write_chat(path: Path, codes: dict[str, str], copies: int = 20) -> Path:
    """Write a conversation for each question and answer, so many times over."""
    turns = [[{"role": "user", "content": ask}, {"role": "assistant", "content": say}] for ask, say in codes.items()]
    lines = [json.dumps({"messages": messages}) for messages in turns]
    path.write_text("\n".join(lines * copies), encoding="utf-8")
    return path


def recipe(model: Path, dataset: Path, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the changes that make the template train this model on this file."""
    base = {"model": str(model), "dataset": str(dataset), "dataset_split": "train", "tuning": "full", "lora": None}
    return base | {"config": config} | changes


def without_samples(templates: Path) -> None:
    """Change a copy of the templates to show no samples."""
    module = templates / "_job" / "samples.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace("SAMPLE_LIMIT = 10", "SAMPLE_LIMIT = 0"), encoding="utf-8")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 200 conversations."""
    return write_chat(tmp_path_factory.mktemp("data") / "chat.jsonl", CODES)


@pytest.fixture(scope="module")
def trained(job_runs: JobRuns, tiny_model: Path, chat: Path) -> Job:
    """Return a finished run that had every chance to learn."""
    config = QUICK | {"assistant_only_loss": True, "per_device_train_batch_size": 16, "learning_rate": 5e-3}
    job = job_runs.start("sft", recipe(tiny_model, chat, config | {"max_steps": 150, "warmup_steps": 10}))
    assert job.finish() == 0, job.errors()
    return job


@pytest.fixture(scope="module")
def lora_recipe(tiny_model: Path, chat: Path) -> dict[str, Any]:
    """Return a recipe whose losses depend on the random numbers: its adapters have dropout."""
    config = QUICK | {"learning_rate": 1e-2, "max_steps": 100, "save_steps": 5}
    return recipe(tiny_model, chat, config, tuning="lora", lora=LORA)


@pytest.fixture(scope="module")
def unbroken(job_runs: JobRuns, lora_recipe: dict[str, Any]) -> dict[int, float]:
    """Return the losses of a run that nothing disturbed."""
    job = job_runs.start("sft", lora_recipe)
    assert job.finish() == 0, job.errors()
    return job.losses()


def test_full_tuning_learns_the_answers(trained: Job) -> None:
    losses = trained.losses()
    assert losses[1] > 4
    assert losses[150] < 0.3
    samples = trained.of_kind("sample")
    assert {sample["prompt"]: sample["expected"] for sample in samples} == CODES
    assert all(sample["after"] == sample["expected"] != sample["before"] for sample in samples)


def test_the_progress_lines_tell_the_whole_run(trained: Job) -> None:
    kinds = [line["kind"] for line in trained.lines]
    assert kinds == ["start", "start", *["log"] * 151, *["sample"] * 10, "end"]
    first, second = trained.of_kind("start")
    assert first == {"kind": "start", "method": "sft", "recipe_version": 1, "run_key": "example"}
    assert {name: second[name] for name in ("rows_kept", "rows_dropped", "max_steps", "resume_step", "device")} == {
        "rows_kept": 200,
        "rows_dropped": 0,
        "max_steps": 150,
        "resume_step": 0,
        "device": "cpu",
    }
    assert (second["dtype"], second["per_device_batch"], second["accumulation"], second["world_size"]) == (
        "float32",
        16,
        1,
        1,
    )
    for line in trained.of_kind("log")[:-1]:
        assert {"step", "max_steps", "epoch", "elapsed_s", "loss", "grad_norm", "learning_rate"} <= line.keys()
        assert all(isinstance(value, int | float) for name, value in line.items() if name != "kind")
    end = trained.lines[-1]
    assert (end["steps"], end["rows"], end["output"]) == (150, 200, str(trained.output))


def test_the_result_is_a_model_with_its_tokenizer_and_recipe(trained: Job) -> None:
    names = {path.name for path in trained.output.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "trl-mcp.json"} <= names
    record = json.loads((trained.output / "trl-mcp.json").read_text(encoding="utf-8"))
    assert record["run_key"] == "example"
    assert record["recipe"]["config"]["max_steps"] == 150
    assert set(record["versions"]) == {"trl", "transformers", "peft", "torch", "datasets"}


def test_an_adapter_learns_other_answers(job_runs: JobRuns, trained: Job, tmp_path: Path) -> None:
    config = QUICK | {"assistant_only_loss": True, "learning_rate": 1e-2, "max_steps": 80}
    data = write_chat(tmp_path / "other.jsonl", OTHER_CODES)
    job = job_runs.start("sft", recipe(trained.output, data, config, tuning="lora", lora=LORA | {"lora_dropout": 0.0}))
    assert job.finish() == 0, job.errors()
    losses = job.losses()
    assert losses[80] < losses[1] / 3
    samples = job.of_kind("sample")
    assert {sample["prompt"]: sample["before"] for sample in samples} == CODES
    assert sum(sample["after"] == sample["expected"] for sample in samples) >= 9
    assert (job.output / "adapter_model.safetensors").is_file()


def test_a_killed_run_goes_on_with_the_losses_of_an_unbroken_one(
    job_runs: JobRuns, lora_recipe: dict[str, Any], unbroken: dict[int, float], tmp_path: Path
) -> None:
    killed = job_runs.start("sft", lora_recipe, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "log" and line["step"] >= 17)
    assert killed.kill(signal.SIGKILL) == -signal.SIGKILL
    assert killed.losses().items() <= unbroken.items(), "samples must not change the training"
    newest = checkpoints.newest_complete_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    reached = int(newest.name.partition("-")[2])
    torn = shutil.copytree(newest, newest.with_name(f"checkpoint-{reached + 3}"))
    (torn / "trainer_state.json").unlink()

    resumed = job_runs.start("sft", lora_recipe, tmp_path, without_samples)
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of_kind("start")[1]["resume_step"] == reached >= 15
    assert goes_on(resumed.losses(), unbroken, reached)


def test_sigterm_saves_a_checkpoint_and_stops(job_runs: JobRuns, tiny_model: Path, chat: Path, tmp_path: Path) -> None:
    config = QUICK | {"max_steps": 5000, "logging_steps": 1}
    job = job_runs.start("sft", recipe(tiny_model, chat, config), tmp_path, without_samples)
    job.read_until(lambda line: line["kind"] == "log" and line["step"] >= 3)
    assert job.kill(signal.SIGTERM) == 143
    saved = job.of_kind("checkpoint")[-1]["step"]
    newest = checkpoints.newest_complete_checkpoint(tmp_path / "checkpoints")
    assert newest == tmp_path / "checkpoints" / f"checkpoint-{saved}"
    assert job.lines[-1]["kind"] == "error"
    assert f"at step {saved} of 5000" in job.lines[-1]["message"]


def test_sigterm_before_training_ends_the_job_at_once(job_runs: JobRuns, tiny_model: Path, chat: Path) -> None:
    job = job_runs.start("sft", recipe(tiny_model, chat, QUICK))
    job.read_until(lambda line: line["kind"] == "start")
    assert job.kill(signal.SIGTERM) == -signal.SIGTERM


def test_strings_are_renamed_held_out_and_saved_by_the_clock(
    job_runs: JobRuns, tiny_model: Path, tmp_path: Path
) -> None:
    rows = [{"question": ask, "answer": say} for ask, say in CODES.items()] * 4
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, [*rows, {"question": "a", "answer": None}])), encoding="utf-8")
    config = {"per_device_train_batch_size": 8, "max_steps": 6, "eval_strategy": "steps", "eval_steps": 3}
    changes = {"columns": {"prompt": "question", "completion": "answer"}, "eval_split": 0.1, "save_minutes": 1e-9}
    job = job_runs.start("sft", recipe(tiny_model, data, config, **changes), tmp_path / "run")
    assert job.finish() == 0, job.errors()
    start = job.of_kind("start")[1]
    assert (start["rows_kept"], start["eval_rows"], start["dropped"]) == (36, 4, {"null_value": 1})
    assert [line["step"] for line in job.of_kind("log") if "eval_loss" in line] == [3, 6]
    assert [line["step"] for line in job.of_kind("checkpoint")] == [1, 2, 3, 4, 5]
    assert len(list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))) == 2
    assert {sample["prompt"] for sample in job.of_kind("sample")} <= CODES.keys()


def test_a_model_without_a_chat_template_learns_from_text(job_runs: JobRuns, tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    data = tmp_path / "data"
    data.mkdir()
    pairs = [{"prompt": ask, "completion": say} for ask, say in CODES.items()]
    (data / "train.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    (data / "test.csv").write_text("prompt,completion\nWhat is it?,The code is 1.\n", encoding="utf-8")
    config = QUICK | {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    changes = {"eval_split": "test", "dataset_split": "train[:80%]"}
    job = job_runs.start("sft", recipe(model, data, config, **changes), tmp_path / "run")
    assert job.finish() == 0, job.errors()
    assert job.of_kind("start")[1]["rows_kept"] == 8
    sample = job.of_kind("sample")[0]
    assert (sample["prompt"], sample["expected"]) == ("What is it?", "The code is 1.")


def last_error(job: Job) -> Line:
    """Return the progress line of the failure that ended a job."""
    assert job.finish() == 1
    return job.lines[-1]


def test_data_that_cannot_be_used_ends_the_job_with_the_reason(
    job_runs: JobRuns, tiny_model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.json"
    data.write_text(json.dumps([{"q": "a", "messages": "[]"}] * 3), encoding="utf-8")
    error = last_error(job_runs.start("sft", recipe(tiny_model, data, QUICK)))
    assert (error["kind"], error["where"]) == ("error", "data")
    assert "can be trained on: sft needs" in error["message"]
    assert "messages (text)" in error["message"]


def unpromptable(model: Path, folder: Path) -> Path:
    """Copy a model with a chat template that refuses to open an answer."""
    copy = shutil.copytree(model, folder)
    template = copy / "chat_template.jinja"
    refusal = "{% if add_generation_prompt %}{{ raise_exception('no answer wanted') }}{% endif %}"
    template.write_text(refusal + template.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def test_a_complete_run_is_not_trained_again_and_samples_that_fail_fail_no_run(
    job_runs: JobRuns, tiny_model: Path, chat: Path, tmp_path: Path
) -> None:
    config = QUICK | {"max_steps": 5, "save_steps": 5, "lr_scheduler_type": "constant"}
    changes = recipe(unpromptable(tiny_model, tmp_path / "model"), chat, config)
    first = job_runs.start("sft", changes, tmp_path / "run")
    assert first.finish() == 0, first.errors()
    assert [line["skipped"] for line in first.of_kind("sample")[:2]] == ["TemplateError: no answer wanted"] * 2
    again = job_runs.start("sft", changes, tmp_path / "run")
    assert again.finish() == 0, again.errors()
    assert again.of_kind("log") == []
    weights = [(job.output / "model.safetensors").read_bytes() for job in (first, again)]
    assert weights[0] == weights[1]
