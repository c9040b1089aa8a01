"""Direct preference optimization: prefer the chosen answer of each pair, without a reward model."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default

METHOD = Method(
    name="dpo",
    title="direct preference optimization",
    config="DPOConfig",
    defaults={
        "epochs": Default(1.0, "TRL's own example (trl/scripts/dpo.py)"),
        "learning_rate": trl_default(1e-6, "DPOConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "DPOConfig"),
    },
    adapter_defaults={"learning_rate": Default(1e-5, TEN_TIMES)},
)
