"""Published models as they lie on the Hub, without their numbers: config.json, and headers of all weight files."""

import json
import struct

from tests.estimate.shapes import architectures, config_of

_SHARD_BYTES = 5e9
_HALF = 2


def stored_files(name: str) -> dict[str, bytes]:
    """Return the files of a model of docs/calibration/architectures.json; weight files end behind their headers."""
    shards = _shards(_tensors(name))
    files = {
        f"model-{number:05d}-of-{len(shards):05d}.safetensors": _header(shard)
        for number, shard in enumerate(shards, start=1)
    }
    tokenizer = {"tokenizer_config.json": b"{}", "chat_template.jinja": b"{{ messages }}"}
    return {"config.json": json.dumps(config_of(name)).encode(), **tokenizer, **files}


def _tensors(name: str) -> dict[str, list[int]]:
    known = architectures()[name]
    hidden, wide, vocab = known["h"], known["ff"], known["V"]
    query, key = known["heads"] * known["hd"], known["kv"] * known["hd"]
    layer = {
        "self_attn.q_proj": [query, hidden],
        "self_attn.k_proj": [key, hidden],
        "self_attn.v_proj": [key, hidden],
        "self_attn.o_proj": [hidden, query],
        "mlp.gate_proj": [wide, hidden],
        "mlp.up_proj": [wide, hidden],
        "mlp.down_proj": [hidden, wide],
        "input_layernorm": [hidden],
        "post_attention_layernorm": [hidden],
    }
    found = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden]}
    for number in range(known["L"]):
        found |= {f"model.layers.{number}.{part}.weight": size for part, size in layer.items()}
    return found if known["tied"] else found | {"lm_head.weight": [vocab, hidden]}


def _shards(tensors: dict[str, list[int]]) -> list[dict[str, list[int]]]:
    shards: list[dict[str, list[int]]] = [{}]
    filled = 0.0
    for name, size in tensors.items():
        bytes_ = _HALF * size[0] * (size[1] if len(size) > 1 else 1)
        if filled and filled + bytes_ > _SHARD_BYTES:
            shards.append({})
            filled = 0.0
        shards[-1][name] = size
        filled += bytes_
    return shards


def _header(tensors: dict[str, list[int]]) -> bytes:
    entries = {name: {"dtype": "BF16", "shape": size, "data_offsets": [0, 0]} for name, size in tensors.items()}
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw
