"""What a forward and a backward pass need beside the states: checkpoints, the layer at work, the logits. In bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.setup import Setup, adapter_inputs, modules
from trl_mcp.estimate.states import trained_numbers
from trl_mcp.values import ModelShape

#: TRL's fused head (trl 1.16.0, kernels/chunked_logprob.py) works on tiles of so many tokens and vocabulary entries.
_TILE_TOKENS = 4096
_TILE_VOCABULARY = 8192
_HALF = 2


@dataclass(frozen=True, slots=True)
class Passes:
    """Bytes at the height of a step: what the layers leave for the backward pass, and what works beside it."""

    stored: float
    working: float
    logits: float


def passes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> Passes:
    """Return what forward and backward pass need. Logits and a layer's backward pass never need room at once."""
    logits = logit_bytes(shape, setup, memory)
    layer = setup.tokens * layer_bytes(shape, setup, memory)
    scores = setup.batch * shape.heads * setup.length**2 * _HALF if setup.attention == "eager" else 0
    share = setup.checkpointing
    kept = layer * (memory["compiled"] if setup.compiled else 1) + memory["eager_kept"] * scores
    checkpoints = shape.layers * setup.tokens * shape.hidden * (4 if setup.wide or _wide(setup) else _HALF)
    stored = share * checkpoints + (1 - share) * shape.layers * kept
    if share == 0:
        return Passes(stored + _cast(shape, setup), logits, logits)
    return Passes(stored, max(logits, memory["layer"] * layer + memory["eager"] * scores, _cast(shape, setup)), logits)


def _wide(setup: Setup) -> bool:
    """Under autocast with float32 weights, embedding and norms give float32, and so do the sums between layers."""
    return setup.dtype == "float32" and not setup.quantization


def _cast(shape: ModelShape, setup: Setup) -> float:
    """Return the 16-bit copies of trained float32 weights that autocast keeps until a forward pass ends."""
    return float(_HALF * shape.linear) if _wide(setup) and setup.tuning == "full" and not setup.sharded else 0.0


def layer_bytes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> float:
    """Return the bytes per token that one layer keeps for its backward pass, without attention scores.

    Linear inputs and outputs in 16 bits (Korthikanti et al. 2022, for gated layers: gate, up, their product and the
    activation), norms in float32 where they are RMS norms, keys and values repeated where SDPA needs them so, a copy of
    what adapters read in the adapter's type.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = memory["rms_norm" if shape.gated else "layer_norm"] * shape.hidden
    attention = _HALF * (query + 2 * key) + _HALF * query
    repeated = 2 * _HALF * (query - key) if setup.attention in {"eager", "sdpa"} else 0
    adapters = memory["adapter"] * (3 if setup.stack == "litgpt" else 4) * adapter_inputs(shape, setup.lora)
    four_bit = memory["litgpt_4bit"] * all_inputs(shape) if _keeps_inputs(setup) else 0
    return norms + attention + repeated + feed_forward_bytes(shape) + adapters + four_bit


def feed_forward_bytes(shape: ModelShape) -> float:
    """Return the bytes per token of the feed-forward part: with experts those a token is sent to, once more sorted."""
    per_number = 8 if shape.gated else 4
    if not shape.experts:
        return per_number * shape.intermediate
    sparse = shape.experts_per_token * (per_number * shape.expert_intermediate + 2 * _HALF * shape.hidden)
    return max(sparse, per_number * shape.intermediate if shape.sparse_layers < shape.layers else 0)


def all_inputs(shape: ModelShape) -> int:
    """Return the numbers per token that the linear parts of a layer read: attention, its output, both of the rest."""
    sizes = modules(shape)
    return sum(sizes[name][0] for name in ("q_proj", "o_proj", "up_proj", "down_proj") if name in sizes)


def _keeps_inputs(setup: Setup) -> bool:
    return setup.stack == "litgpt" and setup.quantization.startswith("nf4")


def logit_bytes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> float:
    """Return the bytes at the height of the loss.

    Whole logits are held several times over: in 16 bits, as float32, as log-probabilities and as their gradient, which
    makes 14 bytes an entry in Transformers, 18 before 4.40 (a shifted copy), 12 and 8 in model code that keeps the
    model's type, 16 with a float32 head. TRL's fused head never has them whole: tiles, and gradients in float32. Nor have Liger
    and others (chunked), whose gradient of the head is of its own type.
    """
    if setup.loss == "none" or shape.encoder:
        return 0.0
    trains_head = setup.tuning == "full" or bool(setup.lora and setup.lora.whole)
    gradient = trained_head_bytes(setup) * shape.embedding if trains_head else 0
    if setup.loss == "fused":
        head = 4 * shape.embedding + gradient if trains_head else 0
        tile = _HALF * min(setup.tokens, _TILE_TOKENS) * min(shape.vocab, _TILE_VOCABULARY)
        return float(6 * setup.tokens * shape.hidden + tile + head)
    per_entry = memory[f"logits_{setup.loss}"] * (16 / 14 if setup.wide and setup.loss == "plain" else 1)
    return per_entry * shape.vocab * setup.tokens + (gradient if setup.loss == "chunked" else 0)


def trained_head_bytes(setup: Setup) -> int:
    """Return the bytes per entry of the head's gradient in the head's own type, made beside the float32 one."""
    return 4 if setup.dtype == "float32" else _HALF


def trains_nothing(shape: ModelShape, setup: Setup) -> bool:
    """Whether no number would be trained: an adapter on modules that the model does not have."""
    return trained_numbers(shape, setup) == 0
