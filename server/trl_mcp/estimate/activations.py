"""What a forward and a backward pass need beside the states: checkpoints, the layer at work, the logits. In bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.setup import BYTES, Setup, adapter_reads, adapts_experts, modules
from trl_mcp.estimate.states import trained_numbers
from trl_mcp.values import ModelShape

#: TRL's fused heads (trl 1.16.0, kernels/chunked_logprob.py and chunked_divergence.py) work on tiles of so many tokens
#: and so many entries of the vocabulary, however large that is.
_TILE_TOKENS = 4096
_TILE_VOCABULARY = 32_768
_HALF = 2
#: Models that norm each head's query and key: model types of transformers.
NORMED_HEADS = frozenset(["gemma3_text", "olmo2", "qwen3", "qwen3_moe", "qwen3_next"])
#: Those whose activation, gelu_new, transformers computes in operations of its own (activations.py, NewGELUActivation).
_WRITTEN_OUT = frozenset(["codegen", "gpt2", "gpt_neo", "gptj", "phi"])


@dataclass(frozen=True, slots=True)
class Passes:
    """Bytes of a step: what the layers leave for the backward pass, and what the loss and one layer need beside it.

    `casts` are copies of weights that are gone before the backward pass.
    """

    stored: float
    head: float
    layer: float
    casts: float = 0.0

    @property
    def working(self) -> float:
        """What is needed at most beside what the layers left: the loss and a layer never need room at once."""
        return max(self.head, self.layer, self.casts)


def passes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> Passes:
    """Return what forward and backward pass need. Layers that are computed again leave only their input."""
    head = logit_bytes(shape, setup, memory)
    layer = setup.tokens * layer_bytes(shape, setup, memory)
    scores = setup.batch * shape.heads * setup.length**2 * _HALF if setup.attention == "eager" else 0
    share = setup.checkpointing
    kept = layer * (memory["compiled"] if setup.compiled else 1) + memory["eager_kept"] * scores
    checkpoints = shape.layers * setup.tokens * shape.hidden * (4 if setup.wide or _wide(setup) else _HALF)
    stored = share * checkpoints + (1 - share) * shape.layers * kept
    passing = memory["layer"] * setup.tokens * _passing_bytes(shape, setup)
    experts = _merged_experts(shape, setup)
    if share == 0:
        return Passes(stored + _casts(shape, setup) + shape.sparse_layers * experts, head, passing)
    again = max(layer + passing + memory["eager_kept"] * scores, layer / 2 + memory["eager"] * scores)
    return Passes(stored, head, again + experts, _casts(shape, setup))


def _merged_experts(shape: ModelShape, setup: Setup) -> float:
    """Return the bytes of a layer's experts with their adapters added, which PEFT's ParamWrapper makes to use them."""
    if not adapts_experts(shape, setup.lora):
        return 0.0
    return float(BYTES[setup.dtype] * 3 * shape.experts * shape.hidden * shape.expert_intermediate)


def _passing_bytes(shape: ModelShape, setup: Setup) -> float:
    """Return the bytes per token of gradients and copies while one layer is at work.

    Adapters copy what they read to float32 and drop some of it; the widest is what the feed-forward part ends in.
    """
    width = feed_forward_bytes(shape, trained=False) / (3 if shape.gated else 1) / _HALF
    return (8 + 2 * setup.dropout if setup.lora else 4) * width + 4 * shape.hidden


def _wide(setup: Setup) -> bool:
    """Under autocast with float32 weights, embedding and norms give float32, and so do the sums between layers."""
    cast_by_fsdp = setup.stack == "compiled" and setup.sharded
    return setup.dtype == "float32" and not setup.quantization and not cast_by_fsdp


def _casts(shape: ModelShape, setup: Setup) -> float:
    """Return the 16-bit copies of float32 weights under autocast.

    Those of trained weights are kept until a forward pass ends, and what the backward pass needs until then.
    """
    if not _wide(setup) or setup.sharded or (setup.tuning != "full" and setup.checkpointing):
        return 0.0
    return float(_HALF * shape.linear)


def layer_bytes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> float:
    """Return the bytes per token that one layer keeps for its backward pass, without attention scores.

    What autograd saves in transformers 5 (modeling_llama.py, sdpa_attention.py): each norm its input in float32, in
    fused training code in 16 bits; query, key, value and output of attention in 16 bits, key and value repeated where
    SDPA needs them so; gate, up and the activation. Trained weights keep the inputs of their products besides, which
    frozen ones do not need; adapters what they read.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    seen = query if setup.attention in {"eager", "sdpa"} else key
    attention = _HALF * (2 * query + 2 * seen)
    normed = 2 * shape.hidden + (query + key if shape.model_type in NORMED_HEADS else 0)
    four_bit = memory["litgpt_4bit"] * all_inputs(shape) if _keeps_inputs(setup) else 0
    kept = (
        (4 if setup.stack != "compiled" or _wide(setup) else _HALF) * normed
        + attention
        + feed_forward_bytes(shape, trained=setup.tuning == "full")
        + _written_out_bytes(shape, setup)
    )
    return memory["kept"] * (kept + _read_bytes(shape, setup, normed)) + _adapter_bytes(shape, setup, memory) + four_bit


