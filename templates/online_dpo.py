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
"""Teach a language model by preferences between two of its own answers, which rewards decide (online DPO)."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "online_dpo",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "dataset": "trl-lib/ultrafeedback-prompt",
    "dataset_file": None,
    "dataset_config": None,
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {},
    "system_prompt": None,
    "tuning": "lora",
    "config": {
        "max_steps": 10,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-5,
        "max_new_tokens": 128,
        "max_length": 1024,
    },
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "rewards": [{"name": "some_fifty_words", "kind": "code", "weight": None, "revision": None}],
    "reward_code": """def some_fifty_words(completions):
    return [-min(abs(len(text.split()) - 50), 50) / 50 for text in completions]
""",
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
from _job.rewards import load_rewards
from _job.rewards_samples import rewarded_answers
from _job.rewards_trial import try_rewards
from _job.source import TrainingData


def check_rewards(data: TrainingData) -> None:
    """Try the rewards on rows of the data before the model is loaded."""
    try_rewards(RUN, data)


def batch_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns of plain values: prompts are tokenized later, the rest is for the rewards."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for online preferences, with model and rewards loaded."""
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    rewards = load_rewards(RUN, setup.device, setup.processing.pad_token_id)
    fields = trainer_arguments(RUN, setup.device, setup.checkpoints)
    return OnlineDPOTrainer(
        model=trainable_model(RUN, setup.device),
        reward_funcs=rewards.functions,
        reward_processing_classes=rewards.tokenizers,
        args=OnlineDPOConfig(**fields, reward_weights=rewards.weights),
        data_collator=batch_columns,
        train_dataset=setup.data.train,
        eval_dataset=setup.data.evaluation,
        processing_class=setup.processing,
        peft_config=lora_config(RUN),
        callbacks=rewards.callbacks,
    )


if __name__ == "__main__":
    run_job(RUN, make_trainer, check_rewards, rewarded_answers)
