"""How long one step of training takes on a card, in seconds, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.activations import feed_forward_bytes
from trl_mcp.estimate.calibration import CALIBRATION
from trl_mcp.estimate.cards import Card
from trl_mcp.estimate.setup import Setup, adapter_inputs, adapter_numbers
from trl_mcp.estimate.states import QUANTIZED
from trl_mcp.values import ModelShape

_TERA, _GIGA = 1e12, 1e9
_NODE = 8


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one forward and backward pass, by what bounds them, and of the optimizer's step."""

    matrices: float
    attention: float
    memory: float
    logits: float
    dequantizing: float
    launching: float
    communication: float
    optimizer: float
    total: float

    def per_pass(self, accumulation: int) -> float:
        """Return the seconds of a pass with its share of the optimizer's step."""
        return self.total + self.optimizer / accumulation


def step(shape: ModelShape, setup: Setup, card: Card, speed: Mapping[str, float] = CALIBRATION.speed) -> Step:
    """Return the seconds of one pass over `batch` x `length` tokens.

    What the chip computes and moves adds up. Launching kernels and communication run beside it and show more the
    nearer they come to it: (a^x + b^x)^(1/x), with x fitted.
    """
    matrices = matrix_flops(shape, setup) / matrix_rate(setup, card, speed) + _float_head(shape, setup, card)
    attention = attention_time(shape, setup, card, speed)
    moved = element_bytes(shape, setup, speed) / (card.memory_gbs * _GIGA)
    logits = _logits(shape, setup, speed) / (card.memory_gbs * _GIGA)
    unpacking = _dequantizing(shape, setup, speed) / (card.memory_gbs * _GIGA)
    launching = launch_time(shape, setup, speed)
    communication = communication_time(shape, setup, card, speed)
    busy = _overlap(matrices + attention + moved + logits + unpacking, launching, speed["launch_overlap"])
    return Step(
        matrices=matrices,
        attention=attention,
        memory=moved,
        logits=logits,
        dequantizing=unpacking,
        launching=launching,
        communication=communication,
        optimizer=optimizer_time(shape, setup, card, speed),
        total=_overlap(busy, communication, speed["link_overlap"]),
    )


def _overlap(first: float, second: float, exponent: float) -> float:
    if not second:
        return first
    return (first**exponent + second**exponent) ** (1 / exponent)


def matrix_flops(shape: ModelShape, setup: Setup) -> float:
    """Return the FLOPs of a pass outside attention: 2 per parameter and token forward, 4 backward, 2 where frozen.

    Kaplan et al. 2020; recomputation adds a forward pass. With experts only the active parameters count.
    """
    full = setup.tuning == "full"
    backward = 4 if full else 2
    head = 0 if setup.loss == "none" else shape.embedding
    fused = 2 * head if setup.loss == "fused" else 0
    adapters = adapter_numbers(shape, setup.lora) - (setup.lora.whole if setup.lora else 0)
    layers = (2 + backward + 2 * setup.checkpointing) * shape.active_linear
    return setup.tokens * (layers + (2 + backward) * head + fused + (6 + 2 * setup.checkpointing) * adapters)


def matrix_rate(setup: Setup, card: Card, speed: Mapping[str, float]) -> float:
    """Return the FLOP/s of large matrix products: the card's in 16 bits, float32 weights being cast, times its efficiency."""
    peak = card.half_tflops * _TERA * (speed["fp8"] if setup.fp8 else 1)
    return peak * speed[f"matrices_{card.kind}"]


def _float_head(shape: ModelShape, setup: Setup, card: Card) -> float:
    """Return the time of a head in float32, as the older preparation for 4 bits makes it."""
    if not (setup.wide and setup.quantization) or setup.loss == "none":
        return 0.0
    return setup.tokens * 4 * shape.embedding / (card.float_tflops * _TERA * 0.7)


def attention_time(shape: ModelShape, setup: Setup, card: Card, speed: Mapping[str, float]) -> float:
    """Return the time of attention scores: half a square per head (causal), 2.5 times that backward.

    FlashAttention-2 (Dao 2023); short sequences are less efficient. Eager attention moves each score many times.
    """
    query = shape.heads * shape.head_dim
    flops = setup.tokens * 2 * setup.length * query * shape.layers * (3.5 + setup.checkpointing)
    rate = matrix_rate(setup, card, speed)
    if setup.attention == "eager":
        scores = setup.batch * shape.heads * setup.length**2 * shape.layers
        moved = scores * speed["eager"] * (1 + setup.checkpointing / 3)
        return moved / (card.memory_gbs * _GIGA) + 2 * flops / rate
    slower = (speed["triton"] if setup.attention == "triton" else 1) * (speed["narrow"] if shape.head_dim <= 64 else 1)
    short = 1 + 1000 * speed["short"] / setup.length
    return flops / (rate * speed[f"attention_{card.kind}"]) * slower * short


