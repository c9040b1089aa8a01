"""What a model folder tells of its weights: config.json, and the headers of its safetensors files.

The format: https://huggingface.co/docs/safetensors/index#format.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, cast

from trl_mcp.errors import UnreadableData
from trl_mcp.values import ModelWeights

_LENGTH = 8
_LONGEST = 100_000_000
_CHOICES = ("model.safetensors", "model-*-of-*.safetensors", "*.safetensors")


def read_model_folder(folder: Path) -> ModelWeights:
    """Return the config of a model and what its weight files hold. Raises UnreadableData naming the broken file."""
    config = _object(folder / "config.json")
    choices = (sorted(folder.glob(choice)) for choice in _CHOICES)
    files = next((found for found in choices if found), list[Path]())
    tensors = {name: tensor for file in files for name, tensor in _tensors(file).items()}
    counts = Counter[str]()
    for dtype, shape in tensors.values():
        counts[dtype] += math.prod(shape)
    weights = files or sorted(folder.glob("pytorch_model*.bin"))
    return ModelWeights(config, tensors or None, dict(counts), sum(file.stat().st_size for file in weights))


def base_of_adapter(folder: Path) -> str | None:
    """Return the model that an adapter folder was trained on, as it names it; None where it is no adapter."""
    path = folder / "adapter_config.json"
    return str(_object(path).get("base_model_name_or_path") or "") if path.is_file() else None


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise _broken(path, "cannot be read as a JSON object")
    return cast(dict[str, Any], content)


def _tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            header: Any = json.loads(file.read(length)) if 0 < length <= _LONGEST else None
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            str(name): (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise _broken(path, "is no safetensors file") from None
    if not found:
        raise _broken(path, "holds no tensors")
    return found


def _broken(path: Path, why: str) -> UnreadableData:
    return UnreadableData(f'{path.name} in the model folder "{path.parent.name}" {why}.')
