"""On-policy distillation: learn the teacher's probabilities on its own answers."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method
from trl_mcp.recipes.rules import no_vllm

METHOD = Method(
    name="distillation",
    title="on-policy distillation",
    config="DistillationConfig",
    defaults={
        "epochs": Default(1.0, "answers are made anew at every step: one pass shows each prompt once"),
        "learning_rate": Default(2e-5, "TRL's own example (trl/scripts/distillation.py)"),
        "batch_size": Default(16, SMALL_BATCHES),
    },
    adapter_defaults={"learning_rate": Default(2e-4, TEN_TIMES)},
    needs_teacher=True,
    answer_length="max_completion_length",
    rules=(no_vllm,),
)
