"""Judges that a job is to ask: whether it may, and whether anybody serves them."""

import anyio

from trl_mcp.errors import HubUnreachable
from trl_mcp.plan.place import Gathering, Place
from trl_mcp.recipes.judges import POLICIES, Judge, judge_named
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.schema import did_you_mean
from trl_mcp.values import Finding, Severity

_PERMISSION = "inference.serverless.write"
_LISTED = "https://huggingface.co/models?inference_provider=all&other=conversational"


async def judge_findings(recipe: Recipe, place: Place, gathering: Gathering) -> list[Finding]:
    """Return what speaks against the judges of a recipe, each looked at beside the others.

    Raises NotFound for a model that does not exist, and HubUnreachable for a paid job.
    """
    judges = [judge_named(reward.name) for reward in recipe.rewards if reward.kind == "judge"]
    if not judges:
        return []
    if (why := _why_not_allowed(place, gathering)) is not None:
        return [why]
    found: list[Finding] = []

    async def look(judge: Judge) -> None:
        if (finding := await _look_at(judge, place, gathering)) is not None:
            found.append(finding)

    try:
        async with anyio.create_task_group() as group:
            for judge in judges:
                group.start_soon(look, judge)
    except ExceptionGroup as error_group:
        raise error_group.exceptions[0] from None
    return found


def _why_not_allowed(place: Place, gathering: Gathering) -> Finding | None:
    if not gathering.token:
        message = "A judge is asked with a token of the Hugging Face Hub, whose account pays, and the server has none."
        return _forbidden(message, "Set HF_TOKEN for the server, or use other rewards.")
    if gathering.is_offline:
        message = "A judge is asked over the network, and the server, like its jobs, is set to stay offline."
        return _forbidden(message, "Unset HF_HUB_OFFLINE for the server, or use other rewards.")
    identity = place.identity
    if identity is None or identity.access != "fineGrained":
        return None
    if any(_PERMISSION in scope.permissions for scope in identity.scopes):
        return None
    message = f"The fine-grained token lacks {_PERMISSION}, without which no judge answers."
    return _forbidden(message, f'Add "Make calls to Inference Providers" at {identity.tokens_page}')


def _forbidden(message: str, fix: str) -> Finding:
    return Finding("auth.judge", Severity.ERROR, message, fix)


async def _look_at(judge: Judge, place: Place, gathering: Gathering) -> Finding | None:
    try:
        providers = await gathering.hub.chat_providers(gathering.token, judge.model)
    except HubUnreachable as error:
        if not place.is_local:
            raise
        message = f"Whether anybody serves the judge {judge.model} was not asked: {error.what}"
        return Finding("reward.judge_unchecked", Severity.INFO, message)
    if not providers:
        message = f"No provider serves {judge.model} for conversations, so it cannot be a judge."
        return _unserved(message, f"Take a model that one serves: {_LISTED}")
    if judge.provider is None or judge.provider in POLICIES or judge.provider in providers:
        return None
    near = did_you_mean(judge.provider, providers)
    message = f"{judge.provider} does not serve {judge.model} for conversations.{near}"
    return _unserved(message, f"Leave the provider out, or take one that does: {', '.join(providers)}.")


def _unserved(message: str, fix: str) -> Finding:
    return Finding("reward.judge_unserved", Severity.ERROR, message, fix)
