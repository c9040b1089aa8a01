"""Published measurements of training runs, read into what the estimates take. The format: docs/calibration/README.md."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from tests.benchmarks.fields import count, flag, number, text, told
from trl_mcp.estimate.cards import Card, card_named, usable
from trl_mcp.estimate.duration import padded_length
from trl_mcp.estimate.memory import Memory, peak, verdict
from trl_mcp.estimate.setup import ALL_LINEAR, BYTES, METHODS, Lora, Setup
from trl_mcp.estimate.shape import guessed_shape
from trl_mcp.estimate.speed import step
from trl_mcp.values import ModelShape

CALIBRATION_DATA = Path(__file__).parents[2] / "docs" / "calibration"
#: What was measured with Transformers before 4.40, told by where it was published.
_EARLY = re.compile(r"qwenlm/qwen@|qwen readme|ms-swift|modelscope/(ms-)?swift|fsdp_qlora|llama-?factory")
#: Where rows are trained on as long as they are and the allocator keeps every size of block.
_VARIED = re.compile(r"ms-swift|modelscope/(ms-)?swift")
#: Training code that fuses what Transformers does one by one.
_FUSED = re.compile(r"optimi[sz]ed|torchtune|torchtitan|torchao|nemo|megatron|llm-foundry|composer|fms-fsdp|nanotron")
_TARGETS = {
    "qkvo": {"q_proj", "k_proj", "v_proj", "o_proj"},
    "qkv": {"q_proj", "k_proj", "v_proj"},
    "qv": {"q_proj", "v_proj"},
    "query,value": {"q_proj", "v_proj"},
    "attn+mlp": set(ALL_LINEAR),
    "query,key,value,projection,mlp,head": set(ALL_LINEAR),
}
_DTYPES = {"fp32": "float32", "float32": "float32", "fp16": "float16", "float16": "float16"}
_QUANTIZED = {"nf4-dq": "nf4-dq", "nf4": "nf4", "4bit": "nf4", "int4": "gptq", "gptq": "gptq", "int8": "int8"}
_TUNINGS = ("qlora", "lora", "full")
_SHORT_ROWS = 512
_MODEL_TYPES = {
    "falcon": "falcon",
    "gemma3": "gemma3_text",
    "gpt-oss": "gpt_oss",
    "gpt2": "gpt2",
    "olmo2": "olmo2",
    "phi-2": "phi",
    "phi-3": "phi3",
    "pythia": "gpt_neox",
    "qwen3": "qwen3",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement and what can be told from it; `shape` and `card` are None where that is not known."""

    id: object
    source: str
    family: str
    raw: Mapping[str, Any]
    shape: ModelShape | None
    setup: Setup
    card: Card | None
    usable_gb: float
    kind: str

    @property
    def scored_memory(self) -> float | None:
        """The measured peak, where the row says enough to be held against."""
        return number(self.raw, "peak_mem_gb") if flag(self.raw, "eval_mem") and self.shape else None

    @property
    def scored_speed(self) -> float | None:
        """The measured tokens a second and GPU, likewise."""
        known = self.shape and self.card
        return number(self.raw, "tokens_per_s") if flag(self.raw, "eval_time") and known else None

    @property
    def outcome(self) -> str:
        """Whether it ran, ran out of memory, or is not known: ran, oom or empty."""
        notes = text(self.raw, "notes")
        if notes.startswith("oom"):
            return "oom"
        measured = ("peak_mem_gb", "tokens_per_s", "samples_per_s", "step_time_s", "total_time_h")
        return "ran" if "fit test" in notes or any(number(self.raw, name) for name in measured) else ""

    def memory(self, constants: Mapping[str, float] | None = None) -> Memory | None:
        """Return the predicted peak."""
        if self.shape is None:
            return None
        more = {} if constants is None else {"memory": constants}
        return peak(self.shape, self.setup, self.usable_gb, **more)

    def peak_gb(self, constants: Mapping[str, float] | None = None) -> float | None:
        """Return the predicted peak, of the kind the row measured."""
        found = self.memory(constants)
        return None if found is None else cast(float, getattr(found, self.kind))

    def tokens_per_s(self, constants: Mapping[str, float] | None = None) -> float | None:
        """Return the predicted tokens a second and GPU: real ones where the row tells their mean, else with padding."""
        if self.shape is None or self.card is None:
            return None
        setup, mean = self.setup, number(self.raw, "avg_tokens")
        real = float(setup.length)
        if mean and not flag(self.raw, "packing"):
            real = min(real, mean)
            setup = replace(setup, length=padded_length(real, setup.length, setup.batch))
        more = {} if constants is None else {"speed": constants}
        return setup.batch * real / step(self.shape, setup, self.card, **more).per_pass(setup.accumulation)

    def verdict(self) -> str | None:
        """Return whether it fits, is tight or does not fit; None without a model or a card."""
        found = self.memory()
        return None if found is None or self.usable_gb == float("inf") else verdict(found.process, self.usable_gb)


