# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.13.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
#     "trackio[gpu]==0.43.0",
# ]
# ///
"""Train a process reward model: one that tells, step by step, whether a solution is still right."""

from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "prm",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "dataset": "trl-lib/math_shepherd",
    "dataset_file": None,
    "dataset_config": None,
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {},
    "system_prompt": None,
    "tuning": "lora",
    "config": {"max_steps": 10, "per_device_train_batch_size": 4, "learning_rate": 1e-4, "max_length": 512},
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "TOKEN_CLS"},
    "output_repo": None,
    "private": True,
    "overwrite": False,
    "merge": False,
    "save_minutes": 10,
}

from _job.arguments import lora_config, trainer_arguments
from _job.job import TrainingSetup, run_job
from _job.prm_models import keep_labelled, load_step_model, score_steps, spare_heads


def make_trainer(setup: TrainingSetup) -> Any:
    """Return TRL's trainer for process reward models, with the model loaded."""
    from trl.experimental.prm import PRMConfig, PRMTrainer

    fields = trainer_arguments(RUN, setup.device, setup.checkpoints)
    del fields["model_init_kwargs"]
    tokenizer = getattr(setup.processing, "tokenizer", setup.processing)
    trainer = PRMTrainer(
        model=load_step_model(RUN, setup.device, tokenizer),
        args=PRMConfig(**fields),
        train_dataset=setup.data.train,
        eval_dataset=setup.data.evaluation,
        processing_class=tokenizer,
        peft_config=spare_heads(lora_config(RUN, "TOKEN_CLS")),
    )
    return keep_labelled(trainer)


if __name__ == "__main__":
    run_job(RUN, make_trainer, show=score_steps)
