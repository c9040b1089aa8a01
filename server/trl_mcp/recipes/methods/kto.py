"""Kahneman-Tversky optimization: learn from answers that are each marked good or bad."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default
from trl_mcp.recipes.rules import kto_in_order

METHOD = Method(
    name="kto",
    title="Kahneman-Tversky optimization",
    config="KTOConfig",
    defaults={
        "epochs": Default(1.0, "TRL's own example (trl/scripts/kto.py)"),
        "learning_rate": trl_default(1e-6, "KTOConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "KTOConfig"),
    },
    adapter_defaults={"learning_rate": Default(1e-5, TEN_TIMES)},
    least_device_batch=2,
    rules=(kto_in_order,),
)
