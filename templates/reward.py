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
"""Train a model that scores answers, higher where people prefer them (reward model)."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "reward",
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
    "config": {"max_steps": 10, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "max_length": 512},
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "SEQ_CLS"},
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
from _job.samples import score_pairs


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for reward models, with the model loaded."""
    from trl import RewardConfig, RewardTrainer  # pyright: ignore[reportPrivateImportUsage]  (trl names them lazily)

    tokenizer = setup.processing
    if tokenizer.eos_token is None:
        # Encoders such as BERT name the end of a text otherwise; the trainer closes each answer by it.
        tokenizer.eos_token = tokenizer.sep_token
    return RewardTrainer(
        model=trainable_model(RUN, setup.device, "AutoModelForSequenceClassification", num_labels=1),
        args=RewardConfig(**trainer_arguments(RUN, setup.device, setup.checkpoints)),
        train_dataset=setup.data.train,
        eval_dataset=setup.data.evaluation,
        processing_class=tokenizer,
        peft_config=lora_config(RUN, "SEQ_CLS"),
    )


if __name__ == "__main__":
    run_job(RUN, make_trainer, show=score_pairs)