def element_bytes(shape: ModelShape, setup: Setup, speed: Mapping[str, float]) -> float:
    """Return the bytes that everything between the matrix products moves: norms, activations, casts, adapters."""
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    per_token = 12 * shape.hidden + 2 * (query + 2 * key) + 2 * query + feed_forward_bytes(shape)
    per_token += speed["adapter"] * adapter_inputs(shape, setup.lora)
    times = speed["elements_fused" if setup.stack == "compiled" else "elements"]
    times *= speed["compiled"] if setup.compiled else 1
    times *= speed["wide"] if _float_between(setup) else 1
    return times * setup.tokens * per_token * shape.layers * (1 + setup.checkpointing / 3)


def _float_between(setup: Setup) -> bool:
    return setup.wide or (setup.dtype == "float32" and not setup.quantization and setup.stack != "compiled")


def _logits(shape: ModelShape, setup: Setup, speed: Mapping[str, float]) -> float:
    """Return the bytes the loss moves: whole logits many times, tiles twice each way."""
    if setup.loss == "none":
        return 0.0
    return (8 if setup.loss in {"fused", "chunked"} else speed["logits"]) * setup.tokens * shape.vocab


def _dequantizing(shape: ModelShape, setup: Setup, speed: Mapping[str, float]) -> float:
    """Return the bytes that unpacking weights moves: once forward, once backward, once where computed again."""
    if not setup.quantization:
        return 0.0
    times = speed["gptq"] if setup.quantization == "gptq" else speed["nf4"]
    return times * 2 * shape.linear * (2 + setup.checkpointing)


def launch_time(shape: ModelShape, setup: Setup, speed: Mapping[str, float]) -> float:
    """Return how long the host takes to start the kernels of all layers, whatever their size."""
    floor = speed["launch_2023" if setup.stack == "hf-2023" else "launch"]
    if setup.stack == "compiled":
        return speed["launch"] / 4 * shape.layers * (2 + setup.checkpointing)
    per_layer = 2 + setup.checkpointing + (0.6 if setup.lora else 0)
    unpacking = 1.3 if setup.quantization else 1
    hooks = speed["deepspeed"] if setup.strategy == "zero3" else 1
    experts = 1 + 0.05 * shape.experts if shape.experts else 1
    return floor * shape.layers * per_layer * unpacking * hooks * experts


def optimizer_time(shape: ModelShape, setup: Setup, card: Card, speed: Mapping[str, float]) -> float:
    """Return the time of an optimizer step, bound by memory, and of what is exchanged once per step (DDP, ZeRO 1, 2)."""
    full = setup.tuning == "full"
    numbers = (shape.parameters if full else adapter_numbers(shape, setup.lora)) * setup.trained_copies
    spread = setup.gpus if setup.sharded or setup.strategy.startswith("zero") else 1
    stepping = speed["optimizer"] * numbers / spread / (card.memory_gbs * _GIGA)
    if setup.gpus == 1 or setup.sharded:
        return stepping
    ring = 2 * (setup.gpus - 1) / setup.gpus * (2 if full else 4) * numbers
    return stepping + ring / (card.link_gbs * _GIGA * speed["link"])


def communication_time(shape: ModelShape, setup: Setup, card: Card, speed: Mapping[str, float]) -> float:
    """Return the time to gather sharded weights forward and backward and to scatter gradients, per pass."""
    if not setup.sharded or setup.gpus == 1:
        return 0.0
    bytes_each = QUANTIZED.get(setup.quantization, 2.0) * shape.parameters
    link = card.link_gbs * _GIGA * (1 if setup.gpus <= _NODE else 0.7)
    times = 3 if setup.tuning == "full" else 2
    waiting = times * shape.layers * setup.gpus * speed["link_latency_s"]
    return times * bytes_each * (setup.gpus - 1) / setup.gpus / (link * speed["link"]) + waiting
