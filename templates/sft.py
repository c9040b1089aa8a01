# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.16.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
# ]
# ///
"""Fine-tune a language model on conversations, prompts with completions, or plain text (supervised fine-tuning)."""

import os
import shutil
from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "sft",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "dataset": "trl-lib/Capybara",
    "dataset_file": None,
    "dataset_config": None,
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {},
    "system_prompt": None,
    "tuning": "lora",
    "config": {"max_steps": 10, "per_device_train_batch_size": 2, "learning_rate": 2e-4, "max_length": 512},
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "output_repo": None,
    "private": True,
    "overwrite": False,
    "merge": False,
    "save_minutes": 10,
}

from _job.arguments import has_chat_template, load_processing, lora_config, trainer_arguments
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


def announce() -> None:
    """Say that the job runs, before anything slow is imported."""
    part = os.environ.get("TRL_MCP_PART")
    known = {name: RUN[name] for name in ("method", "recipe_version", "run_key")}
    report("start", **known, **({"part": int(part)} if part else {}))


def load_data(folders: JobFolders) -> tuple[TrainingData, Any]:
    """Return the converted rows, and the tokenizer on which their form depends."""
    quiet_libraries()
    processing = load_processing(RUN)
    return load_training_data(RUN, has_chat_template(processing, RUN["config"]), folders.rows), processing


def make_trainer(data: TrainingData, processing: Any, device: TrainingDevice, folders: JobFolders) -> Any:
    """Return TRL's trainer for supervised fine-tuning, with the model loaded."""
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]  (trl names them lazily)

    trainer = SFTTrainer(
        model=RUN["model"],
        args=SFTConfig(**trainer_arguments(RUN, device, folders.checkpoints)),
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        processing_class=processing,
        peft_config=lora_config(RUN),
    )
    watch_training(trainer, RUN, data, device)
    return trainer


def train(trainer: Any, data: TrainingData, folders: JobFolders, repo: OutputRepo | None) -> dict[str, Any]:
    """Train to the last step, save the model, and return what came of it."""
    with JobStage("training"):
        outcome = run_training(trainer, find_checkpoint(folders, repo), checkpoint_keeper(folders, repo))
    facts = {"steps": outcome.steps, "train_loss": outcome.train_loss, "rows": len(data.train)}
    result = {**facts, "metrics": last_metrics(trainer.state.log_history)}
    with JobStage("saving"):
        save_result(trainer, RUN, result, folders.output)
        shutil.rmtree(folders.rows, ignore_errors=True)
        if repo is not None:
            write_card(RUN, result, folders.output)
            keep_result(folders)
    return result


def push(folders: JobFolders, repo: OutputRepo | None) -> None:
    """Push the result where the run names a repository."""
    if repo is not None:
        with JobStage("push"):
            publish(repo, folders)


def make_model(folders: JobFolders, repo: OutputRepo | None) -> dict[str, Any]:
    """Train, push the result, show what the model learned, and return what came of it."""
    with JobStage("data"):
        data, processing = load_data(folders)
    with JobStage("model"):
        trainer = make_trainer(data, processing, find_device(RUN["config"]), folders)
    with JobStage("samples"):
        samples = choose_samples(data.evaluation or data.train)
        before = sample_answers(trainer, samples)
    result = train(trainer, data, folders, repo)
    push(folders, repo)
    with JobStage("samples"):
        report_samples(samples, before, sample_answers(trainer, samples))
    return result


def main() -> None:
    """Run the job from its first progress line to its last."""
    announce()
    folders = job_folders()
    with JobStage("access"):
        repo = open_output_repo(RUN)
    result = kept_result(RUN, folders)
    if result is None:
        result = make_model(folders, repo)
    else:
        take_kept_result(folders)
        push(folders, repo)
    facts = {name: result[name] for name in ("steps", "train_loss", "rows")}
    report("end", **facts, output=str(folders.output))


if __name__ == "__main__":
    main()
