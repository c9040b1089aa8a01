"""Supervised fine-tuning: learn to answer as the data does."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default
from trl_mcp.recipes.rules import no_free_padding

METHOD = Method(
    name="sft",
    title="supervised fine-tuning",
    config="SFTConfig",
    defaults={
        "epochs": trl_default(3.0, "SFTConfig"),
        "learning_rate": trl_default(2e-5, "SFTConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "SFTConfig"),
    },
    adapter_defaults={"learning_rate": Default(2e-4, TEN_TIMES)},
    rules=(no_free_padding,),
)
