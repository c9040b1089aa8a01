"""What public calculators say of the same runs; their formulas as published, with None where they do not apply."""

from collections.abc import Callable, Mapping

from tests.benchmarks.measurements import Row

_GB = 1e9
#: Unsloth's table of "absolute minimum" GB by billions of parameters: 4-bit, 16-bit adapters.
_UNSLOTH = {3: (3.5, 8), 7: (5, 19), 8: (6, 22), 9: (6.5, 24), 14: (8.5, 33), 32: (26, 76), 40: (30, 96), 70: (41, 164)}


def accelerate_memory(row: Row) -> float | None:
    """accelerate estimate-memory, Adam: the larger of gradients and step; 8 bytes a parameter in bf16, 16 in fp32."""
    if row.shape is None or row.setup.tuning != "full":
        return None
    return row.shape.parameters * (16 if row.setup.dtype == "float32" else 8) / _GB


def hf_mem(row: Row) -> float | None:
    """hf-mem 0.5.6: the bytes of the weights."""
    if row.shape is None:
        return None
    return row.shape.parameters * {"float32": 4}.get(row.setup.dtype, 0.5 if row.setup.quantization else 2) / _GB


def llama_factory_memory(row: Row) -> float | None:
    """LLaMA-Factory's table: GB per billion parameters: 18 (bf16 autocast), 8 (pure bf16), 2 LoRA, 0.5 QLoRA."""
    if row.shape is None:
        return None
    full = 18 if row.setup.dtype == "float32" else 8
    return row.shape.parameters / _GB * {"full": full, "lora": 2, "qlora": 0.5}[row.setup.tuning]


def unsloth_memory(row: Row) -> float | None:
    """Unsloth's table, the nearest size."""
    if row.shape is None or row.setup.tuning == "full":
        return None
    billions = row.shape.parameters / _GB
    four_bit, half = _UNSLOTH[min(_UNSLOTH, key=lambda size: abs(size - billions))]
    return four_bit if row.setup.tuning == "qlora" else half


def eleuther_memory(row: Row) -> float | None:
    """EleutherAI's Transformer Math 101: weights, Adam, gradients and Korthikanti's activations."""
    if row.shape is None or row.setup.tuning != "full":
        return None
    shape, setup = row.shape, row.setup
    states = shape.parameters * (18 if setup.dtype == "float32" else 16) / setup.gpus
    per_layer = 2 if setup.checkpointing else 34 + 5 * shape.heads * setup.length / shape.hidden
    return (states + setup.tokens * shape.hidden * shape.layers * per_layer) / _GB


def constant_mfu(row: Row) -> float | None:
    """6 FLOPs per parameter and token (4 for adapters) at 40 % of the card's peak."""
    if row.shape is None or row.card is None:
        return None
    flops = (6 if row.setup.tuning == "full" else 4) * row.shape.parameters
    return 0.4 * row.card.half_tflops * 1e12 / flops


def skills_speed(row: Row) -> float | None:
    """huggingface/skills estimate_cost.py: 0.1 h per billion and 1000 examples times a factor of the machine."""
    if row.shape is None or row.card is None or row.setup.gpus > 1:
        return None
    factor = {"T4": 1.5, "L4": 1.2, "A10G": 1.0, "A100": 0.7, "A100-40GB": 0.7}.get(row.card.name)
    if factor is None:
        return None
    seconds_per_example = 0.1 * row.shape.parameters / _GB * factor * 3600 / 1000
    return row.setup.length / seconds_per_example


MEMORY: Mapping[str, Callable[[Row], float | None]] = {
    "hf-mem": hf_mem,
    "accelerate estimate-memory": accelerate_memory,
    "EleutherAI Transformer Math": eleuther_memory,
    "LLaMA-Factory table": llama_factory_memory,
    "Unsloth table": unsloth_memory,
}
SPEED: Mapping[str, Callable[[Row], float | None]] = {
    "6N at 40 % of the peak": constant_mfu,
    "skills estimate_cost.py": skills_speed,
}
