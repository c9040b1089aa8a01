# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.12.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
#     "trackio[gpu]==0.43.0",
# ]
# ///
"""Train a language model on the scores of a reward model with proximal policy optimization (PPO)."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "ppo",
    "run_key": "example",
    "model": "Qwen/Qwen2-0.5B-Instruct",
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
        "gradient_accumulation_steps": 4,
        "learning_rate": 3e-5,
        "response_length": 64,
        "stop_token": "eos",
        "missing_eos_penalty": 1.0,
    },
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "rewards": [{"name": "trl-lib/Qwen2-0.5B-Reward", "kind": "model", "weight": None, "revision": None}],
    "reward_code": None,
    "output_repo": None,
    "private": True,
    "overwrite": False,
    "merge": False,
    "save_minutes": 10,
}

from _job.arguments import lora_config, trainer_arguments
from _job.job import TrainingSetup, run_job
from _job.ppo_loop import ResumablePPO, act_as_policy, limit_episodes
from _job.ppo_models import even_types, load_parts


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for PPO, with the policy, its reference, the reward model and the value model loaded."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    fields = trainer_arguments(RUN, setup.device, setup.checkpoints)
    del fields["model_init_kwargs"]
    # TRL would show sample answers as tables; those of this script are progress lines.
    args = PPOConfig(**{"num_sample_generations": 0, **fields})
    limit_episodes(args, setup.device)
    tokenizer = getattr(setup.processing, "tokenizer", setup.processing)
    parts = load_parts(RUN, setup.device, tokenizer, setup.data.train, args.response_length)
    trainer_class: Any = type("ResumablePPOTrainer", (ResumablePPO, PPOTrainer), {})
    trainer = trainer_class(
        args=args,
        processing_class=tokenizer,
        model=parts.policy,
        ref_model=parts.reference,
        reward_model=parts.reward,
        value_model=parts.value,
        train_dataset=parts.prompts,
        peft_config=lora_config(RUN),
    )
    if RUN["tuning"] == "qlora":
        even_types(parts.policy, RUN, setup.device)
    return act_as_policy(trainer)


if __name__ == "__main__":
    run_job(RUN, make_trainer)
