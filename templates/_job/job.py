"""A training job, from its first progress line to its last, whatever the method."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.arguments import has_chat_template, load_processing
from _job.card import write_card
from _job.device import TrainingDevice, find_device
from _job.folders import JobFolders, job_folders
from _job.keeping import checkpoint_keeper, find_checkpoint
from _job.output_repo import OutputRepo, open_output_repo
from _job.progress import JobStage, report
from _job.publishing import keep_result, kept_result, publish, take_kept_result
from _job.result import last_metrics, save_result
from _job.samples import choose_samples, report_samples, sample_answers
from _job.source import TrainingData, load_training_data
from _job.training import quiet_libraries, run_training, watch_training


@dataclass(frozen=True)
class TrainingSetup:
    """What a trainer is made from: the converted rows, the tokenizer, the device, and the folder of checkpoints."""

    data: TrainingData
    processing: Any
    device: TrainingDevice
    checkpoints: Path


MakeTrainer = Callable[[TrainingSetup], Any]
CheckData = Callable[[TrainingData], None]


def run_job(run: dict[str, Any], make_trainer: MakeTrainer, check_data: CheckData | None = None) -> None:
    """Run the job; `check_data` stops it before the model is loaded, with a SystemExit that says why."""
    announce(run)
    folders = job_folders()
    with JobStage("access"):
        repo = open_output_repo(run)
    result = kept_result(run, folders)
    if result is None:
        result = make_result(run, make_trainer, check_data, folders, repo)
    else:
        take_kept_result(folders)
        push(folders, repo)
    facts = {name: result[name] for name in ("steps", "train_loss", "rows")}
    report("end", **facts, output=str(folders.output))


def announce(run: dict[str, Any]) -> None:
    """Say that the job runs, before anything slow is imported."""
    part = os.environ.get("TRL_MCP_PART")
    known = {name: run[name] for name in ("method", "recipe_version", "run_key")}
    report("start", **known, **({"part": int(part)} if part else {}))


def make_result(
    run: dict[str, Any],
    make_trainer: MakeTrainer,
    check_data: CheckData | None,
    folders: JobFolders,
    repo: OutputRepo | None,
) -> dict[str, Any]:
    """Train, push the result, show what the model learned, and return what came of it."""
    with JobStage("data"):
        setup = load_setup(run, folders)
    if check_data is not None:
        with JobStage("rewards"):
            check_data(setup.data)
    with JobStage("model"):
        trainer = make_trainer(setup)
        watch_training(trainer, run, setup.data, setup.device)
    with JobStage("samples"):
        samples = choose_samples(setup.data.evaluation or setup.data.train)
        before = sample_answers(trainer, samples)
    result = train(run, trainer, setup.data, folders, repo)
    push(folders, repo)
    with JobStage("samples"):
        report_samples(samples, before, sample_answers(trainer, samples))
    return result


def load_setup(run: dict[str, Any], folders: JobFolders) -> TrainingSetup:
    """Return the converted rows, with the tokenizer on which their form depends."""
    quiet_libraries()
    processing = load_processing(run)
    data = load_training_data(run, has_chat_template(processing, run["config"]), folders.rows)
    return TrainingSetup(data, processing, find_device(run["config"]), folders.checkpoints)


def train(
    run: dict[str, Any], trainer: Any, data: TrainingData, folders: JobFolders, repo: OutputRepo | None
) -> dict[str, Any]:
    """Train to the last step, save the model, and return what came of it."""
    with JobStage("training"):
        outcome = run_training(trainer, find_checkpoint(folders, repo), checkpoint_keeper(folders, repo))
    facts = {"steps": outcome.steps, "train_loss": outcome.train_loss, "rows": len(data.train)}
    result = {**facts, "metrics": last_metrics(trainer.state.log_history)}
    with JobStage("saving"):
        save_result(trainer, run, result, folders.output)
        shutil.rmtree(folders.rows, ignore_errors=True)
        if repo is not None:
            write_card(run, result, folders.output)
            keep_result(folders)
    return result


def push(folders: JobFolders, repo: OutputRepo | None) -> None:
    """Push the result where the run names a repository."""
    if repo is not None:
        with JobStage("push"):
            publish(repo, folders)
