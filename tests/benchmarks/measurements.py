"""Published measurements of training runs, read into what the estimates take. The format: docs/calibration/README.md."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from trl_mcp.estimate.cards import Card, card_named, usable
from trl_mcp.estimate.duration import padded_length
from trl_mcp.estimate.memory import Memory, peak, verdict
from trl_mcp.estimate.setup import ALL_LINEAR, METHODS, Lora, Setup
from trl_mcp.estimate.shape import guessed_shape
from trl_mcp.estimate.speed import step
from trl_mcp.values import ModelShape

CALIBRATION_DATA = Path(__file__).parents[2] / "docs" / "calibration"
#: Sources measured with Transformers before 4.40.
_EARLY = ("Qwen README", "ms-swift", "fsdp_qlora", "LLaMA-Factory")
#: Sources that train on rows as long as they are and let the allocator keep every size of block.
_VARIED = ("ms-swift",)
_TARGETS = {
    "qkvo": {"q_proj", "k_proj", "v_proj", "o_proj"},
    "qkv": {"q_proj", "k_proj", "v_proj"},
    "qv": {"q_proj", "v_proj"},
    "query,value": {"q_proj", "v_proj"},
    "attn+mlp": set(ALL_LINEAR),
    "query,key,value,projection,mlp,head": set(ALL_LINEAR),
}
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_SHORT_ROWS = 512


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
        return self.raw.get("peak_mem_gb") if self.raw.get("eval_mem") and self.shape else None

    @property
    def scored_speed(self) -> float | None:
        """The measured tokens a second and GPU, likewise."""
        return self.raw.get("tokens_per_s") if self.raw.get("eval_time") and self.shape and self.card else None

    @property
    def outcome(self) -> str:
        """Whether it ran, ran out of memory, or is not known: ran, oom or empty."""
        if "OOM" in str(self.raw.get("notes") or "")[:4]:
            return "oom"
        measured = ("peak_mem_gb", "tokens_per_s", "samples_per_s", "step_time_s", "total_time_h")
        fits = "fit test" in str(self.raw.get("notes") or "")
        return "ran" if fits or any(self.raw.get(name) for name in measured) else ""

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
        setup, mean = self.setup, self.raw.get("avg_tokens")
        real = float(setup.length)
        if mean and not self.raw.get("packing"):
            real = float(mean)
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
    shape = _shape(raw, _architectures())
    gpu = str(raw.get("gpu") or "")
    card = card_named(gpu)
    size = re.match(r"(\d+)\s*GB", gpu)
    room = card.usable_gb if card else usable(float(size.group(1))) if size else float("inf")
    kind = str(raw.get("mem_kind") or "").rstrip("?")
    return Row(
        id=raw.get("id"),
        source=str(raw.get("source") or ""),
        family=family(str(raw.get("arch") or raw.get("model") or "")),
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


def _shape(raw: Mapping[str, Any], architectures: Mapping[str, Any]) -> ModelShape | None:
    known = architectures.get(str(raw.get("arch")))
    if known is None:
        billions = raw.get("params_b")
        return guessed_shape(round(float(billions) * 1e9)) if billions and raw.get("seq_len") else None
    return ModelShape(
        parameters=known["parameters"],
        layers=known["L"],
        hidden=known["h"],
        heads=known["heads"],
        kv_heads=known["kv"],
        head_dim=known["hd"],
        intermediate=known["ff"],
        vocab=known["V"],
        gated=known["gated"],
        tied=known["tied"],
    )


def _setup(raw: Mapping[str, Any], shape: ModelShape | None) -> Setup:
    notes, early = str(raw.get("notes") or ""), str(raw.get("source") or "").startswith(_EARLY)
    stored = str(raw.get("weights_dtype") or "bf16")
    quantization = {"nf4": "nf4", "nf4-dq": "nf4-dq", "gptq-int4": "gptq"}.get(stored, "")
    tuning = str(raw.get("peft") or "full")
    fused = raw.get("framework") in {"optimized", "torchtune"}
    stack = "compiled" if fused else "litgpt" if raw.get("framework") == "litgpt" else "hf-2023" if early else "trl"
    optimizer, attention = str(raw.get("optimizer") or "adamw"), str(raw.get("attn") or "sdpa")
    if optimizer == "adamw":
        optimizer = "adamw_torch" if stack == "hf-2023" else "adamw_torch_fused"
    method = METHODS.get(str(raw.get("method")), METHODS["sft"]) if _is_trl(raw) else METHODS["sft"]
    copies = method.judges + (method.references if tuning == "full" else 0)
    return Setup(
        tuning=tuning,
        length=int(raw.get("seq_len") or _SHORT_ROWS),
        batch=int(raw.get("batch_size_per_device") or 1) * method.sequences,
        accumulation=int(raw.get("grad_accum") or 1),
        dtype=_DTYPES.get(stored, "float16" if quantization and raw.get("precision") == "fp16" else "bfloat16"),
        quantization=quantization,
        optimizer=optimizer,
        checkpointing=_checkpointing(raw, notes),
        attention="triton" if attention == "flash(triton)" else attention,
        loss=_loss(raw, stack),
        lora=_lora(raw, shape, stack) if tuning != "full" else None,
        gpus=int(raw.get("n_gpus") or 1),
        strategy=_strategy(raw, notes, tuning),
        stack=stack,
        compiled=bool(raw.get("compile")),
        wide="prepare_model_for_kbit" in notes and quantization.startswith("nf4"),
        varied=str(raw.get("source") or "").startswith(_VARIED),
        fp8=raw.get("precision") == "fp8",
        trained_copies=1 + method.values,
        frozen_gb=2 * copies * shape.parameters / 1e9 if shape else 0.0,
        offloaded="offload" in f"{raw.get('parallelism')} {notes}",
    )


def _checkpointing(raw: Mapping[str, Any], notes: str) -> float:
    if raw.get("grad_checkpointing"):
        return 1.0
    told = re.search(r"(?:checkpointing: |AC=)(sel|half)|selective AC", notes)
    return 0.0 if told is None else 0.5 if told.group(1) == "half" else 0.25


def _loss(raw: Mapping[str, Any], stack: str) -> str:
    if raw.get("kernels") not in {None, "none"}:
        return "chunked"
    if _is_trl(raw):
        return METHODS.get(str(raw.get("method")), METHODS["sft"]).loss
    if stack in {"compiled", "litgpt"}:
        return stack
    if stack != "hf-2023":
        return "plain"
    if not str(raw.get("arch")).startswith("qwen-"):
        return "early"
    return "half" if _deepspeed(raw) else "remote"


def _is_trl(raw: Mapping[str, Any]) -> bool:
    """Whether TRL's own trainers ran, which never hold all logits: told by the framework being named trl."""
    return str(raw.get("framework")).startswith("trl")


