"""Process reward modelling: learn to tell of each step of a solution whether it is right."""

from trl_mcp.recipes.method import SMALL_BATCHES, TEN_TIMES, Default, Method, trl_default

METHOD = Method(
    name="prm",
    title="process reward modelling",
    config="trl.experimental.prm.PRMConfig",
    trl="1.13.0",
    defaults={
        "epochs": trl_default(3.0, "PRMConfig", "1.13.0"),
        "learning_rate": trl_default(1e-5, "PRMConfig", "1.13.0"),
        "batch_size": Default(16, SMALL_BATCHES),
        "max_length": trl_default(1024, "PRMConfig", "1.13.0"),
    },
    adapter_defaults={"learning_rate": Default(1e-4, TEN_TIMES)},
)
