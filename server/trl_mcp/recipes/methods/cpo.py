"""Contrastive preference optimization, and SimPO by its loss: preferences without a reference model."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default

METHOD = Method(
    name="cpo",
    title="contrastive preference optimization",
    config="trl.experimental.cpo.CPOConfig",
    defaults={
        "epochs": Default(1.0, "as for dpo: more passes overfit on pairs"),
        "learning_rate": trl_default(1e-6, "CPOConfig"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "CPOConfig"),
    },
    adapter_defaults={"learning_rate": Default(1e-5, TEN_TIMES)},
)
