"""A model spread over several GPUs: the trainer's fields that say what TRL's own configurations of Accelerate say.

They are trl/accelerate_configs/{fsdp1,fsdp2,zero1,zero2,zero3}.yaml of TRL 1.16. Other than there each process loads the
weights itself (cpu_ram_efficient_loading): the first one alone would leave frozen models of the others empty.
"""

from typing import Any

WHOLE_WEIGHTS = (None, "single_gpu", "multi_gpu", "zero1", "zero2")
SPREAD_WEIGHTS = ("fsdp1", "fsdp2", "zero3")
SHARDED = ("zero1", "zero2", *SPREAD_WEIGHTS)
STRATEGIES = (*WHOLE_WEIGHTS, *SPREAD_WEIGHTS)
ONE_FILE: dict[str, Any] = {
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "cpu_ram_efficient_loading": False,
    "state_dict_type": "FULL_STATE_DICT",
}
FSDP1 = {
    "version": 1,
    "backward_prefetch": "BACKWARD_PRE",
    "forward_prefetch": True,
    "reshard_after_forward": "FULL_SHARD",
    "sync_module_states": True,
    # An adapter is trained beside weights that are not.
    "use_orig_params": True,
}
FSDP2 = {"version": 2, "reshard_after_forward": True}
FILLED_IN = "auto"


def sharding_fields(strategy: str | None) -> dict[str, Any]:
    """Return the trainer's fields for a strategy; none where every GPU holds the whole model."""
    if strategy in ("fsdp1", "fsdp2"):
        return {"fsdp": True, "fsdp_config": ONE_FILE | (FSDP1 if strategy == "fsdp1" else FSDP2)}
    if strategy in ("zero1", "zero2", "zero3"):
        return {"deepspeed": zero_config(int(strategy[-1]))}
    return {}


def sharding_variables(strategy: str | None) -> dict[str, str]:
    """Return what must be known of a strategy before the processes first meet, as accelerate's own launcher tells it.

    With FULL_STATE_DICT they also exchange what lies in the memory of the host.
    """
    if strategy not in ("fsdp1", "fsdp2"):
        return {}
    loading = {"FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}
    return {"ACCELERATE_USE_FSDP": "true", "FSDP_STATE_DICT_TYPE": ONE_FILE["state_dict_type"], **loading}


def zero_config(stage: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration for a stage of ZeRO; the trainer fills in what follows from its other fields."""
    zero: dict[str, Any] = {"stage": stage}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": FILLED_IN},
        "fp16": {"enabled": FILLED_IN},
        "gradient_accumulation_steps": FILLED_IN,
        "gradient_clipping": FILLED_IN,
        "train_batch_size": FILLED_IN,
        "train_micro_batch_size_per_gpu": FILLED_IN,
    }


def is_sharded(run: dict[str, Any]) -> bool:
    """Tell whether the processes share what one alone would keep."""
    return run.get("strategy") in SHARDED


def spreads_weights(run: dict[str, Any]) -> bool:
    """Tell whether no process has the whole model, so that all of them must take part in whatever it computes."""
    return run.get("strategy") in SPREAD_WEIGHTS
