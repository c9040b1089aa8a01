"""The sft template, run for real with its result pushed to an emulated Hub."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import EmulatedHub, Fault
from tests.templates.hub_runs import LORA, OUTPUT, RUN_KEY, HubRuns, chat_lines, impatient
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import goes_on

pytestmark = [pytest.mark.training, pytest.mark.timeout(150)]

BASE = "alice/tiny"
DATA = "alice/questions"
CARD = "---\nlicense: apache-2.0\n---\n# Tiny\n"
QUICK = {"per_device_train_batch_size": 8, "max_length": 128, "logging_steps": 1, "lr_scheduler_type": "constant"}
LOAD = """
    import json, sys
    from transformers import AutoModelForCausalLM, AutoTokenizer
    repo = sys.argv[1]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(repo), AutoTokenizer.from_pretrained(repo)
    print(json.dumps([model.config.model_type, len(tokenizer("The code is 7.")["input_ids"])]))
"""


@pytest.fixture
def hub_runs(job_runs: JobRuns, tiny_model: Path, tmp_path: Path) -> Iterator[HubRuns]:
    """Run a Hub that has a tiny model and conversations; in the end no token may be found in what jobs left."""
    with EmulatedHub.start(tmp_path / "hub") as hub:
        files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
        hub.add_repo(BASE, files | {"README.md": CARD.encode()}, private=True)
        hub.add_repo(DATA, {"train.jsonl": chat_lines()}, repo_type="dataset", private=True)
        runs = HubRuns(job_runs, hub)
        yield runs
        for job in runs.jobs:
            assert_no_token(hub, job)


def assert_no_token(hub: EmulatedHub, job: Job) -> None:
    """Look for the tokens in all that a job printed, left on the disk and pushed."""
    pushed = [hub.read_file(OUTPUT, name) for name in hub.list_files(OUTPUT)]
    left = [path.read_bytes() for path in job.output.parent.rglob("*") if path.is_file()]
    for token in hub.tokens.values():
        assert not any(token.encode() in text for text in ("".join(job.printed).encode(), *pushed, *left))


def hub_recipe(steps: int, **changes: Any) -> dict[str, Any]:
    """Return the changes that make the template train the Hub's model on the Hub's data."""
    config = QUICK | {"max_steps": steps, "save_steps": 5}
    return {"model": BASE, "dataset": DATA, "dataset_split": "train", "config": config, "lora": LORA} | changes


def full_tuning(steps: int) -> dict[str, Any]:
    """Return such changes for full fine-tuning."""
    return hub_recipe(steps, tuning="full", lora=None)


def files_in(folder: Path) -> list[Path]:
    """List the files in a folder and below it."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_whole_run_is_pushed_and_can_be_loaded(hub_runs: HubRuns, tmp_path: Path) -> None:
    hub, run_folder, work_folder = hub_runs.hub, tmp_path / "bucket", tmp_path / "work"
    hub.faults.add(Fault("POST", f"/api/models/{OUTPUT}/commit/*", "drop_after"))
    hub.faults.add(Fault("POST", "/api/repos/create", "status", status=503))
    job = hub_runs.start(full_tuning(6), RUN_FOLDER=str(run_folder), WORK_FOLDER=str(work_folder))
    job.read_until(lambda line: line["kind"] == "checkpoint")
    assert (run_folder / "checkpoints" / "checkpoint-5" / "trainer_state.json").is_file()
    assert job.finish() == 0, job.errors()
    assert [line["step"] for line in job.of_kind("checkpoint")] == [5, 6]
    assert [line["kind"] for line in job.lines[-2:]] == ["push", "end"]

    push = job.of_kind("push")[0]
    assert (push["repo"], push["url"]) == (OUTPUT, f"{hub.endpoint}/{OUTPUT}")
    assert re.fullmatch("[0-9a-f]{40}", push["commit"])
    assert hub.read_file(OUTPUT, "model.safetensors") == (job.output / "model.safetensors").read_bytes()
    assert "max_steps" in hub.read_file(OUTPUT, "train.py").decode()
    record = hub_runs.read_json("trl-mcp.json")
    assert (record["run_key"], record["result"]["steps"], record["result"]["rows"]) == (RUN_KEY, 6, 80)
    assert {"loss", "mean_token_accuracy"} <= record["result"]["metrics"].keys()
    card = hub.read_file(OUTPUT, "README.md").decode()
    assert all(
        text in card for text in (f"base_model: {BASE}", f"- {DATA}", "license: apache-2.0", "| max_steps | 6 |")
    )
    assert hub_runs.python(LOAD, tmp_path, OUTPUT)[0] == "qwen3"
    assert files_in(run_folder) == files_in(work_folder) == []
    assert [line for line in job.errors().splitlines() if "[transformers]" not in line] == []


