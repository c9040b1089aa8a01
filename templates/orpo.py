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
"""Teach a language model answers and preferences at once, without a reference model (odds ratio preference optimisation)."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "orpo",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "dataset": "trl-lib/ultrafeedback_binarized",
    "dataset_file": None,
    "dataset_config": None,
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {},
    "system_prompt": None,
    "tuning": "lora",
    "config": {"max_steps": 10, "per_device_train_batch_size": 2, "learning_rate": 8e-6, "max_length": 512},
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
from _job.pair_texts import pair_texts


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for odds ratio preference optimisation, with the model loaded."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    arguments = trainer_arguments(RUN, setup.device, setup.checkpoints)
    arguments["remove_unused_columns"] = False
    return ORPOTrainer(
        model=trainable_model(RUN, setup.device),
        args=ORPOConfig(**arguments),
        train_dataset=pair_texts(setup.data.train, setup.processing),
        eval_dataset=pair_texts(setup.data.evaluation, setup.processing),
        processing_class=setup.processing,
        peft_config=lora_config(RUN),
    )


if __name__ == "__main__":
    run_job(RUN, make_trainer)
