"""The shape of a model, from its config.json and the headers of its safetensors files."""

import math
from collections.abc import Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.tensor_sizes import VISION_NAMES, Tensors, sizes_of
from trl_mcp.values import ModelShape

_TEXT_PARTS = ("text_config", "language_config", "llm_config", "thinker_config")
_PLAIN_FEED_FORWARD = frozenset(
    [
        "bert",
        "bloom",
        "distilbert",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "mpt",
        "opt",
        "phi",
        "roberta",
        "starcoder2",
        "xlm-roberta",
    ]
)
_ENCODERS = frozenset(
    [
        "albert",
        "bert",
        "camembert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "modernbert",
        "mpnet",
        "roberta",
        "xlm-roberta",
    ]
)
_TIED_BY_DEFAULT = frozenset(
    ["bloom", "falcon", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "mpt", "opt", "gpt_bigcode"]
)
_DTYPE_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2}
_DTYPE_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
#: Layers of models of so many parameters: Qwen3, Llama 3 and SmolLM as published.
_USUAL_LAYERS = ((1e8, 12), (6e8, 28), (2e9, 28), (4e9, 36), (8e9, 34), (14e9, 40), (32e9, 64), (70e9, 80), (4e11, 126))


def shape_of(config: Mapping[str, object], tensors: Tensors | None = None, parameters: int | None = None) -> ModelShape:
    """Return the shape of a model; where the config does not tell it, one guessed from the parameter count.

    `tensors` maps names to the type and sizes of the safetensors headers, `parameters` is a count from elsewhere. Raises
    InvalidArguments where neither tells how large the model is.
    """
    text = next((cast(Mapping[str, object], config[part]) for part in _TEXT_PARTS if config.get(part)), config)
    size = _Reader(text, config, sizes_of(tensors or {}, _Reader(text, config).heads))
    quantization = _quantization(config)
    known = _count(tensors) or parameters
    if not (size.layers and size.hidden and size.heads and size.vocab):
        if not known:
            raise InvalidArguments(
                "The model's config.json tells neither its layers nor its width, and nothing tells its parameters.",
                allowed="A model with a config.json of a known kind, or with safetensors files.",
                next_step="Name another model. Nothing was started.",
            )
        return guessed_shape(known)
    return _shape(size, tensors, known, quantization)


def _shape(size: "_Reader", tensors: Tensors | None, known: int | None, quantization: str) -> ModelShape:
    vision = _count_vision(tensors) or size.vision_parameters()
    # Files with packed numbers hold fewer than the model has.
    total = (None if quantization else known) or size.parameters() + vision
    return ModelShape(
        parameters=total,
        active_parameters=max(1, total - size.idle_parameters()),
        layers=size.layers,
        hidden=size.hidden,
        heads=size.heads,
        kv_heads=size.kv_heads,
        head_dim=size.head_dim,
        intermediate=size.intermediate,
        vocab=size.vocab,
        gated=size.gated,
        tied=_tied(size, tensors),
        context=size.number("max_position_embeddings", "n_positions", "seq_length", "max_seq_len"),
        model_type=size.model_type,
        dtype=_dtype(size, tensors),
        quantization=quantization,
        experts=size.experts,
        experts_per_token=size.experts_per_token,
        expert_intermediate=size.expert_intermediate,
        sparse_layers=size.sparse_layers,
        vision_parameters=vision,
        encoder=size.encoder,
        bytes_on_disk=_bytes(tensors) or 2 * total,
    )