def read_rows(file: Path) -> list[Row]:
    """Read a file of measurements. Raises ValueError where it is not a list of objects."""
    raw: object = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(raw, list) or not all(isinstance(entry, dict) for entry in cast(list[object], raw)):
        raise ValueError(f"{file} holds no list of rows; see docs/calibration/README.md")
    return [read_row(entry) for entry in cast(list[dict[str, Any]], raw)]


@cache
def _architectures() -> dict[str, Any]:
    return json.loads((CALIBRATION_DATA / "architectures.json").read_text(encoding="utf-8"))


def read_row(raw: dict[str, Any]) -> Row:
    """Read one row."""
    shape = _shape(raw)
    gpu = text(raw, "gpu")
    card = card_named(gpu)
    size = re.search(r"(\d+)\s*gi?b", gpu)
    room = card.usable_gb if card else usable(float(size.group(1))) if size else float("inf")
    kind = text(raw, "mem_kind").rstrip("?")
    return Row(
        id=raw.get("id"),
        source=str(raw.get("source") or ""),
        family=family(text(raw, "arch") or text(raw, "model")),
        raw=raw,
        shape=shape,
        setup=_setup(raw, shape),
        card=card,
        usable_gb=room,
        kind=kind if kind in {"allocated", "reserved"} else "process",
    )


def family(architecture: str) -> str:
    """Return a model's family: its name without its size."""
    return re.sub(r"-\d+(\.\d+)?[bm].*$", "", architecture.lower()) or "unknown"


def _shape(raw: Mapping[str, Any]) -> ModelShape | None:
    name = _known_name(raw)
    if name is None:
        billions = number(raw, "params_b")
        known_size = billions and 1e-3 < billions < 1e5 and number(raw, "seq_len")
        return guessed_shape(round(billions * 1e9)) if billions and known_size else None
    known = _architectures()[name]
    layers = count(raw, "layers", known["L"])
    tables = known["V"] * known["h"] * (1 if known["tied"] else 2)
    return ModelShape(
        parameters=known["parameters"] - (known["parameters"] - tables) * (known["L"] - layers) // known["L"],
        layers=layers,
        hidden=known["h"],
        heads=known["heads"],
        kv_heads=known["kv"],
        head_dim=known["hd"],
        intermediate=known["ff"],
        vocab=known["V"],
        gated=known["gated"],
        tied=known["tied"],
        model_type=next((kind for start, kind in _MODEL_TYPES.items() if name.startswith(start)), ""),
        experts=known.get("experts", 0),
        experts_per_token=known.get("active_experts", 0),
        expert_intermediate=known.get("expert_ff", 0),
        sparse_layers=layers if known.get("experts") else 0,
    )


def _known_name(raw: Mapping[str, Any]) -> str | None:
    """Return the architecture a row names, or else the one its model is named like ("Qwen/Qwen3-4B-Base")."""
    if (asked := text(raw, "arch")) in _architectures():
        return asked
    model = re.sub(r"[^a-z0-9.]", "", text(raw, "model").partition("/")[2] or text(raw, "model"))
    alike = [name for name in _architectures() if model.startswith(name.replace("-", ""))]
    return max(alike, key=len, default=None)


