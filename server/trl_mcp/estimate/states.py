"""What a training keeps on the device from step to step: weights, gradients, optimizer, adapters. In bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.setup import BYTES, Setup, adapter_numbers
from trl_mcp.values import ModelShape

#: Bytes a number of a layer takes, with its share of the scales: blocks of 64 with a float32 scale, these quantised
#: again in blocks of 256 for -dq (Dettmers et al. 2023); GPTQ with groups of 128.
QUANTIZED: Mapping[str, float] = {"nf4": 0.5625, "nf4-dq": 0.516, "gptq": 0.53, "int8": 1.0, "fp8": 1.0}
_HALF = 2
#: Moments an optimizer keeps, in numbers of the weights' type; a fixed number of bytes where it has its own type.
_MOMENTS: Mapping[str, float] = {"adamw": 2, "adam": 2, "lion": 1, "rmsprop": 1, "adagrad": 1, "sgd": 0, "adafactor": 0}


@dataclass(frozen=True, slots=True)
class States:
    """What stays on one device, in bytes. `passing` is needed for moments only, when nothing else is at its height."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float = 0.0
    passing: float = 0.0

    @property
    def total(self) -> float:
        """Everything that stays."""
        return self.weights + self.gradients + self.optimizer + self.buffers


def weight_bytes(shape: ModelShape, setup: Setup) -> float:
    """Return the bytes of all weights on one device before they are spread.

    4-bit weights are those of the layers; embedding, head and norms stay 16 bits, 32 where `wide` (the older
    prepare_model_for_kbit_training).
    """
    size = BYTES[setup.dtype]
    if not setup.quantization:
        return size * held_parameters(shape, setup)
    others = held_parameters(shape, setup) - shape.linear
    return QUANTIZED[setup.quantization] * shape.linear + (4 if setup.wide else _HALF) * others


def held_parameters(shape: ModelShape, setup: Setup) -> int:
    """Return the parameters of the model that is trained: where it gives scores its head for words is left out."""
    scores = setup.loss == "none" and not shape.tied and not shape.encoder
    return max(shape.linear, shape.parameters - shape.embedding) if scores else shape.parameters


def trained_numbers(shape: ModelShape, setup: Setup) -> int:
    """Return how many numbers are trained."""
    return held_parameters(shape, setup) if setup.tuning == "full" else adapter_numbers(shape, setup.lora)


def moment_bytes(optimizer: str, size: int) -> float:
    """Return the bytes per trained number an optimizer keeps; `size` is that of a number of the weights.

    AdamW keeps two moments in the weights' type; 8 bits with a scale per block of 256 (Dettmers et al. 2022): 2.06;
    4 bits (torchao): 1.06; Adafactor a row and a column; paged ones may move to the host, and do not before they must.
    """
    name = optimizer.lower()
    if "4bit" in name:
        return 1.06
    if "8bit" in name:
        return 1.03 if "lion" in name else 2.06
    kind = next((kind for kind in _MOMENTS if kind in name), "adamw")
    return _MOMENTS[kind] * size


def states(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> States:
    """Return what stays on one device, spread over the devices as the strategy says."""
    size = setup.trained_bytes
    trained = float(trained_numbers(shape, setup) * setup.trained_copies)
    base = 0.0 if setup.tuning == "full" else weight_bytes(shape, setup)
    whole = States(
        weights=trained * size + base,
        gradients=trained * size,
        optimizer=trained * moment_bytes(setup.optimizer, size),
        passing=_optimizer_step(shape, trained, size, setup),
    )
    return _spread(whole, shape, setup, memory)


def _optimizer_step(shape: ModelShape, trained: float, size: int, setup: Setup) -> float:
    """Return what an optimizer needs while it steps.

    AdamW in torch's foreach code a copy of all weights, in the fused code nothing; Adafactor (transformers'
    optimization.py) takes one tensor after another, with four copies in float32.
    """
    if setup.optimizer == "adafactor" and setup.tuning == "full":
        return 16.0 * max(shape.embedding, shape.hidden * shape.intermediate)
    return trained * size if setup.optimizer in {"adamw_torch", "adamw_foreach"} else 0.0


def _spread(whole: States, shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> States:
    """Spread states as FSDP (Zhao et al. 2023), ZeRO 1 to 3 (Rajbhandari et al. 2020) or DDP do."""
    gpus, strategy = setup.gpus, setup.strategy
    bucket = memory["deepspeed_gb"] * 1e9 if strategy.startswith("zero") else 0.0
    if strategy == "multi_gpu":  # DDP keeps the gradients a second time, in buckets
        return States(whole.weights, whole.gradients, whole.optimizer, whole.gradients, whole.passing)
    if strategy in {"fsdp1", "fsdp2"} and setup.offloaded:
        return States(0.0, 0.0, 0.0, gathered(shape, setup))
    if strategy in {"fsdp1", "fsdp2"}:
        return States(
            whole.weights / gpus, whole.gradients / gpus, whole.optimizer / gpus, gathered(shape, setup), whole.passing
        )
    if not strategy.startswith("zero"):
        return whole
    if setup.tuning == "full":
        whole = _mixed(trained_numbers(shape, setup) * setup.trained_copies)
    level = int(strategy[-1])
    numbers = trained_numbers(shape, setup) * setup.trained_copies
    return States(
        weights=whole.weights / (gpus if level == 3 else 1),
        gradients=whole.gradients / (gpus if level >= 2 else 1),
        optimizer=whole.optimizer / gpus,
        buffers=bucket + (gathered(shape, setup) if level == 3 else 0.0),
        passing=memory["zero_step"] * min(numbers / gpus, 1e9) if setup.tuning == "full" else 0.0,
    )


def _mixed(numbers: float) -> States:
    """Return DeepSpeed's mixed precision: 16-bit weights, float32 copies of weights and gradients, two moments."""
    return States(weights=2 * numbers, gradients=4 * numbers, optimizer=12 * numbers)


def gathered(shape: ModelShape, setup: Setup) -> float:
    """Return the weights that are whole on a device for a moment: the layer at work, the next, the embedding."""
    per_number = QUANTIZED.get(setup.quantization, _HALF if setup.strategy == "zero3" else BYTES[setup.dtype])
    table = 0 if setup.quantization else _HALF * shape.embedding
    return 2 * per_number * shape.linear / max(1, shape.layers) + table
