"""Group relative policy optimization: learn by rewards for its own answers, compared within groups of them."""

from trl_mcp.recipes.method import TEN_TIMES, Default, Method, Rewards, trl_default
from trl_mcp.recipes.rules import full_groups, vllm_beside_training

METHOD = Method(
    name="grpo",
    title="group relative policy optimization",
    config="GRPOConfig",
    defaults={
        "epochs": Default(1.0, "answers are made anew at every step: one pass shows each prompt once"),
        "learning_rate": trl_default(1e-6, "GRPOConfig"),
        "batch_size": Default(8, "prompts; each is answered num_generations times"),
    },
    adapter_defaults={"learning_rate": Default(1e-5, TEN_TIMES)},
    rewards=Rewards.ANY,
    answers_in_groups=True,
    answer_length="max_completion_length",
    rules=(full_groups, vllm_beside_training),
)
