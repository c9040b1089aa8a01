"""What is known of a model that is to become GGUF files: its weights' config and size, an adapter's base."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from anyio import to_thread

from trl_mcp.data.fingerprint import fingerprint
from trl_mcp.data.model_folder import read_model_folder, read_object
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.hub.tensors import count_by_type
from trl_mcp.hub.values import ModelWeights
from trl_mcp.plan.place import Gathering
from trl_mcp.recipes.gguf import sixteen_bit_twin
from trl_mcp.recipes.references import ModelReference, model_reference

_EMBEDDINGS = "embed_tokens.weight"
_ADAPTER_CONFIG = "adapter_config.json"
# Up to this size the job computes in 32 bits.
_WIDE_PARAMETERS = 1_000_000_000
_SIXTEEN, _THIRTY_TWO = 2, 4


@dataclass(frozen=True, slots=True)
class Convertible:
    """A model to convert. `config` is that of its weights, of an adapter that of `base`; empty where it was not read.

    `tokens` is how many the tokenizer knows, `rows` how many embeddings there are; 0 where that was not looked at.
    """

    reference: ModelReference
    fingerprint: str
    base: ModelReference | None = None
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    parameters: int = 0
    bytes_each: int = _SIXTEEN
    tokens: int = 0
    rows: int = 0
    peft_type: str = ""


async def inspect_convertible(text: str, base: str | None, gathering: Gathering) -> Convertible:
    """Return what files and Hub say of a model without loading it.

    Raises NotFound, InvalidArguments, HubError for a model that cannot be used, HubUnreachable where the Hub does not
    answer or may not be asked.
    """
    reference = model_reference(text)
    base_reference = model_reference(base) if base else None
    if reference.is_folder:
        found = await to_thread.run_sync(_in_folder, reference, base_reference)
    else:
        found = await _on_hub(reference, base_reference, gathering)
    return found if found.base is None else await _with_base(found, found.base, gathering)


async def _with_base(found: Convertible, base: ModelReference, gathering: Gathering) -> Convertible:
    """Return an adapter with what is known of its base's weights."""
    twin = ModelReference(sixteen_bit_twin(base.id), base.revision, base.is_folder)
    base = base if twin.id == base.id else ModelReference(twin.id)
    if base.is_folder:
        weights = await to_thread.run_sync(_in_folder, base, None)
    else:
        weights = await _on_hub(base, None, gathering)
    if weights.base is not None:
        raise InvalidArguments(
            f'The base "{base.short_name}" is itself an adapter.',
            next_step="Name the whole model under it as base_model. Nothing was started.",
        )
    return Convertible(
        reference=found.reference,
        fingerprint=f"{found.fingerprint} on {weights.fingerprint}",
        base=weights.reference,
        config=weights.config,
        parameters=weights.parameters,
        bytes_each=weights.bytes_each,
        peft_type=found.peft_type,
    )


def _in_folder(reference: ModelReference, base: ModelReference | None) -> Convertible:
    folder = Path(reference.id)
    if not folder.is_dir():
        raise NotFound(
            f'There is no model folder "{folder.name}" at the path given.',
            allowed="model is the absolute path of a folder, a Hub id, or the id of a finished job.",
            next_step="Nothing was started.",
        )
    if (folder / _ADAPTER_CONFIG).is_file():
        config = read_object(folder / _ADAPTER_CONFIG)
        return Convertible(
            reference,
            fingerprint(folder),
            base=base or _named_base(reference, str(config.get("base_model_name_or_path") or ""), config),
            peft_type=str(config.get("peft_type") or ""),
        )
    if base is not None:
        raise _no_adapter(reference)
    if not (folder / "config.json").is_file():
        raise InvalidArguments(
            f'"{folder.name}" has neither a config.json nor an adapter_config.json: it is no model.',
            next_step="Give the folder that save_pretrained has written. Nothing was started.",
        )
    weights = read_model_folder(folder)
    if weights.tensors is None:
        raise InvalidArguments(
            f'"{folder.name}" has no weights as safetensors (model.safetensors).',
            next_step="Save the model anew with save_pretrained. Nothing was started.",
        )
    return _whole(reference, fingerprint(folder), weights, tokens=_tokens(folder))


async def _on_hub(reference: ModelReference, base: ModelReference | None, gathering: Gathering) -> Convertible:
    gathering.check_online()
    model = await gathering.hub.model(gathering.token, reference.id, reference.revision)
    pinned = ModelReference(reference.id, model.sha)
    name = f"{reference.id}@{model.sha}"
    if model.is_adapter:
        return Convertible(pinned, name, base=base or _named_base(reference, model.base_model, {}))
    if base is not None:
        raise _no_adapter(reference)
    weights = await gathering.hub.model_weights(gathering.token, reference.id, model.sha)
    if weights.tensors is None:
        raise InvalidArguments(
            f"{reference.id} has no weights as safetensors.",
            next_step="Name a revision that has them. Nothing was started.",
        )
    return _whole(pinned, name, weights)


def _whole(reference: ModelReference, name: str, weights: ModelWeights, *, tokens: int = 0) -> Convertible:
    parameters = sum(count_by_type(weights.tensors or {}).values())
    rows = [shape[0] for tensor, (_, shape) in (weights.tensors or {}).items() if tensor.endswith(_EMBEDDINGS)]
    return Convertible(
        reference,
        name,
        config=weights.config,
        parameters=parameters,
        bytes_each=_THIRTY_TWO if parameters <= _WIDE_PARAMETERS else _SIXTEEN,
        tokens=tokens,
        rows=max(rows, default=0),
    )


def _named_base(reference: ModelReference, name: str, config: Mapping[str, object]) -> ModelReference:
    """Return the base that an adapter names. Raises InvalidArguments where it names none that can be reached."""
    if not name or (Path(name).is_absolute() and not Path(name).is_dir()):
        what = f'"{Path(name).name}", is not where it was' if name else "is not named"
        raise InvalidArguments(
            f"The base of the adapter {reference.short_name} {what}.",
            next_step="Name it as base_model: a folder or a Hub id. Nothing was started.",
        )
    base = model_reference(name)
    revision = config.get("revision")
    return ModelReference(base.id, str(revision), base.is_folder) if revision and not base.is_folder else base


def _no_adapter(reference: ModelReference) -> InvalidArguments:
    return InvalidArguments(
        f"{reference.short_name} is a whole model and needs no base_model.",
        next_step="Leave base_model out. Nothing was started.",
    )


def _tokens(folder: Path) -> int:
    """Return how many tokens the tokenizer of a folder knows, by the highest id; 0 where it is kept otherwise."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return 0
    content = read_object(path)
    model, added = content.get("model"), content.get("added_tokens")
    words = cast(Mapping[str, Any], model).get("vocab") if isinstance(model, dict) else None
    ids = list(cast(Mapping[str, int], words).values()) if isinstance(words, dict) else []
    ids += [int(each["id"]) for each in cast(list[Mapping[str, Any]], added or [])]
    return max(ids, default=-1) + 1
