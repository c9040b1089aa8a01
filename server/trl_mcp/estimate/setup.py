"""How a model is trained, as far as memory and speed depend on it, and what each method adds to that."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trl_mcp.values import ModelShape

ALL_LINEAR = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
EXPERT_MODULES = frozenset({"gate_proj", "up_proj", "down_proj"})
#: Models whose experts PEFT 0.21.2 leaves alone: model types of transformers 5.23 that have experts and are not among
#: those whose modules it maps to tensors (transformers_weight_conversion.py). Those it does not know count as mapped.
_UNADAPTED_EXPERTS = frozenset(
    [
        *("aria_text", "bamba", "dbrx", "deepseek_v4", "gpt_oss", "granitemoe", "granitemoehybrid", "granitemoeshared"),
        *("granitemoe_swa", "hy_v3", "hy_v4", "jamba", "jetmoe", "kimi_linear", "lfm2_moe", "llama4", "llama4_text"),
        *("mimo_v2_flash", "nemotron_h", "phimoe", "qwen3_5_moe", "qwen3_5_moe_text"),
    ]
)
#: Models that transformers 5.23 gives eager attention where none is asked for (`_supports_sdpa` is false).
EAGER_BY_DEFAULT = frozenset(
    [
        *("bloom", "codegen", "deepseek_v4", "flint", "gemma2", "gpt_neo", "gpt_oss", "gptj", "granite_swa"),
        *("granitemoe_swa", "hy_v4", "inkling2_text", "mimo_v2_flash", "mpt", "openai-gpt", "vaultgemma", "xglm"),
    ]
)
#: Models with one module for query, key and value, and with one for gate and up: model types of transformers.
_ONE_FOR_ATTENTION = frozenset(
    ["bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "mpt", "phi3", "starcoder"]
)
_ONE_FOR_GATE = frozenset(["glm", "glm4", "phi3"])
BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter: its rank and what it is put on; `whole` are numbers trained beside it (modules_to_save).

    `dropout` says that its inputs are dropped out, which keeps a mask.
    """

    rank: int = 16
    targets: frozenset[str] = ALL_LINEAR
    dora: bool = False
    whole: int = 0
    number_bytes: int = 4
    dropout: bool = True