def test_a_model_that_cannot_be_pushed_stays_and_the_next_job_only_pushes(hub_runs: HubRuns, tmp_path: Path) -> None:
    hub, run_folder = hub_runs.hub, tmp_path / "run"
    hub.faults.add(Fault("POST", f"/api/models/{OUTPUT}/commit/*", status=500, times=5, skip=1))
    failed = hub_runs.start(full_tuning(6), RUN_FOLDER=str(run_folder))
    assert failed.finish() == 1
    error = failed.lines[-1]
    assert (error["kind"], error["where"]) == ("error", "push")
    assert "A continuation of the run only pushes" in error["message"]
    assert (run_folder / "checkpoints" / "checkpoint-5" / "trainer_state.json").is_file()
    weights = (failed.output / "model.safetensors").read_bytes()
    assert hub.list_files(OUTPUT) == [".gitattributes", "train.py", "trl-mcp.json"]

    again = hub_runs.start(full_tuning(6), RUN_FOLDER=str(run_folder))
    assert again.finish() == 0, again.errors()
    assert [line["kind"] for line in again.lines] == ["start", "push", "end"]
    assert again.lines[-1]["steps"] == 6
    assert (again.output / "model.safetensors").read_bytes() == hub.read_file(OUTPUT, "model.safetensors") == weights
    assert files_in(run_folder) == []


@pytest.fixture(scope="module")
def unbroken(job_runs: JobRuns, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Return the losses of a run on this machine alone; they depend on random numbers, by the adapters' dropout."""
    data = tmp_path_factory.mktemp("data") / "chat.jsonl"
    data.write_text(chat_lines(), encoding="utf-8")
    job = job_runs.start("sft", hub_recipe(40, model=str(tiny_model), dataset=str(data)), edit=impatient)
    assert job.finish() == 0, job.errors()
    return job.losses()


def test_a_killed_run_goes_on_elsewhere_from_the_repository(hub_runs: HubRuns, unbroken: dict[int, float]) -> None:
    killed = hub_runs.start(hub_recipe(2000))
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 5)
    killed.kill(signal.SIGKILL)
    kept = hub_runs.read_json("last-checkpoint/trainer_state.json")["global_step"]
    assert kept >= killed.of_kind("checkpoint")[-1]["step"]

    resumed = hub_runs.start(hub_recipe(40))
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of_kind("start")[1]["resume_step"] == kept
    assert goes_on(resumed.losses(), unbroken, kept)
    assert not any(name.startswith("last-checkpoint/") for name in hub_runs.hub.list_files(OUTPUT))
    assert "adapter_model.safetensors" in hub_runs.hub.list_files(OUTPUT)


def test_a_stopped_run_goes_on_from_its_folder_on_another_path(
    hub_runs: HubRuns, unbroken: dict[int, float], tmp_path: Path
) -> None:
    first, moved = tmp_path / "first", tmp_path / "moved"
    stopped = hub_runs.start(hub_recipe(2000), RUN_FOLDER=str(first), WORK_FOLDER=str(tmp_path / "work"))
    stopped.read_until(lambda line: line["kind"] == "log" and line["step"] >= 7)
    assert stopped.kill(signal.SIGTERM) == 143
    reached = stopped.of_kind("checkpoint")[-1]["step"]
    shutil.move(first, moved)

    resumed = hub_runs.start(hub_recipe(40), RUN_FOLDER=str(moved), WORK_FOLDER=str(tmp_path / "other"))
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of_kind("start")[1]["resume_step"] == reached >= 7
    assert goes_on(resumed.losses(), unbroken, reached)