def _deepspeed(raw: Mapping[str, Any]) -> bool:
    notes = str(raw.get("notes") or "")
    return str(raw.get("parallelism")).startswith("zero") or (raw.get("peft") != "lora" and "ZeRO" in notes)


def _strategy(raw: Mapping[str, Any], notes: str, tuning: str) -> str:
    told = str(raw.get("parallelism") or "none")
    if zero := re.match(r"zero\D?([123])", told):
        return f"zero{zero.group(1)}"
    if told.startswith("fsdp"):
        return "fsdp1"
    if told.startswith("ddp"):
        return "multi_gpu"
    return "zero2" if tuning == "qlora" and "ZeRO" in notes else "single_gpu"


def _lora(raw: Mapping[str, Any], shape: ModelShape | None, stack: str) -> Lora:
    told = str(raw.get("lora_targets") or "qv").partition("(")[0]
    whole = 2 * shape.embedding if "+emb" in told and shape else shape.embedding if "+head" in told and shape else 0
    return Lora(
        rank=int(raw.get("lora_r") or 8),
        targets=_targets(told.partition("+")[0] if whole else told),
        whole=whole,
        number_bytes=2 if stack in {"compiled", "litgpt"} else 4,
    )


def _targets(told: str) -> frozenset[str]:
    named = ALL_LINEAR.intersection(re.split(r"[,\s]+", told))
    return named or frozenset(_TARGETS.get(told, ALL_LINEAR))
