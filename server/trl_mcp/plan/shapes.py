"""The shapes of the models that a job loads, from configs and headers: on the Hub, or in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread

from trl_mcp.data.model_folder import base_of_adapter, read_model_folder
from trl_mcp.errors import InvalidArguments, TrlMcpError, UnreadableData
from trl_mcp.estimate.shape import guessed_shape, shape_of
from trl_mcp.hub.values import ModelWeights
from trl_mcp.plan.place import Gathering
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.references import ModelReference, model_reference
from trl_mcp.values import ModelShape

_MOST_ADAPTERS = 3
_Described = tuple[ModelShape, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The model to train with its config.json (of an adapter, the base's), and those that only answer: rewards, a teacher."""

    model: ModelShape
    frozen: tuple[ModelShape, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict[str, object])


async def find_shapes(recipe: Recipe, gathering: Gathering) -> Shapes:
    """Return the shapes of all models of a recipe. Raises what `model_shape` raises for the first that has none."""
    teacher = (recipe.teacher,) if recipe.teacher else ()
    references = (recipe.model, *recipe.reward_models, *teacher)
    found: dict[ModelReference, _Described] = {}
    failed: list[TrlMcpError] = []

    async def ask(reference: ModelReference) -> None:
        try:
            found[reference] = await _describe(reference, gathering)
        except TrlMcpError as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        for reference in dict.fromkeys(references):
            group.start_soon(ask, reference)
    if failed:
        raise failed[0]
    model, config = found[recipe.model]
    return Shapes(model, tuple(found[reference][0] for reference in references[1:]), config)


async def _describe(reference: ModelReference, gathering: Gathering) -> _Described:
    """Return shape and config of a model, for an adapter those of its base; guessed from the weights' size where need be.

    Raises HubUnreachable where the Hub may not be asked, NotFound, AccessNotGranted and other HubError as it answers,
    UnreadableData for a broken file, InvalidArguments where nothing tells how large the model is.
    """
    for _ in range(_MOST_ADAPTERS):
        base, weights = await (_of_folder if reference.is_folder else _of_hub)(reference, gathering)
        if base is None:
            return _shape(reference, weights), weights.config
        reference = model_reference(base)
    raise InvalidArguments(
        f"{reference.short_name} is an adapter upon adapters.", next_step="Name its base model. Nothing was started."
    )


_NO_WEIGHTS = ModelWeights({}, None, {}, 0)


async def _of_folder(reference: ModelReference, _: Gathering) -> tuple[str | None, ModelWeights]:
    folder = Path(reference.id)
    base = await anyio.to_thread.run_sync(base_of_adapter, folder)
    if base is not None:
        return _named_base(reference, base), _NO_WEIGHTS
    return None, await anyio.to_thread.run_sync(read_model_folder, folder)


async def _of_hub(reference: ModelReference, gathering: Gathering) -> tuple[str | None, ModelWeights]:
    gathering.check_online()
    hub, token = gathering.hub, gathering.token
    found = await hub.model(token, reference.id, reference.revision)
    if found.is_adapter:
        return _named_base(reference, found.base_model), _NO_WEIGHTS
    return None, await hub.model_weights(token, reference.id, found.sha)


def _named_base(reference: ModelReference, base: str) -> str:
    if not base:
        raise InvalidArguments(
            f"{reference.short_name} is an adapter that does not name its base model, so its size is not known.",
            next_step="Name the base model. Nothing was started.",
        )
    return base


def _shape(reference: ModelReference, weights: ModelWeights) -> ModelShape:
    try:
        found = shape_of(weights.config, weights.tensors, weights.parameter_count)
    except InvalidArguments:
        if not weights.bytes_on_disk:
            raise
        return guessed_shape(weights.bytes_on_disk // 2)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        raise UnreadableData(
            f"config.json of {reference.short_name} does not describe a model.", next_step="Nothing was started."
        ) from None
    # A config alone does not tell in which type the numbers are stored.
    stored = weights.bytes_on_disk if weights.tensors is None and weights.bytes_on_disk else found.bytes_on_disk
    return replace(found, bytes_on_disk=stored)
