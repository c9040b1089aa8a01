"""What a model's weight files hold, read from their headers: a few kB, whatever the size of the model."""

import json
from typing import Any

import pytest

from tests.hf.desk import Desk
from tests.hub import Fault
from tests.hub.support import safetensors_bytes
from trl_mcp.errors import AccessNotGranted, HubUnreachable, NotFound, UnreadableData

pytestmark = pytest.mark.anyio
CONFIG = {"model_type": "qwen3", "hidden_size": 8, "num_hidden_layers": 2}


def weights(names: list[str], payload: int = 0) -> bytes:
    return safetensors_bytes({name: ("BF16", [4, 8]) for name in names}, bytes(payload))


def add(desk: Desk, files: dict[str, Any], repo: str = "acme/m", **how: Any) -> str:
    return desk.emulated.add_repo(repo, {"config.json": json.dumps(CONFIG), **files}, **how)


async def test_headers_tell_every_tensor_and_the_weights_stay_where_they_are(desk: Desk) -> None:
    desk.emulated.move_storage()
    sha = add(desk, {"model.safetensors": weights(["a", "b"], 5_000_000)}, private=True, repo="alice/m")
    desk.emulated.clear_requests()
    found = await desk.hub.model_weights(desk.emulated.tokens["alice"], "alice/m", sha)
    assert found.config == CONFIG
    assert found.tensors == {"a": ("BF16", (4, 8)), "b": ("BF16", (4, 8))}
    assert (dict(found.parameters), found.parameter_count) == ({"BF16": 64}, 64)
    assert found.bytes_on_disk > 5_000_000
    assert sum(request.sent for request in desk.emulated.requests()) < 100_000
    stored = desk.emulated.requests("/lfs-storage/*")
    assert [(request.range, request.has_token) for request in stored] == [("bytes=0-16383", False)]


async def test_a_long_header_costs_two_requests(desk: Desk) -> None:
    names = [f"model.layers.{number}.mlp.experts.weight" for number in range(2000)]
    sha = add(desk, {"model.safetensors": weights(names, 500_000)})
    desk.emulated.clear_requests()
    found = await desk.hub.model_weights(None, "acme/m", sha)
    assert found.tensors is not None
    assert list(found.tensors) == names
    assert len(desk.emulated.requests("*/model.safetensors")) == 2


@pytest.mark.parametrize("name", ["model-{:05d}-of-00020.safetensors", "odd_{}.safetensors"])
async def test_all_shards_are_read(desk: Desk, name: str) -> None:
    shards = {name.format(number): weights([f"t{number}"]) for number in range(1, 21)}
    index = {"weight_map": {f"t{number}": name.format(number) for number in range(1, 21)}}
    others = {"consolidated.safetensors": weights(["whole"]), "sub/model.safetensors": weights(["other"])}
    sha = add(desk, {**shards, **others, "model.safetensors.index.json": json.dumps(index)})
    found = await desk.hub.model_weights(None, "acme/m", sha)
    assert found.tensors is not None
    assert set(found.tensors) == {f"t{number}" for number in range(1, 21)}
    assert found.bytes_on_disk == sum(map(len, shards.values()))


async def test_what_was_read_is_remembered_for_its_caller(desk: Desk) -> None:
    sha = add(desk, {"model.safetensors": weights(["a"])}, repo="alice/m", private=True)
    first = await desk.hub.model_weights(desk.emulated.tokens["alice"], "alice/m", sha)
    desk.emulated.clear_requests()
    assert await desk.hub.model_weights(desk.emulated.tokens["alice"], "alice/m", sha) is first
    assert not desk.emulated.requests()
    with pytest.raises(NotFound):
        await desk.hub.model_weights(desk.emulated.tokens["bob"], "alice/m", sha)


async def test_a_model_without_safetensors_has_its_config_and_size(desk: Desk) -> None:
    sha = add(desk, {"pytorch_model.bin": bytes(1000), "training_args.bin": bytes(10)})
    found = await desk.hub.model_weights(None, "acme/m", sha)
    assert (found.config, found.tensors, found.parameter_count, found.bytes_on_disk) == (CONFIG, None, None, 1000)


async def test_an_adapter_has_its_own_tensors(desk: Desk) -> None:
    sha = desk.emulated.add_repo("acme/a", {"adapter_config.json": "{}", "adapter_model.safetensors": weights(["l"])})
    found = await desk.hub.model_weights(None, "acme/a", sha)
    assert (found.config, found.parameter_count) == ({}, 32)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 100, b"\x02" + bytes(7) + b"[]", b"\x0a" + bytes(7) + b'{"a": "b"}']
)
async def test_a_broken_weight_file_is_named(desk: Desk, content: bytes) -> None:
    sha = desk.emulated.add_repo("acme/m", {"config.json": "{}"})
    sha = desk.emulated.commit_files("acme/m", {"model.safetensors": content})
    # The emulated Hub counts parameters itself only where the file is whole.
    with pytest.raises(UnreadableData, match=r"model\.safetensors of acme/m is no safetensors file"):
        await desk.hub.model_weights(None, "acme/m", sha)


async def test_a_broken_config_and_no_model_at_all_are_named(desk: Desk) -> None:
    sha = desk.emulated.add_repo("acme/broken", {"config.json": "["})
    with pytest.raises(UnreadableData, match=r"config\.json of acme/broken is no JSON object"):
        await desk.hub.model_weights(None, "acme/broken", sha)
    sha = desk.emulated.add_repo("acme/none", {"README.md": "hi"})
    with pytest.raises(NotFound, match=r"acme/none has neither a config\.json nor safetensors"):
        await desk.hub.model_weights(None, "acme/none", sha)


async def test_access_and_trouble_have_their_own_errors(desk: Desk) -> None:
    gated = add(desk, {"model.safetensors": weights(["a"])}, repo="bob/gated", gated="manual")
    with pytest.raises(AccessNotGranted):
        await desk.hub.model_weights(desk.emulated.tokens["alice"], "bob/gated", gated)
    sha = add(desk, {"model.safetensors": weights(["a"])})
    desk.emulated.faults.add(Fault("GET", "*/model.safetensors", status=500, times=99))
    with pytest.raises(HubUnreachable, match=r"read the header of model\.safetensors of acme/m"):
        await desk.hub.model_weights(None, "acme/m", sha)
