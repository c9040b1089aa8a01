"""Online DPO: the better of two of its own answers is the chosen one."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, Rewards, trl_default
from trl_mcp.recipes.rules import no_vllm

METHOD = Method(
    name="online_dpo",
    title="online direct preference optimization",
    config="trl.experimental.online_dpo.OnlineDPOConfig",
    defaults={
        "epochs": Default(1.0, "answers are made anew at every step: one pass shows each prompt once"),
        "learning_rate": trl_default(5e-7, "OnlineDPOConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(512, "OnlineDPOConfig"),
    },
    adapter_defaults={"learning_rate": Default(5e-6, TEN_TIMES)},
    rewards=Rewards.ANY,
    answer_length="max_new_tokens",
    rules=(no_vllm,),
)
