"""What the headers of weight files tell of a model's shape, where its config.json leaves it to the class's defaults."""

import re
from collections.abc import Mapping

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]

VISION_NAMES = ("vision", "visual", "image_newline", "multi_modal_projector", "audio_tower")
_WHOLE_TYPES = frozenset({"F64", "F32", "F16", "BF16"})
_FIRST_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.0\.")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight$")
_USUAL_HEAD = 128


def sizes_of(tensors: Tensors, heads: int = 0) -> dict[str, int]:
    """Return what of layers, widths, heads and vocabulary the text part's tensors tell, under the names of a config.

    `heads` are those the config tells. How wide a head is follows from them, or a norm over it tells; else it is taken for 128.
    """
    text = {name: tensor for name, tensor in tensors.items() if not any(part in name for part in VISION_NAMES)}
    first = {name: sizes for name, (kind, sizes) in text.items() if kind in _WHOLE_TYPES and _FIRST_LAYER.search(name)}
    query, key = _rows(first, "q_proj.weight"), _rows(first, "k_proj.weight")
    head = query // heads if heads else _rows(first, "q_norm.weight") or min(_USUAL_HEAD, query)
    split = {"num_attention_heads": query // head, "num_key_value_heads": key // head, "head_dim": head} if head else {}
    found = {
        "num_hidden_layers": 1 + max((int(layer[1]) for name in text if (layer := _LAYER.search(name))), default=-1),
        "intermediate_size": _rows(first, "mlp.up_proj.weight"),
        **split,
        **_table(text),
    }
    return {name: size for name, size in found.items() if size}


def _rows(tensors: Mapping[str, tuple[int, ...]], ending: str) -> int:
    return next((sizes[0] for name, sizes in tensors.items() if name.endswith(ending) and sizes), 0)


def _table(tensors: Tensors) -> dict[str, int]:
    """Return vocabulary and width as the token embedding has them."""
    for name, (kind, sizes) in tensors.items():
        if kind in _WHOLE_TYPES and len(sizes) == 2 and _EMBEDDING.search(name):
            return {"vocab_size": sizes[0], "hidden_size": sizes[1]}
    return {}
