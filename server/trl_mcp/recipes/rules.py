"""What must hold among the fields of a trainer's config before anything starts: the job would fail on it at once."""

from collections.abc import Mapping
from typing import cast

DEVICE_BATCH = "per_device_train_batch_size"
ACCUMULATION = "gradient_accumulation_steps"
_LEAST_TO_WHITEN = 8
_ALONE = "apo_zero_unpaired"


def no_free_padding(config: Mapping[str, object]) -> str | None:
    """Say that padding_free needs packing: TRL refuses it with rows that are cut at max_length."""
    if config.get("padding_free") and not config.get("packing") and config.get("max_length") is not None:
        return "padding_free needs packing. Set packing=true, or leave padding_free out."
    return None


def kto_in_order(config: Mapping[str, object]) -> str | None:
    """Say that KTO compares each row with its neighbours in the batch, whose order TRL has prepared."""
    strategy = config.get("train_sampling_strategy", "sequential")
    if strategy != "sequential" and config.get("loss_type") != _ALONE:
        return (
            f"train_sampling_strategy is sequential for kto, not {strategy}. Leave it out, or use loss_type={_ALONE}."
        )
    return None


def full_groups(config: Mapping[str, object]) -> str | None:
    """Say what would tear a prompt's answers apart."""
    if config.get("auto_find_batch_size"):
        return (
            "auto_find_batch_size could tear the answers to one prompt apart. "
            f"Leave it out; a smaller {DEVICE_BATCH} saves memory."
        )
    if None not in (config.get("generation_batch_size"), config.get("steps_per_generation")):
        return "generation_batch_size and steps_per_generation say the same thing. Give one of them."
    return None


def no_vllm(config: Mapping[str, object]) -> str | None:
    """Say that vLLM writes the answers of two methods only."""
    return "use_vllm is possible with grpo and rloo only. Leave it out." if config.get("use_vllm") else None


def vllm_beside_training(config: Mapping[str, object]) -> str | None:
    """Say that vLLM shares the GPUs of the training: a job has no others for a server."""
    if config.get("use_vllm") and config.get("vllm_mode", "colocate") != "colocate":
        return (
            f"vllm_mode cannot be {config['vllm_mode']}: it needs a vLLM server on other GPUs, which a job does not "
            "have. Leave vllm_mode out: vLLM then shares the GPUs that train."
        )
    if config.get("use_vllm") and config.get("use_cpu"):
        return "use_vllm needs a GPU, and use_cpu=true leaves it idle. Leave one of them out."
    return None


def whole_mini_batches(config: Mapping[str, object]) -> str | None:
    """Say which numbers of mini batches divide the rows that a device sees in a step."""
    rows, parts = _device_rows(config), cast(int, config.get("num_mini_batches", 1))
    if parts >= 1 and rows % parts == 0:
        return None
    fitting = ", ".join(str(count) for count in range(1, rows + 1) if rows % count == 0)
    return f"num_mini_batches cannot be {parts}: it divides the {rows} rows of a step. It can be {fitting}."


def enough_to_whiten(config: Mapping[str, object]) -> str | None:
    """Say how many rows a mini batch needs before its rewards can be whitened."""
    rows = _device_rows(config) // max(1, cast(int, config.get("num_mini_batches", 1)))
    if config.get("whiten_rewards") and rows < _LEAST_TO_WHITEN:
        return f"whiten_rewards needs {_LEAST_TO_WHITEN} rows in a mini batch, and there are {rows}. Raise batch_size."
    return None


def _device_rows(config: Mapping[str, object]) -> int:
    return cast(int, config[DEVICE_BATCH]) * cast(int, config[ACCUMULATION])
