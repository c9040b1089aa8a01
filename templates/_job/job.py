"""A training job, from its first progress line to its last, whatever the method."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.arguments import has_chat_template, load_processing
from _job.card import write_card
from _job.checkpoints import check_process_count
from _job.device import TrainingDevice, find_device
from _job.folders import JobFolders, job_folders
from _job.keeping import checkpoint_keeper, find_checkpoint
from _job.launch import end_other_process, launch_processes, obey_strategy, process_count, received_handover
from _job.models import check_model
from _job.output_repo import OutputRepo, open_output_repo
from _job.progress import JobStage, is_first_process, report
from _job.publishing import keep_result, kept_result, publish, take_kept_result
from _job.result import last_metrics, save_result
from _job.samples import ShowSamples, choose_samples, generate_answers, report_samples, sample_texts
from _job.sharding import spreads_weights
from _job.source import TrainingData, load_training_data
from _job.tracking import check_trackers, guard_tracking
from _job.training import quiet_libraries, run_training, watch_training


@dataclass(frozen=True)
class TrainingSetup:
    """What a trainer is made from: the converted rows, the tokenizer, the device, and the folder of checkpoints."""

    data: TrainingData
    processing: Any
    device: TrainingDevice
    checkpoints: Path


@dataclass(frozen=True)
class PreparedRun:
    """What is done once, however many processes train: the rows, the repository, the checkpoint to go on from."""

    data: TrainingData
    processing: Any
    repo: OutputRepo | None
    checkpoint: Path | None


MakeTrainer = Callable[[TrainingSetup], Any]
CheckData = Callable[[TrainingData], None]


def run_job(
    run: dict[str, Any],
    make_trainer: MakeTrainer,
    check_data: CheckData | None = None,
    show: ShowSamples = generate_answers,
) -> None:
    """Run the job.

    `check_data` stops it before the model is loaded, with a SystemExit that says why. `show` returns, given the
    trainer and some samples of the data, one text for each sample: what the model makes of it before and after.
    """
    folders = job_folders()
    prepared = received_handover()
    if prepared is None:
        announce(run)
        with JobStage("access"):
            obey_strategy(run)
            check_trackers(run)
            repo = open_output_repo(run)
        if push_kept_result(run, folders, repo):
            return
        prepared = prepare_run(run, check_data, folders, repo)
        count = process_count(run)
        check_process_count(prepared.checkpoint, count)
        if count > 1:
            launch_processes(run, count, prepared, folders.rows)
            return
    report_end(train_and_push(run, make_trainer, show, prepared, folders), folders)
    end_other_process()


def announce(run: dict[str, Any]) -> None:
    """Say that the job runs, before anything slow is imported."""
    part = os.environ.get("TRL_MCP_PART")
    known = {name: run[name] for name in ("method", "recipe_version", "run_key")}
    report("start", **known, **({"part": int(part)} if part else {}))


def report_end(result: dict[str, Any], folders: JobFolders) -> None:
    """Say that the job is done, and what came of it."""
    facts = {name: result[name] for name in ("steps", "train_loss", "rows")}
    report("end", **facts, output=str(folders.output))


def push_kept_result(run: dict[str, Any], folders: JobFolders, repo: OutputRepo | None) -> bool:
    """Push the result that an earlier job of the run could not push, and tell whether there was one."""
    result = kept_result(run, folders)
    if result is None:
        return False
    take_kept_result(folders)
    push(folders, repo)
    report_end(result, folders)
    return True


def prepare_run(
    run: dict[str, Any], check_data: CheckData | None, folders: JobFolders, repo: OutputRepo | None
) -> PreparedRun:
    """Return the converted rows, with the tokenizer on which their form depends, and the checkpoint."""
    with JobStage("model"):
        quiet_libraries()
        check_model(run)
        processing = load_processing(run)
    with JobStage("data"):
        data = load_training_data(run, has_chat_template(processing, run["config"]), folders.rows)
    if check_data is not None:
        with JobStage("rewards"):
            check_data(data)
    with JobStage("training"):
        return PreparedRun(data, processing, repo, find_checkpoint(folders, repo))


def train_and_push(
    run: dict[str, Any], make_trainer: MakeTrainer, show: ShowSamples, prepared: PreparedRun, folders: JobFolders
) -> dict[str, Any]:
    """Train, push the result, show what the model learned, and return what came of it."""
    data = prepared.data
    with JobStage("model"):
        quiet_libraries()
        setup = TrainingSetup(data, prepared.processing, find_device(run["config"]), folders.checkpoints)
        trainer = make_trainer(setup)
        guard_tracking(trainer)
        watch_training(trainer, run, data, setup.device)
    with JobStage("samples"):
        # A model whose weights are spread answers only where all processes ask it.
        asks = is_first_process() and not spreads_weights(run)
        samples = choose_samples(data.evaluation or data.train) if asks else []
        before = sample_texts(show, trainer, samples)
    result = train(run, trainer, prepared, folders)
    if is_first_process():
        push(folders, prepared.repo)
    with JobStage("samples"):
        report_samples(samples, before, sample_texts(show, trainer, samples))
    return result


def train(run: dict[str, Any], trainer: Any, prepared: PreparedRun, folders: JobFolders) -> dict[str, Any]:
    """Train to the last step, save the model, and return what came of it."""
    repo = prepared.repo if is_first_process() else None
    with JobStage("training"):
        keeper = checkpoint_keeper(folders, repo)
        outcome = run_training(trainer, prepared.checkpoint, keeper)
    facts = {"steps": outcome.steps, "train_loss": outcome.train_loss, "rows": len(prepared.data.train)}
    result = {**facts, "metrics": last_metrics(trainer.state.log_history)}
    with JobStage("saving"):
        save_result(trainer, run, result, folders.output)
        if is_first_process():
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
