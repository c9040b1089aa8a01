"""The shapes of a model's tensors, from the headers of its safetensors files: a few kB of what may be 100 GB."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio import to_thread

from trl_mcp.errors import NotFound, TrlMcpError, UnreadableData
from trl_mcp.hub.client import Ask, HubClient
from trl_mcp.hub.fields import string_map
from trl_mcp.hub.ranges import RangeClient, RemoteFile
from trl_mcp.hub.repos import fetch_info, file_address, file_sizes
from trl_mcp.hub.tensors import LENGTH_BYTES, Tensors, count_by_type, header_length, parse_header
from trl_mcp.hub.values import ModelWeights

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_ADAPTER = "adapter_model.safetensors"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_OLD = re.compile(r"pytorch_model.*\.bin")
_FIRST = 1 << 14
_AT_ONCE = 16
_DEADLINE_S = 15


async def fetch_weights(
    client: HubClient, ranges: RangeClient, token: str | None, model_id: str, commit: str
) -> ModelWeights:
    """Return the config of a model and what its weight files hold. Raises NotFound, UnreadableData, HubError."""
    raw = await fetch_info(client, token, "model", model_id, commit, sizes=True)
    repo = _Repo(client, ranges, token, model_id, commit, file_sizes(raw), ranges.clock() + _DEADLINE_S)
    config = await repo.json(_CONFIG) if _CONFIG in repo.sizes else {}
    names = await _weight_files(repo)
    if not config and not names:
        gguf = any(name.endswith(".gguf") for name in repo.sizes)
        what = "only GGUF files, which are for inference" if gguf else "neither a config.json nor safetensors"
        raise NotFound(
            f"The model {model_id} has {what}, so its size is not known.",
            next_step=f"Name {'the model they were made from' if gguf else 'a model for transformers'}. Nothing was started.",
        )
    tensors = await _all_tensors(repo, names) if names else None
    weights = names or [name for name in repo.sizes if _OLD.fullmatch(name)]
    counts = count_by_type(tensors) if tensors is not None else _said(raw)
    return ModelWeights(config, tensors, counts, sum(repo.sizes[name] for name in weights))


@dataclass(frozen=True, slots=True)
class _Repo:
    """The files of a model at a commit, as one caller may read them until a deadline."""

    client: HubClient
    ranges: RangeClient
    token: str | None = field(repr=False)
    model_id: str
    commit: str
    sizes: Mapping[str, int]
    deadline: float

    async def json(self, name: str) -> dict[str, Any]:
        """Return a JSON file that holds an object. Raises UnreadableData."""
        ask = Ask(f"read {name} of {self.model_id}", self._address(name), anonymous=True)
        response = await self.client.answer(self.token, ask)
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UnreadableData(f"{name} of {self.model_id} is no JSON object.", next_step="Nothing was started.")
        return content  # pyright: ignore[reportUnknownVariableType] # JSON

    def tensors(self, name: str) -> Tensors:
        """Return the tensors of one safetensors file. Raises UnreadableData, HubError."""
        doing = f"read the header of {name} of {self.model_id}"
        address = self.client.endpoint + self._address(name)
        remote = RemoteFile(address, self.sizes[name], doing, self.token, self.deadline)
        with self.ranges.open(remote) as file:
            start = file.read(_FIRST)
            try:
                length = header_length(start)
                header = start[LENGTH_BYTES : LENGTH_BYTES + length]
                missing = length - len(header) if length <= self.sizes[name] - LENGTH_BYTES else 0
                return parse_header(header + (file.read(missing) if missing else b""))
            except ValueError:
                raise UnreadableData(
                    f"{name} of {self.model_id} is no safetensors file.", next_step="Nothing was started."
                ) from None

    def _address(self, name: str) -> str:
        return file_address("model", self.model_id, self.commit, name)


async def _weight_files(repo: _Repo) -> list[str]:
    """Return the safetensors files that make up the model, as transformers chooses them."""
    if _WHOLE in repo.sizes:
        return [_WHOLE]
    if shards := [name for name in repo.sizes if _SHARD.fullmatch(name)]:
        return shards
    if _INDEX in repo.sizes:
        named = string_map(await repo.json(_INDEX), "weight_map").values()
        return [name for name in dict.fromkeys(named) if name in repo.sizes]
    return [_ADAPTER] if _ADAPTER in repo.sizes else []


async def _all_tensors(repo: _Repo, names: list[str]) -> Tensors:
    found: Tensors = {}
    failed: list[TrlMcpError] = []
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def read(name: str) -> None:
        try:
            found.update(await to_thread.run_sync(repo.tensors, name, limiter=limit))
        except TrlMcpError as error:
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(read, name)
    if failed:
        raise failed[0]
    return found


def _said(raw: object) -> dict[str, int]:
    """Return the numbers by type that the Hub itself has counted."""
    counted = string_map(raw, "safetensors", "parameters").items()
    return {dtype: int(count) for dtype, count in counted if count.isdigit()}