def _setup(raw: Mapping[str, Any], shape: ModelShape | None) -> Setup:
    notes, stored = text(raw, "notes"), text(raw, "weights_dtype")
    quantization = next((kind for name, kind in _QUANTIZED.items() if name in stored), "")
    tuning = next((name for name in _TUNINGS if name in text(raw, "peft")), "full")
    stack, method = _stack(raw), METHODS.get(text(raw, "method"), METHODS["sft"]) if _is_trl(raw) else METHODS["sft"]
    dtype = _DTYPES.get(stored, "float16" if quantization and text(raw, "precision") == "fp16" else "bfloat16")
    judges = method.judges if number(raw, "judges") or raw.get("judges") is None else 0
    copies = judges + (method.references if tuning == "full" else 0)
    length = count(raw, "seq_len", _SHORT_ROWS)
    return Setup(
        tuning=tuning,
        length=length,
        batch=count(raw, "batch_size_per_device") * method.sequences,
        accumulation=count(raw, "grad_accum"),
        dtype=dtype,
        quantization=quantization,
        optimizer=_optimizer(raw, stack),
        checkpointing=_checkpointing(raw, notes),
        attention=_attention(raw),
        loss=_loss(raw, stack),
        lora=_lora(raw, shape, stack) if tuning != "full" else None,
        gpus=count(raw, "n_gpus"),
        strategy=_strategy(raw, notes, tuning),
        stack=stack,
        compiled=flag(raw, "compile"),
        wide="prepare_model_for_kbit" in notes and quantization.startswith("nf4"),
        varied=bool(_VARIED.search(told(raw, "source", "url_or_repo_path"))),
        fp8=text(raw, "precision") == "fp8",
        trained_copies=1 + method.values,
        answers=round(number(raw, "answers") or 0),
        dropout=method.dropout,
        scored=min(1.0, (number(raw, "answer_len") or length) / length),
        frozen_gb=BYTES[dtype] * copies * shape.parameters / 1e9 if shape else 0.0,
        offloaded="offload" in told(raw, "parallelism", "notes"),
    )


def _stack(raw: Mapping[str, Any]) -> str:
    """Return the code that trained, told by the framework, or else by where the row was published."""
    framework, where = text(raw, "framework"), told(raw, "source", "url_or_repo_path")
    if "litgpt" in framework or "lit-gpt" in framework:
        return "litgpt"
    if _FUSED.search(framework) or (not framework and _FUSED.search(where)):
        return "compiled"
    return "hf-2023" if _EARLY.search(where) and not _is_trl(raw) else "trl"


def _optimizer(raw: Mapping[str, Any], stack: str) -> str:
    named = text(raw, "optimizer") or "adamw"
    return named if named != "adamw" else "adamw_torch" if stack == "hf-2023" else "adamw_torch_fused"


def _attention(raw: Mapping[str, Any]) -> str:
    named = text(raw, "attn")
    kinds = {"triton": "triton", "flash": "flash", "eager": "eager"}
    return next((kind for name, kind in kinds.items() if name in named), "sdpa")


def _checkpointing(raw: Mapping[str, Any], notes: str) -> float:
    if flag(raw, "grad_checkpointing"):
        return 1.0
    told_so = re.search(r"(?:checkpointing: |ac=)(sel|half)|selective ac", notes)
    return 0.0 if told_so is None else 0.5 if told_so.group(1) == "half" else 0.25


def _loss(raw: Mapping[str, Any], stack: str) -> str:
    if text(raw, "kernels") not in {"", "none"}:
        return "chunked"
    if _is_trl(raw):
        return METHODS.get(text(raw, "method"), METHODS["sft"]).loss
    if stack in {"compiled", "litgpt"}:
        return stack
    if stack != "hf-2023":
        return "plain"
    if not text(raw, "arch").startswith("qwen-"):
        return "early"
    return "half" if _deepspeed(raw) else "remote"


def _is_trl(raw: Mapping[str, Any]) -> bool:
    """Whether TRL's own trainers ran, which never hold all logits: told by the framework being named trl."""
    return text(raw, "framework").startswith("trl")


def _deepspeed(raw: Mapping[str, Any]) -> bool:
    return text(raw, "parallelism").startswith("zero") or (text(raw, "peft") != "lora" and "zero" in text(raw, "notes"))


def _strategy(raw: Mapping[str, Any], notes: str, tuning: str) -> str:
    named = text(raw, "parallelism")
    if zero := re.search(r"zero\D?([123])", named):
        return f"zero{zero.group(1)}"
    if "fsdp" in named:
        return "fsdp1"
    if "ddp" in named:
        return "multi_gpu"
    return "zero2" if tuning == "qlora" and "zero" in notes else "single_gpu"


def _lora(raw: Mapping[str, Any], shape: ModelShape | None, stack: str) -> Lora:
    named = (text(raw, "lora_targets") or "qv").partition("(")[0]
    whole = 2 * shape.embedding if "+emb" in named and shape else shape.embedding if "+head" in named and shape else 0
    return Lora(
        rank=count(raw, "lora_r", 8),
        targets=_targets(named.partition("+")[0] if whole else named),
        whole=whole,
        number_bytes=2 if stack in {"compiled", "litgpt"} else 4,
    )


def _targets(named: str) -> frozenset[str]:
    found = ALL_LINEAR.intersection(re.split(r"[,\s]+", named))
    return found or frozenset(_TARGETS.get(named, ALL_LINEAR))
