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
"""Teach a language model by rewards for its own answers, compared within groups of them (GRPO)."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "grpo",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "dataset": "openai/gsm8k",
    "dataset_file": None,
    "dataset_config": "main",
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {"prompt": "question"},
    "system_prompt": None,
    "tuning": "lora",
    "config": {
        "max_steps": 10,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-5,
        "num_generations": 4,
        "max_completion_length": 128,
    },
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "rewards": [{"name": "right_number", "kind": "code", "weight": None, "revision": None}],
    "reward_code": """import re


def right_number(completions, answer):
    told = [re.findall(r"[0-9]+", text.replace(",", "")) for text in completions]
    right = [text.replace(",", "").split()[-1] for text in answer]
    return [float(number in numbers[-1:]) for numbers, number in zip(told, right)]
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


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for group relative policy optimization, with model and rewards loaded."""
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportPrivateImportUsage]  (trl names them lazily)

    rewards = load_rewards(RUN, setup.device)
    fields = trainer_arguments(RUN, setup.device, setup.checkpoints)
    return GRPOTrainer(
        model=trainable_model(RUN, setup.device),
        reward_funcs=rewards.functions,
        reward_processing_classes=rewards.tokenizers,
        args=GRPOConfig(**fields, reward_weights=rewards.weights),
        train_dataset=setup.data.train,
        eval_dataset=setup.data.evaluation,
        processing_class=setup.processing,
        peft_config=lora_config(RUN),
        callbacks=rewards.callbacks,
    )


if __name__ == "__main__":
    run_job(RUN, make_trainer, check_rewards, rewarded_answers)