@dataclass(frozen=True, slots=True)
class Setup:
    """One training as one device sees it.

    `length` is that of the longest batch in tokens, `batch` the sequences in one forward pass. `dtype` is that of the
    weights, `quantization` one of "", nf4, nf4-dq (double quantisation), gptq. `checkpointing` is the share of a layer
    that is computed again in the backward pass. `loss` names how logits are handled (activations.LOGIT_BYTES),
    `stack` the code that trains: trl, hf-2023 (Transformers before 4.40), litgpt, compiled (fused training code).
    `varied` says that lengths differ from batch to batch and nothing empties the cache between. `wide` says that
    what passes between the layers is float32. `frozen_gb` are models that only give answers: reference, reward, teacher;
    `server_share` the share of the card a vLLM server is given, `answers` the sequences Transformers generates at once.
    `offloaded` says that sharded states wait on the host, `dropout` that adapters train with it. `scored` is the
    share of the tokens that the loss reads.
    """

    tuning: str
    length: int
    batch: int = 1
    accumulation: int = 1
    dtype: str = "bfloat16"
    quantization: str = ""
    optimizer: str = "adamw_torch_fused"
    checkpointing: float = 1.0
    attention: str = "sdpa"
    loss: str = "fused"
    lora: Lora | None = None
    gpus: int = 1
    strategy: str = "single_gpu"
    stack: str = "trl"
    compiled: bool = False
    wide: bool = False
    varied: bool = False
    fp8: bool = False
    trained_copies: int = 1
    frozen_gb: float = 0.0
    server_share: float = 0.0
    answers: int = 0
    offloaded: bool = False
    dropout: bool = True
    scored: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens in one forward pass on one device."""
        return self.length * self.batch

    @property
    def trained_bytes(self) -> int:
        """Bytes of a trained number.

        Accelerate keeps those that FSDP spreads in float32 (`fsdp2_prepare_model`). TRL's own trainers, told by their
        losses, keep adapters on quantised weights in 16 bits (sft_trainer.py), PEFT all in float32.
        """
        if self.tuning != "full":
            by_trl = self.quantization and self.loss in {"fused", "divergence", "none"}
            return 2 if by_trl else self.lora.number_bytes if self.lora else 4
        return 4 if self.stack == "trl" and self.strategy in {"fsdp1", "fsdp2"} else BYTES[self.dtype]

    @property
    def sharded(self) -> bool:
        """Whether the weights themselves are spread over the devices."""
        return self.strategy in {"fsdp1", "fsdp2", "zero3"}


@dataclass(frozen=True, slots=True)
class Method:
    """What a method adds: sequences a row becomes, how its logits are handled, models it holds, whether it generates.

    `references` are frozen copies of the trained model, needed with full fine-tuning only: an adapter is switched off
    instead. `judges` are frozen models of the same size where no other is named; `values` are further trained ones.
    `passes` are forward passes without gradients, for each with.
    """

    sequences: int = 1
    loss: str = "fused"
    references: int = 0
    judges: int = 0
    values: int = 0
    passes: int = 0
    generates: bool = False
    dropout: bool = False


#: Read from the trainers of trl 1.16.0 (`add_fused_lm_head`, the models each holds); PPO 1.12.0, PRM 1.13.0.
METHODS: Mapping[str, Method] = {
    "sft": Method(dropout=True),
    "dpo": Method(sequences=2, references=1, passes=1),
    "kto": Method(references=1, passes=2),
    "reward": Method(sequences=2, loss="none"),
    "prm": Method(loss="none"),
    "grpo": Method(dropout=True, passes=1, generates=True),
    "rloo": Method(dropout=True, references=1, passes=2, generates=True),
    "distillation": Method(dropout=True, loss="divergence", judges=1, passes=1, generates=True),
    "orpo": Method(sequences=2, loss="pairs"),
    "cpo": Method(sequences=2, loss="pairs"),
    "online_dpo": Method(sequences=2, loss="online", references=1, judges=1, passes=2, generates=True),
    "gkd": Method(loss="twice", judges=1, passes=1, generates=True),
    "ppo": Method(loss="plain", references=1, judges=1, values=1, passes=3, generates=True),
}


#: Methods whose model scores what it reads and writes nothing.
SCORING_METHODS = frozenset(name for name, method in METHODS.items() if method.loss == "none")


def modules(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Return what adapters can be put on in one layer, beside experts: name -> (inputs, outputs).

    What a model has as one goes by the name of the first.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    found = {"o_proj": (query, shape.hidden)}
    if shape.model_type in _ONE_FOR_ATTENTION:
        found["q_proj"] = (shape.hidden, query + 2 * key)
    else:
        found |= {"q_proj": (shape.hidden, query), "k_proj": (shape.hidden, key), "v_proj": (shape.hidden, key)}
    if shape.experts:
        return found
    found["down_proj"] = (shape.intermediate, shape.hidden)
    if shape.gated and shape.model_type in _ONE_FOR_GATE:
        return found | {"up_proj": (shape.hidden, 2 * shape.intermediate)}
    found["up_proj"] = (shape.hidden, shape.intermediate)
    return found | ({"gate_proj": (shape.hidden, shape.intermediate)} if shape.gated else {})


def adapter_numbers(shape: ModelShape, lora: Lora | None) -> int:
    """Return the trained numbers of an adapter: r x (in + out) for each module, out more with DoRA (Hu et al. 2021)."""
    if lora is None:
        return 0
    sizes = [size for name, size in modules(shape).items() if name in lora.targets]
    dense = shape.layers * sum(lora.rank * sum(size) + lora.dora * size[1] for size in sizes)
    return dense + shape.sparse_layers * _expert_numbers(shape, lora) + lora.whole


def _expert_numbers(shape: ModelShape, lora: Lora) -> int:
    """Return the trained numbers on a layer's experts, each of which gets an adapter of its own.

    PEFT 0.21.2 (transformers_weight_conversion.py) targets the tensors that transformers 5 keeps experts in, and their
    router; the rank of gate and up, which are one, is twice the rank.
    """
    if not adapts_experts(shape, lora):
        return 0
    width = shape.expert_intermediate
    each = 2 * (shape.hidden + 2 * width) + width + shape.hidden
    return lora.rank * (shape.experts * each + shape.hidden + shape.experts)


def adapts_experts(shape: ModelShape, lora: Lora | None) -> bool:
    """Whether adapters are put on experts."""
    is_known = shape.model_type not in _UNADAPTED_EXPERTS
    return bool(shape.experts and is_known and lora and EXPERT_MODULES & lora.targets)


def adapter_reads(shape: ModelShape, lora: Lora) -> int:
    """Return how many numbers per token the adapters of a layer read, those that several read counted for each."""
    return sum(size[0] for name, size in modules(shape).items() if name in lora.targets)


def adapter_inputs(shape: ModelShape, lora: Lora | None) -> int:
    """Return how many different numbers per token and layer adapters read: q, k and v read the same ones."""
    if lora is None:
        return 0
    read_by = {"q_proj": "norm", "k_proj": "norm", "v_proj": "norm", "gate_proj": "up_proj"}
    found = {read_by.get(name, name): size[0] for name, size in modules(shape).items() if name in lora.targets}
    return sum(found.values())


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured and not derived; `memory` and `speed` by name, see calibration.py."""

    memory: Mapping[str, float] = field(default_factory=dict[str, float])
    speed: Mapping[str, float] = field(default_factory=dict[str, float])
