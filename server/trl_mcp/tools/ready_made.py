"""Presets and configuration files in trainer_args: what they stand for takes their place before anything is looked at."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import cast

from anyio import to_thread

from trl_mcp.context import CallContext
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible
from trl_mcp.plan.script_source import fetch_script
from trl_mcp.recipes.names import CONFIG, PRESET
from trl_mcp.recipes.presets import from_preset
from trl_mcp.recipes.ready_made import Brought, merged
from trl_mcp.recipes.trl_yaml import from_config, read_config
from trl_mcp.schema import ArgumentsT, read_arguments
from trl_mcp.values import Finding

_TRAINER_ARGS = "trainer_args"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)

Fetch = Callable[[str], Awaitable[str]]


def fetching(context: CallContext) -> Fetch:
    """Return what fetches a text for a caller, from private hosts only for those who may run code on this machine."""
    return partial(fetch_script, private_hosts=context.server.settings.private_hosts)


async def with_ready_made(arguments: ArgumentsT, fetch: Fetch = fetch_script) -> tuple[ArgumentsT, tuple[Finding, ...]]:
    """Return the arguments of a training with what its preset or configuration file brings, and what is said of it.

    `fetch` gives the text at an address. Raises InvalidArguments for a preset that does not exist and for a file that
    cannot be read as one, NotFound and NotPossible for an address that does not give it.
    """
    given = {name: getattr(arguments, name) for name in arguments.model_fields_set}
    entries = dict(cast(Mapping[str, object], given.get(_TRAINER_ARGS, {})))
    asked = {name: entries.pop(name) for name in (PRESET, CONFIG) if name in entries}
    if not asked:
        return arguments, ()
    given[_TRAINER_ARGS] = entries
    if isinstance(asked.get(CONFIG), str):
        asked[CONFIG] = await _text(cast(str, asked[CONFIG]), fetch)
    brought = await _brought(asked, given)
    values, findings = merged(brought, given, type(arguments).model_fields)
    return read_arguments(type(arguments), values), findings


async def _brought(asked: Mapping[str, object], given: Mapping[str, object]) -> Brought:
    if len(asked) > 1:
        raise InvalidArguments(
            f"{PRESET} and {CONFIG} both say how to train.", next_step="Give one of them. Nothing was started."
        )
    if PRESET in asked:
        return from_preset(asked[PRESET], given)
    return from_config(await to_thread.run_sync(read_config, asked[CONFIG]), given)


async def _text(source: str, fetch: Fetch) -> str:
    """Return what stands at an address; any other text as it is."""
    if not _ADDRESS.fullmatch(address := source.strip()):
        return source
    try:
        return await fetch(address)
    except (InvalidArguments, NotFound, NotPossible) as error:
        raise type(error)(f"config: {error.what}", allowed=error.allowed, next_step=error.next_step) from None