def guessed_shape(parameters: int) -> ModelShape:
    """Return the shape that a model of so many parameters usually has: as the Llama and Qwen families."""
    layers = min(_USUAL_LAYERS, key=lambda usual: abs(math.log(max(1, parameters) / usual[0])))[1]
    vocab = 128_256 if parameters > 300e6 else 32_000
    # parameters = 13 layers hidden^2 + 2 vocab hidden: grouped queries, a feed-forward part 3.5 times as wide
    hidden = (math.sqrt(vocab**2 + 13 * layers * parameters) - vocab) / (13 * layers)
    heads = max(1, round(hidden / 128))
    width = heads * 128 if hidden >= 128 else max(8, int(hidden))
    return ModelShape(
        parameters=parameters,
        active_parameters=parameters,
        layers=layers,
        hidden=width,
        heads=heads,
        kv_heads=max(1, heads // 4),
        head_dim=width // heads,
        intermediate=round(3.5 * width),
        vocab=vocab,
        context=0,
        bytes_on_disk=2 * parameters,
        guessed=True,
    )


class _Reader:
    """A config of any family, read under the names that families use; `found` is what the weight files tell beside."""

    def __init__(
        self, text: Mapping[str, object], whole: Mapping[str, object], found: Mapping[str, int] | None = None
    ) -> None:
        self._text, self._whole, self._found = text, whole, found or {}
        self.model_type = str(text.get("model_type") or whole.get("model_type") or "")
        self.layers = self.number("num_hidden_layers", "n_layer", "n_layers", "num_layers")
        self.hidden = self.number("hidden_size", "n_embd", "d_model", "dim")
        self.heads = self.number("num_attention_heads", "n_head", "n_heads")
        self.head_dim = self.number("head_dim", "kv_channels") or (self.hidden // self.heads if self.heads else 0)
        self.kv_heads = self._kv_heads()
        self.vocab = self.number("padded_vocab_size", "vocab_size")
        self.intermediate = self._intermediate()
        self.gated = self.model_type not in _PLAIN_FEED_FORWARD
        self.encoder = self.model_type in _ENCODERS
        self.experts = self.number("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
        self.experts_per_token = self.number("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k")
        self.expert_intermediate = (self.number("moe_intermediate_size") or self.intermediate) if self.experts else 0
        self.sparse_layers = self._sparse_layers() if self.experts else 0

    def number(self, *names: str) -> int:
        """Return the first number there is under these names, else what the weight files tell, else 0."""
        for name in names:
            value = self._text.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
                return int(value)
        return next((self._found[name] for name in names if name in self._found), 0)

    def _kv_heads(self) -> int:
        if self._text.get("multi_query") and not self._text.get("new_decoder_architecture"):
            return 1
        return self.number("num_key_value_heads", "multi_query_group_num", "num_kv_heads", "n_head_kv") or self.heads

    def _intermediate(self) -> int:
        found = self.number("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "d_ff", "hidden_dim")
        found = found or 4 * self.hidden
        return found // 2 if self.model_type == "qwen" else found  # the first Qwen counts gate and up together

    def _sparse_layers(self) -> int:
        dense = self._text.get("mlp_only_layers")
        every = max(1, self.number("decoder_sparse_step"))
        without = len(cast(list[object], dense)) if isinstance(dense, list) else self.number("first_k_dense_replace")
        return max(0, (self.layers - without) // every)

    def parameters(self) -> int:
        """Return the parameters of the text part, as its layers add up."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        wide = (3 if self.gated else 2) * self.hidden * self.intermediate
        shared = self.number("shared_expert_intermediate_size")
        shared = shared or self.number("n_shared_experts") * self.expert_intermediate
        sparse = self._expert() * self.experts + 3 * self.hidden * shared + self.hidden * self.experts
        layers = self.layers * attention + (self.layers - self.sparse_layers) * wide + self.sparse_layers * sparse
        tables = 1 if self.tied() or self.encoder else 2
        return layers + tables * self.vocab * self.hidden + (2 * self.layers + 1) * self.hidden

    def _expert(self) -> int:
        return 3 * self.hidden * self.expert_intermediate

    def idle_parameters(self) -> int:
        """Return the parameters of the experts that a token is not sent to."""
        return self.sparse_layers * self._expert() * max(0, self.experts - self.experts_per_token)

    def tied(self) -> bool:
        """Return whether the head is the embedding, as far as the config tells."""
        told = self._text.get("tie_word_embeddings", self._whole.get("tie_word_embeddings"))
        return bool(told) if told is not None else self.model_type in _TIED_BY_DEFAULT

    def dtype(self) -> str:
        """Return the type of the stored numbers as the config names it."""
        return str(self._whole.get("dtype") or self._whole.get("torch_dtype") or self._text.get("dtype") or "bfloat16")

    def vision_parameters(self) -> int:
        """Return the parameters of an image part as its layers add up."""
        vision = self._whole.get("vision_config")
        if not isinstance(vision, Mapping):
            return 0
        part = _Reader(cast(Mapping[str, object], vision), {})
        layers = part.layers or part.number("depth")
        return layers * (4 * part.hidden**2 + 2 * part.hidden * part.intermediate)


def _quantization(config: Mapping[str, object]) -> str:
    found = config.get("quantization_config")
    if not isinstance(found, Mapping):
        return ""
    told = cast(Mapping[str, object], found)
    if told.get("load_in_8bit"):
        return "int8"
    method = str(told.get("quant_method") or "bitsandbytes")
    return "nf4" if method.startswith("bitsandbytes") else method


def _count(tensors: Tensors | None) -> int:
    return sum(math.prod(sizes) for _, sizes in tensors.values()) if tensors else 0


def _count_vision(tensors: Tensors | None) -> int:
    chosen = {name: tensor for name, tensor in (tensors or {}).items() if any(part in name for part in VISION_NAMES)}
    return _count(chosen)


def _bytes(tensors: Tensors | None) -> int:
    return sum(_DTYPE_BYTES.get(kind, 1) * math.prod(sizes) for kind, sizes in (tensors or {}).values())


def _tied(size: _Reader, tensors: Tensors | None) -> bool:
    if tensors and not size.encoder:
        heads = ("lm_head.weight", "output.weight", "embed_out.weight", "output_layer.weight")
        return not any(name.endswith(heads) for name in tensors)
    return size.tied()


def _dtype(size: _Reader, tensors: Tensors | None) -> str:
    weights: dict[str, int] = {}
    for kind, sizes in (tensors or {}).values():
        weights[kind] = weights.get(kind, 0) + math.prod(sizes)
    largest = max(weights, key=lambda kind: weights[kind], default="")
    told = _DTYPE_NAMES.get(largest, size.dtype())
    return told if told in _DTYPE_NAMES.values() else "bfloat16"