def _read_bytes(shape: ModelShape, setup: Setup, normed: int) -> float:
    """Return what trained products and the norms' weights keep of their inputs.

    Under autocast every product casts its float32 input for itself.
    """
    if setup.tuning != "full":
        return 0.0
    scaled = BYTES[setup.dtype] * normed if shape.gated else 0
    copies = (5 if shape.gated else 2) if _wide(setup) else 2
    return scaled + copies * _HALF * shape.hidden


def _adapter_bytes(shape: ModelShape, setup: Setup, memory: Mapping[str, float]) -> float:
    """Return what adapters keep: their inputs, cast for each one, and the mask of dropout, a byte for each number.

    TRL's DistillationTrainer calls the student without autocast, whose adapters then compute in their own type.
    """
    if setup.lora is None:
        return 0.0
    size = setup.lora.number_bytes if setup.loss == "divergence" else _HALF
    return memory["adapter"] * (size + setup.dropout) * adapter_reads(shape, setup.lora)


def feed_forward_bytes(shape: ModelShape, trained: bool = True) -> float:
    """Return the bytes per token of the feed-forward part: with experts those a token is sent to, once more sorted."""
    per_number = _HALF * ((3 if shape.gated else 1) + trained)
    if not shape.experts:
        return per_number * shape.intermediate
    sparse = shape.experts_per_token * (per_number * shape.expert_intermediate + 2 * _HALF * shape.hidden)
    return max(sparse, per_number * shape.intermediate if shape.sparse_layers < shape.layers else 0)


def _written_out_bytes(shape: ModelShape, setup: Setup) -> float:
    """Return what gelu_new keeps beside half of its input, in the place of the input.

    Autocast cubes in float32, and so are three numbers: the input, the tanh, and one more than that.
    """
    by_transformers = setup.stack in {"trl", "hf-2023"}
    return 3 * 4 * shape.intermediate if by_transformers and shape.model_type in _WRITTEN_OUT else 0


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
    model's type, 16 with a float32 head. Nor do Liger and others (chunked) have them whole, whose gradient of the head
    is of its own type.
    """
    if setup.loss == "none" or shape.encoder:
        return 0.0
    if setup.loss in {"fused", "divergence"}:
        return _fused_head(shape, setup)
    per_entry = memory[f"logits_{setup.loss}"] * _logit_share(setup)
    gradient = BYTES[setup.dtype] * shape.embedding if _trains_head(setup) else 0
    return per_entry * shape.vocab * setup.tokens + (gradient if setup.loss == "chunked" else 0)


def _logit_share(setup: Setup) -> float:
    """Return the part of the bytes an entry takes: more with a float32 head, 6 of 11 where only answers are scored."""
    if setup.loss == "online":
        return (6 + 5 * setup.scored) / 11
    return 16 / 14 if setup.loss == "plain" and setup.wide else 1.0


def _fused_head(shape: ModelShape, setup: Setup) -> float:
    """Return the bytes of TRL's fused heads at their height, the backward pass.

    A tile in 16 bits, for a divergence two in float32 and one in 16 bits; hidden states and their gradient in float32
    and 16 bits; the gradient of a trained head in float32, then in its own type too.
    """
    per_entry = 10 if setup.loss == "divergence" else _HALF
    scored = setup.scored * setup.tokens
    tile = per_entry * min(scored, _TILE_TOKENS) * _TILE_VOCABULARY
    gradient = (4 if setup.dtype == "float32" else 4 + _HALF) * shape.embedding if _trains_head(setup) else 0
    return float(6 * (setup.tokens + scored) * shape.hidden + tile + gradient)


def _trains_head(setup: Setup) -> bool:
    return setup.tuning == "full" or bool(setup.lora and setup.lora.whole)


def trains_nothing(shape: ModelShape, setup: Setup) -> bool:
    """Whether no number would be trained: an adapter on modules that the model does not have."""
    return trained_numbers(shape, setup) == 0
