"""What a model folder tells of its weights: config.json, and the headers of its safetensors files."""

import json
from pathlib import Path
from typing import Any, cast

from trl_mcp.errors import UnreadableData
from trl_mcp.hub.tensors import LENGTH_BYTES, Tensors, count_by_type, header_length, parse_header
from trl_mcp.hub.values import ModelWeights

_CHOICES = ("model.safetensors", "model-*-of-*.safetensors", "*.safetensors")


def read_model_folder(folder: Path) -> ModelWeights:
    """Return the config of a model and what its weight files hold. Raises UnreadableData naming the broken file."""
    config = read_object(folder / "config.json")
    choices = (sorted(folder.glob(choice)) for choice in _CHOICES)
    files = next((found for found in choices if found), list[Path]())
    tensors = {name: tensor for file in files for name, tensor in _tensors(file).items()}
    weights = files or sorted(folder.glob("pytorch_model*.bin"))
    return ModelWeights(config, tensors or None, count_by_type(tensors), sum(file.stat().st_size for file in weights))


def base_of_adapter(folder: Path) -> str | None:
    """Return the model that an adapter folder was trained on, as it names it; None where it is no adapter."""
    path = folder / "adapter_config.json"
    return str(read_object(path).get("base_model_name_or_path") or "") if path.is_file() else None


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON file that holds an object. Raises UnreadableData."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise _broken(path, "cannot be read as a JSON object")
    return cast(dict[str, Any], content)


def _tensors(path: Path) -> Tensors:
    try:
        with path.open("rb") as file:
            found = parse_header(file.read(header_length(file.read(LENGTH_BYTES))))
    except (OSError, ValueError):
        raise _broken(path, "is no safetensors file, or only the beginning of one") from None
    if not found:
        raise _broken(path, "holds no tensors")
    return found


def _broken(path: Path, why: str) -> UnreadableData:
    return UnreadableData(
        f'{path.name} in the model folder "{path.parent.name}" {why}.',
        next_step="Write it anew with save_pretrained, or give another model. Nothing was started.",
    )
