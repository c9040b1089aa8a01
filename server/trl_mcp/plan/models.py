"""What is known of a model before anything starts."""

import json
from pathlib import Path
from typing import Any, cast

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.recipes.references import ModelReference
from trl_mcp.values import ModelReport

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def inspect_model(model: ModelReference) -> ModelReport:
    """Return what a model's files say of it; a Hub id is taken at its word.

    Raises NotFound or InvalidArguments where a folder is no model that can be trained.
    """
    if not model.is_folder:
        name = f"{model.id}@{model.revision}" if model.revision else model.id
        return ModelReport(model.id, name)
    folder = Path(model.id)
    _check_folder(folder)
    return ModelReport(folder.name, fingerprint(folder), _has_chat_template(folder))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFound(
            f'There is no model folder "{folder.name}" at the path given.',
            allowed="model is the absolute path of a folder with config.json, weights and tokenizer, or a Hub id.",
            next_step="Nothing was started.",
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise InvalidArguments(
            f'"{folder.name}" holds an adapter, not a whole model.',
            next_step="Give the base model it was trained on. Nothing was started.",
        )
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        missing.append("weights (*.safetensors)")
    if missing:
        raise InvalidArguments(
            f'The model folder "{folder.name}" has no {" and no ".join(missing)}.',
            allowed="A model folder has config.json, weights and tokenizer, as save_pretrained writes them.",
            next_step="Nothing was started.",
        )
    _read_json(folder / "config.json")


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    return bool(_read_json(folder / "tokenizer_config.json").get("chat_template"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(path, f"is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise _unreadable(path, "is no JSON object")
    return cast(dict[str, Any], content)


def _unreadable(path: Path, why: str) -> InvalidArguments:
    return InvalidArguments(
        f'{path.name} in the model folder "{path.parent.name}" {why}.',
        next_step="Mend it, or give another model. Nothing was started.",
    )
