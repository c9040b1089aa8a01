"""What the job runs on, and the trainer's fields that follow from it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingDevice:
    """A kind of device (cuda, mps, cpu), its name, and the 16-bit numbers that it computes with."""

    kind: str
    name: str
    half_precision: str | None


def find_device(config: dict[str, Any]) -> TrainingDevice:
    """Return the best device here, or the CPU where the run asks for it."""
    import torch

    if torch.cuda.is_available() and not config.get("use_cpu"):
        # Emulated bfloat16, as on a T4, would be slower than float16.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return TrainingDevice("cuda", torch.cuda.get_device_name(0), "bfloat16" if native else "float16")
    if torch.backends.mps.is_available() and not config.get("use_cpu"):
        return TrainingDevice("mps", "mps", None)
    return TrainingDevice("cpu", "cpu", None)


def device_arguments(device: TrainingDevice, config: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's fields for the device; what the run itself sets stays as it is."""
    fields: dict[str, Any] = precision_fields(device, config)
    if device.kind == "cpu":
        fields["use_cpu"] = True
    if device.kind == "cpu" and config.get("gradient_checkpointing") is None:
        # Memory is not what is short on a CPU. This name wins over the trainer's default for the older one.
        fields["activation_checkpointing"] = False
    return {name: value for name, value in fields.items() if config.get(name) is None}


def precision_fields(device: TrainingDevice, config: dict[str, Any]) -> dict[str, bool]:
    """Return bf16 and fp16 for the device, leaving room for the one that the run may ask for."""
    return {
        "bf16": device.half_precision == "bfloat16" and not config.get("fp16"),
        "fp16": device.half_precision == "float16" and not config.get("bf16"),
    }


def weights_dtype(fields: dict[str, Any], device: TrainingDevice, tuning: str) -> str:
    """Return the type to load weights in: a model named by its id would be loaded in float32 everywhere."""
    if device.kind != "cuda":
        return "float32"
    if fields["bf16"]:
        return "bfloat16"
    # The gradient scaler that goes with float16 cannot work on weights that are themselves float16.
    return "float16" if fields["fp16"] and tuning != "full" else "float32"
