"""Proximal policy optimization: learn by the scores of a reward model, close to where it began."""

from trl_mcp.recipes.method import TEN_TIMES, Default, Method, Rewards, trl_default
from trl_mcp.recipes.rules import enough_to_whiten, whole_mini_batches

METHOD = Method(
    name="ppo",
    title="proximal policy optimization",
    config="trl.experimental.ppo.PPOConfig",
    trl="1.12.0",
    defaults={
        "epochs": Default(1.0, "answers are made anew at every step: one pass shows each prompt once"),
        "learning_rate": trl_default(3e-6, "PPOConfig", "1.12.0"),
        "batch_size": Default(64, "prompts; TRL's own example (examples/scripts/ppo/ppo.py, trl 1.12.0)"),
    },
    adapter_defaults={"learning_rate": Default(3e-5, TEN_TIMES)},
    fields={"stop_token": "eos", "missing_eos_penalty": 1.0},
    rewards=Rewards.ONE_MODEL,
    evaluates=False,
    answer_length="response_length",
    rules=(whole_mini_batches, enough_to_whiten),
)
