"""Count what TRL's trainers hold in tensors and write it as measurements: `python -m tests.benchmarks.counted [ID ...]`.

TRAINING_PYTHON names the interpreter of an environment with torch, trl and peft; no GPU is needed. Each case
takes a few steps of training (counted_probe.py). Rows go to docs/calibration/counted.json; the shapes of the models
stand in architectures.json. Ids name cases to count again, a part of them is enough; the others stay as they are.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measurements import CALIBRATION_DATA
from trl_mcp.estimate.setup import EAGER_BY_DEFAULT

TARGET = CALIBRATION_DATA / "counted.json"
PROBE = Path(__file__).with_name("counted_probe.py")
RANK = 16
#: Shapes of docs/calibration/architectures.json, and the code of transformers that has them.
MODELS: dict[str, str] = {
    "qwen3-0.6b": "qwen3",
    "llama-3.2-1b": "llama",
    "tinyllama": "llama",
    "smollm2-1.7b": "llama",
    "pythia-1.4b": "gpt_neox",
    "gpt2-large": "gpt2",
    "phi-2": "phi",
    "qwen2.5-1.5b": "qwen2",
    "phi-3-mini": "phi3",
    "mistral-7b": "mistral",
    "mixtral-8x7b": "mixtral",
    "gemma2-2b": "gemma2",
    "gemma3-1b": "gemma3_text",
    "gpt-oss-20b": "gpt_oss",
    "smollm3-3b": "smollm3",
    "olmo2-1b": "olmo2",
    "starcoder2-3b": "starcoder2",
    "qwen3-30b-a3b": "qwen3_moe",
    "llama-3-8b": "llama",
    "qwen3-4b": "qwen3",
}
LAYERS = 10
_ANSWER = 64
GENERATING = ("grpo", "rloo", "distillation", "online_dpo", "gkd")
PAIRED = ("dpo", "kto", "reward", "orpo", "cpo")


@dataclass(frozen=True, slots=True)
class Case:
    """One training to count."""

    method: str
    tuning: str
    model: str
    length: int
    batch: int
    checkpointing: bool = True
    dtype: str = "bfloat16"
    accumulation: int = 1
    attention: str = "sdpa"
    optimizer: str = "adamw_torch_fused"

    @property
    def id(self) -> str:
        """What is asked for, in one word."""
        more = [f"a{self.accumulation}"] if self.accumulation > 1 else []
        more += [self.attention] if self.attention != "sdpa" else []
        more += [self.optimizer] if self.optimizer != "adamw_torch_fused" else []
        kept = "again" if self.checkpointing else "kept"
        size = f"{self.length}x{self.batch}"
        return "-".join([self.method, self.tuning, self.model, size, kept, self.dtype, *more])


def cases() -> Iterator[Case]:
    """Yield every case: lengths and batches of one method, models, types, and the other methods."""
    for tuning in ("lora", "full"):
        for length, batch in ((256, 4), (1024, 4), (512, 16), (4096, 1), (8192, 2)):
            yield Case("sft", tuning, "qwen3-0.6b", length, batch)
        for checkpointing in (True, False):
            for model, kind in MODELS.items():
                attention = "eager" if kind in EAGER_BY_DEFAULT else "sdpa"
                yield Case("sft", tuning, model, 1024, 2, checkpointing, attention=attention)
            yield Case("sft", tuning, "llama-3.2-1b", 512, 4, checkpointing, dtype="float32")
            yield Case("sft", tuning, "tinyllama", 512, 4, checkpointing, dtype="float32")
            yield Case("sft", tuning, "tinyllama", 1024, 4, checkpointing, accumulation=2)
            yield Case("sft", tuning, "tinyllama", 1024, 2, checkpointing, attention="eager")
        for method in PAIRED:
            yield Case(method, tuning, "qwen3-0.6b", 1024, 2)
            yield Case(method, tuning, "llama-3.2-1b", 512, 8)
            yield Case(method, tuning, "tinyllama", 512, 4, checkpointing=False)
        for method in GENERATING:
            yield Case(method, tuning, "qwen3-0.6b", 512, 4)
            yield Case(method, tuning, "llama-3.2-1b", 512, 8)
            yield Case(method, tuning, "tinyllama", 512, 4, checkpointing=False)
    yield from _oddities()


def _oddities() -> Iterator[Case]:
    for optimizer in ("adafactor", "sgd"):
        yield Case("sft", "full", "tinyllama", 512, 4, optimizer=optimizer)
    for method in ("dpo", "kto", "reward", "grpo"):
        yield Case(method, "full", "llama-3.2-1b", 512, 4, dtype="float32")
    yield Case("grpo", "full", "tinyllama", 512, 4, accumulation=2)
    yield Case("dpo", "lora", "llama-3-8b", 1024, 2)
    yield Case("grpo", "lora", "qwen3-4b", 512, 8)


def config_of(model: str) -> dict[str, Any]:
    """Return a model's config as transformers reads it: a model as wide as published and less deep."""
    known = json.loads((CALIBRATION_DATA / "architectures.json").read_text(encoding="utf-8"))[model]
    experts = {
        "num_experts": known.get("experts"),
        "num_local_experts": known.get("experts"),
        "num_experts_per_tok": known.get("active_experts"),
        "moe_intermediate_size": known.get("expert_ff"),
    }
    return {
        "model_type": MODELS[model],
        "hidden_size": known["h"],
        "num_hidden_layers": LAYERS,
        "num_attention_heads": known["heads"],
        "num_key_value_heads": known["kv"],
        "head_dim": known["hd"],
        "intermediate_size": known["ff"],
        "vocab_size": known["V"],
        "tie_word_embeddings": known["tied"],
        "max_position_embeddings": known.get("context", 32_768),
        # With dropout the kernel for CPUs writes all scores, those for CUDA none.
        "attn_pdrop": 0.0,
        **(experts if known.get("experts") else {}),
    }


