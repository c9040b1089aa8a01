"""What is known of a model before anything starts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.recipes.references import ModelReference
from trl_mcp.values import ModelReport, ToolName

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# By their model_type in transformers; a repository's listing does not tell `is_encoder_decoder`.
_SEQUENCE_TO_SEQUENCE = frozenset(
    {
        "t5",
        "mt5",
        "umt5",
        "longt5",
        "bart",
        "mbart",
        "pegasus",
        "marian",
        "blenderbot",
        "led",
        "m2m_100",
        "switch_transformers",
    }
)


def inspect_model(model: ModelReference) -> ModelReport:
    """Return what a model's files say of it; a Hub id is taken at its word.

    Raises NotFound or InvalidArguments where a folder is no model that can be trained.
    """
    if not model.is_folder:
        name = f"{model.id}@{model.revision}" if model.revision else model.id
        return ModelReport(model.id, name)
    folder = Path(model.id)
    _check_folder(folder)
    return ModelReport(folder.name, fingerprint(folder), _has_chat_template(processing_folder(folder)))


def inspect_config(name: str, path: Path) -> None:
    """Raise InvalidArguments where a model's config.json says that it cannot be trained."""
    check_architecture(name, _read_json(path))


def processing_folder(folder: Path) -> Path:
    """Return where the tokenizer lies: the folder itself, or that of an adapter's base where it has none."""
    adapter = folder / "adapter_config.json"
    if (folder / "tokenizer_config.json").is_file() or not adapter.is_file():
        return folder
    base = Path(str(_read_json(adapter).get("base_model_name_or_path")))
    return base if base.is_absolute() else folder


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFound(
            f'There is no model folder "{folder.name}" at the path given.',
            allowed="model is the absolute path of a folder with config.json, weights and tokenizer, or a Hub id.",
            next_step="Nothing was started.",
        )
    if (folder / "adapter_config.json").is_file():
        _check_adapter(folder)
        return
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        missing.append("weights (*.safetensors)")
    if missing:
        raise InvalidArguments(
            f'The model folder "{folder.name}" has no {" and no ".join(missing)}.',
            allowed="A model folder has config.json, weights and tokenizer, as save_pretrained writes them.",
            next_step="Nothing was started.",
        )
    check_architecture(folder.name, _read_json(folder / "config.json"))


def _check_adapter(folder: Path) -> None:
    if not any(next(folder.glob(pattern), None) for pattern in _ADAPTER_WEIGHTS):
        raise InvalidArguments(
            f'The adapter folder "{folder.name}" has no weights (adapter_model.safetensors).',
            next_step="Give the folder that its training has written. Nothing was started.",
        )
    base = str(_read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
    if not base or (Path(base).is_absolute() and not Path(base).is_dir()):
        raise InvalidArguments(
            f'The base model of the adapter "{folder.name}", "{Path(base).name}", is not where it was.',
            next_step="Put it back, or give a whole model. Nothing was started.",
        )
    if Path(base).is_absolute():
        _check_folder(Path(base))


def check_architecture(name: str, config: Mapping[str, object]) -> None:
    """Raise InvalidArguments for a model that encodes one sequence and writes another: TRL has no trainer for it."""
    kind = config.get("model_type")
    if config.get("is_encoder_decoder") or kind in _SEQUENCE_TO_SEQUENCE:
        raise InvalidArguments(
            f"{name} ({kind}) is a sequence-to-sequence model, for which TRL has no trainer.",
            allowed="Decoder-only models such as Qwen/Qwen3-0.6B; encoders such as BERT with method reward.",
            next_step=f"{_seq2seq_call()} trains it; or give another model. Nothing was started.",
        )


def _seq2seq_call() -> str:
    arguments = '["--model", ..., "--dataset", ...]'
    return (
        f'{ToolName.SUBMIT_SCRIPT}(script="templates/seq2seq.py", script_args={arguments}, hardware=..., timeout=...)'
    )


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    tokenizer = folder / "tokenizer_config.json"
    return tokenizer.is_file() and bool(_read_json(tokenizer).get("chat_template"))


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
