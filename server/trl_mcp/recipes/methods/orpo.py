"""Odds-ratio preference optimization: learn the chosen answers and away from the rejected ones in one go."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default

METHOD = Method(
    name="orpo",
    title="odds-ratio preference optimization",
    config="trl.experimental.orpo.ORPOConfig",
    defaults={
        "epochs": trl_default(3.0, "ORPOConfig"),
        "learning_rate": Default(8e-6, "TRL's own example (examples/scripts/orpo.py)"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "ORPOConfig"),
    },
    adapter_defaults={"learning_rate": Default(8e-5, TEN_TIMES)},
)