def as_asked(case: Case) -> dict[str, Any]:
    """Return a case as the probe reads it. Answers that are written are short: they are made one token at a time."""
    fields = {name: getattr(case, name) for name in case.__slots__}
    prompt = {"prompt": case.length - _ANSWER} if case.method in GENERATING else {}
    architecture = {"name": case.model, "config": config_of(case.model)}
    return {
        **fields,
        **prompt,
        "id": case.id,
        "lora_r": RANK,
        "dropout": 0.0 if "num_experts" in architecture["config"] else 0.05,
        "architecture": architecture,
    }


def as_row(case: Case, counted: dict[str, Any]) -> dict[str, Any]:
    """Return a measurement in the format of docs/calibration/README.md."""
    return {
        "id": case.id,
        "source": "tensors counted in TRL's trainers",
        "url_or_repo_path": "tests/benchmarks/counted.py",
        "framework": "trl",
        "method": case.method,
        "arch": case.model,
        "layers": LAYERS,
        "peft": case.tuning,
        "lora_r": RANK if case.tuning == "lora" else None,
        "lora_targets": "all-linear" if case.tuning == "lora" else None,
        "seq_len": case.length,
        "batch_size_per_device": case.batch,
        "grad_accum": case.accumulation,
        "weights_dtype": {"bfloat16": "bf16", "float32": "fp32"}[case.dtype],
        "precision": "amp_bf16",
        "optimizer": case.optimizer,
        "grad_checkpointing": case.checkpointing,
        "attn": case.attention,
        "kernels": "none",
        "gpu": None,
        "n_gpus": 1,
        "answer_len": _ANSWER if case.method in GENERATING else None,
        "judges": 0 if case.method == "online_dpo" else None,
        "answers": case.batch * case.accumulation if case.method in GENERATING else None,
        "peak_mem_gb": round(counted["peak"] / 1e9, 6),
        "mem_kind": "allocated",
        "eval_mem": True,
        "eval_time": False,
        "counted": {name: counted[name] for name in ("parameters", "trained", "weights", "gradients", "optimizer")},
    }


def count(asked: list[dict[str, Any]], python: str) -> Iterator[dict[str, Any]]:
    """Run the probe over cases, in an environment that trains; yield what was counted of each."""
    environ = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cases.json"
        file.write_text(json.dumps(asked), encoding="utf-8")
        command = [python, str(PROBE), str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("COUNTED "):
                    yield json.loads(line.removeprefix("COUNTED "))
        if process.returncode:
            raise SystemExit(f"the probe ended with {process.returncode}; see its output above")


def main() -> None:
    """Count and write."""
    chosen = [case for case in cases() if not sys.argv[1:] or any(part in case.id for part in sys.argv[1:])]
    rows: dict[str, Any] = {}
    if TARGET.exists():
        rows = {row["id"]: row for row in json.loads(TARGET.read_text(encoding="utf-8"))}
    by_id = {case.id: case for case in chosen}
    for found in count([as_asked(case) for case in chosen], os.environ["TRAINING_PYTHON"]):
        rows[found["id"]] = as_row(by_id[found["id"]], found)
        print(found["id"], rows[found["id"]]["peak_mem_gb"], flush=True)
        lines = ",\n".join(json.dumps(rows[one.id]) for one in cases() if one.id in rows)
        TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
