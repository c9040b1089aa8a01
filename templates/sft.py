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
    "merge": False,
    "save_minutes": 10,
}

from _job.arguments import has_chat_template, load_processing, lora_config, trainer_arguments
from _job.checkpoints import newest_complete_checkpoint
from _job.device import TrainingDevice, find_device
from _job.folders import JobFolders, job_folders
from _job.progress import JobStage, report
from _job.result import save_result
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


def main() -> None:
    """Run the job from its first progress line to its last."""
    announce()
    folders = job_folders()
    with JobStage("data"):
        data, processing = load_data(folders)
    with JobStage("model"):
        trainer = make_trainer(data, processing, find_device(RUN["config"]), folders)
    with JobStage("samples"):
        samples = choose_samples(data.evaluation or data.train)
        before = sample_answers(trainer, samples)
    with JobStage("training"):
        outcome = run_training(trainer, newest_complete_checkpoint(folders.checkpoints))
    with JobStage("saving"):
        save_result(trainer, RUN, folders.output)
        shutil.rmtree(folders.rows, ignore_errors=True)
    with JobStage("samples"):
        report_samples(samples, before, sample_answers(trainer, samples))
    report("end", steps=outcome.steps, train_loss=outcome.train_loss, rows=len(data.train), output=str(folders.output))


if __name__ == "__main__":
    main()
