"""Generalized knowledge distillation: learn a teacher's probabilities on answers of the data and on its own."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default
from trl_mcp.recipes.rules import no_free_padding

METHOD = Method(
    name="gkd",
    title="generalized knowledge distillation",
    config="trl.experimental.gkd.GKDConfig",
    defaults={
        "epochs": trl_default(3.0, "GKDConfig"),
        "learning_rate": trl_default(2e-5, "GKDConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "GKDConfig"),
    },
    adapter_defaults={"learning_rate": Default(2e-4, TEN_TIMES)},
    needs_teacher=True,
    answer_length="max_new_tokens",
    rules=(no_free_padding,),
)
