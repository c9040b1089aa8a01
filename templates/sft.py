# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.16.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
#     "trackio[gpu]==0.43.0",
# ]
# ///
"""Fine-tune a language model on conversations, prompts with completions, or plain text (supervised fine-tuning)."""

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
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "output_repo": None,
    "private": True,
    "overwrite": False,
    "merge": False,
    "save_minutes": 10,
    "strategy": None,
}

from _job.arguments import lora_config, trainer_arguments
from _job.job import TrainingSetup, run_job
from _job.models import trainable_model


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for supervised fine-tuning, with the model loaded."""
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]  (trl names them lazily)

    return SFTTrainer(
        model=trainable_model(RUN, setup.device),
        args=SFTConfig(**trainer_arguments(RUN, setup.device, setup.checkpoints)),
        train_dataset=setup.data.train,
        eval_dataset=setup.data.evaluation,
        processing_class=setup.processing,
        peft_config=lora_config(RUN),
    )


if __name__ == "__main__":
    run_job(RUN, make_trainer)
