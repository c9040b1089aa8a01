"""Models and machines to estimate for: published shapes, and the price list of the Hub's emulator."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from trl_mcp.estimate.duration import Job
from trl_mcp.estimate.shape import shape_of
from trl_mcp.values import Flavor, ModelShape

ARCHITECTURES = Path(__file__).parents[2] / "docs" / "calibration" / "architectures.json"


@cache
def architectures() -> dict[str, Any]:
    return json.loads(ARCHITECTURES.read_text(encoding="utf-8"))


def config_of(name: str) -> dict[str, object]:
    known = architectures()[name]
    experts: dict[str, object] = {
        "num_experts": known.get("experts", 0),
        "num_experts_per_tok": known.get("active_experts", 0),
        "moe_intermediate_size": known.get("expert_ff", 0),
    }
    return experts | {
        "model_type": "qwen3" if name.startswith("qwen3") else "llama",
        "hidden_size": known["h"],
        "num_hidden_layers": known["L"],
        "num_attention_heads": known["heads"],
        "num_key_value_heads": known["kv"],
        "head_dim": known["hd"],
        "intermediate_size": known["ff"],
        "vocab_size": known["V"],
        "tie_word_embeddings": known["tied"],
        "max_position_embeddings": 40_960,
    }


def shape(name: str) -> ModelShape:
    return shape_of(config_of(name))


def machine(name: str, accelerator: str, gpus: int = 1, vram_gb: float = 24, **fields: Any) -> Flavor:
    usual: dict[str, Any] = {
        "vcpu": 12,
        "ram_gb": 142.0 * max(1, gpus),
        "disk_gb": 1000.0 * max(1, gpus),
        "micro_usd_per_minute": 41_667,
    }
    return Flavor(
        name=name, pretty_name=name, accelerator=accelerator, gpu_count=gpus, vram_gb=vram_gb * gpus, **(usual | fields)
    )


T4 = machine("t4-small", "T4", vram_gb=16, ram_gb=15.0, disk_gb=50.0, micro_usd_per_minute=6_667)
A10G = machine("a10g-large", "A10G", vram_gb=24, ram_gb=46.0, disk_gb=200.0, micro_usd_per_minute=25_000)
L40S = machine("l40sx1", "L40S", vram_gb=48, ram_gb=62.0, disk_gb=380.0, micro_usd_per_minute=30_000)
A100 = machine("a100-large", "A100", vram_gb=80)
A100X4 = machine("a100x4", "A100", gpus=4, vram_gb=80, micro_usd_per_minute=166_667)
H200 = machine("h200", "H200", vram_gb=141, ram_gb=256.0, disk_gb=3000.0, micro_usd_per_minute=83_333)
H200X8 = machine("h200x8", "H200", gpus=8, vram_gb=141, micro_usd_per_minute=666_667)
CPU = machine("cpu-upgrade", "", gpus=0, vram_gb=0, ram_gb=32.0, disk_gb=50.0, micro_usd_per_minute=500)
MACHINES = (T4, A10G, L40S, A100, A100X4, H200, H200X8)


def job(method: str = "sft", **fields: Any) -> Job:
    usual: dict[str, Any] = {"rows": 5000, "tokens_per_row": 500.0, "longest": 1024}
    return Job(method, **(usual | fields))
