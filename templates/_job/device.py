"""What the job runs on, and the trainer's fields that follow from it."""

import os
from dataclasses import dataclass
from typing import Any

from _job.progress import report

# Attention that torch itself brings, on every device.
OWN_ATTENTION = {"eager", "sdpa"}
# The generation of GPUs from which on a kernel computes attention: Ampere, Hopper.
ATTENTION_GENERATIONS = {"flash-attn2": 8, "flash-attn3": 9}


@dataclass(frozen=True)
class TrainingDevice:
    """A kind of device (cuda, mps, cpu), its name, its 16-bit numbers, and how many processes train, one on each."""

    kind: str
    name: str
    half_precision: str | None
    processes: int = 1


def find_device(config: dict[str, Any]) -> TrainingDevice:
    """Return the best device here, or the CPU where the run asks for it."""
    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available() and not config.get("use_cpu"):
        # Emulated bfloat16, as on a T4, would be slower than float16.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if native else "float16"
        return TrainingDevice("cuda", torch.cuda.get_device_name(0), precision, processes)
    if torch.backends.mps.is_available() and not config.get("use_cpu"):
        return TrainingDevice("mps", "mps", None)
    return TrainingDevice("cpu", "cpu", None, processes)


def device_arguments(device: TrainingDevice, config: dict[str, Any], tuning: str) -> dict[str, Any]:
    """Return the trainer's fields for the device; what the run itself sets stays as it is."""
    fields: dict[str, Any] = precision_fields(device, config, tuning)
    if device.kind == "cpu":
        fields["use_cpu"] = True
    if device.kind == "cpu" and config.get("gradient_checkpointing") is None:
        # Memory is not what is short on a CPU. This name wins over the trainer's default for the older one.
        fields["activation_checkpointing"] = False
    return {name: value for name, value in fields.items() if config.get(name) is None}


def precision_fields(device: TrainingDevice, config: dict[str, Any], tuning: str) -> dict[str, bool]:
    """Return bf16 and fp16 for the device, leaving room for the one that the run may ask for."""
    # Weights in 4 bits are computed with in bfloat16, on a CPU too.
    bf16 = device.half_precision == "bfloat16" or tuning == "qlora"
    return {
        "bf16": bf16 and not config.get("fp16"),
        "fp16": device.half_precision == "float16" and not bf16 and not config.get("bf16"),
    }


def weights_dtype(fields: dict[str, Any], device: TrainingDevice, tuning: str) -> str:
    """Return the type to load weights in: a model named by its id would be loaded in float32 everywhere."""
    if device.kind != "cuda":
        return "float32"
    if fields["bf16"]:
        return "bfloat16"
    # The gradient scaler that goes with float16 cannot work on weights that are themselves float16.
    return "float16" if fields["fp16"] and tuning != "full" else "float32"


def usable_kernels(loading: dict[str, Any], device: TrainingDevice) -> dict[str, Any]:
    """Return how the run asks to load the model, without fused kernels that are not here."""
    attention = loading.get("attn_implementation")
    missing = {
        "attn_implementation": attention not in (None, *OWN_ATTENTION) and not has_attention(attention, device),
        "use_kernels": bool(loading.get("use_kernels")) and not has_package("kernels", device),
    }
    for name in [name for name, is_missing in missing.items() if is_missing]:
        report("warning", message=f"{name}={loading[name]} is left out: there is no such kernel on {device.name} here")
    return {name: value for name, value in loading.items() if not missing.get(name)}


def has_attention(name: str, device: TrainingDevice) -> bool:
    """Tell whether an attention beyond torch's own can be computed here."""
    if "/" in name:  # a repository of kernels
        return has_package("kernels", device) and gpu_generation() >= needed_generation(name)
    packages = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_3"}
    return has_package(packages.get(name, "torch"), device)


def needed_generation(name: str) -> int:
    """Return from which generation of GPUs on a repository's kernels compute attention."""
    return max((number for mark, number in ATTENTION_GENERATIONS.items() if name.endswith(mark)), default=8)


def gpu_generation() -> int:
    """Return the first number of the GPU's compute capability."""
    import torch

    return torch.cuda.get_device_capability()[0]


def has_package(name: str, device: TrainingDevice) -> bool:
    """Tell whether there is a GPU, and the package whose kernels run on it."""
    from importlib.util import find_spec

    return device.kind == "cuda" and find_spec(name) is not None
