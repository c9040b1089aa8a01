"""Reward modelling: learn to score answers, the chosen one of each pair higher."""

from trl_mcp.recipes.method import SMALL_BATCHES, Default, Method, trl_default

METHOD = Method(
    name="reward",
    title="reward modelling",
    config="RewardConfig",
    defaults={
        "epochs": Default(1.0, "TRL's own example (examples/scripts/reward_modeling.py)"),
        "learning_rate": Default(1e-5, "TRL's own example (examples/scripts/reward_modeling.py)"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "RewardConfig"),
    },
    adapter_defaults={
        "learning_rate": Default(1e-4, "TRL's own default, and its example (examples/scripts/reward_modeling.py)")
    },
)
