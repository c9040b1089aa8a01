"""Spaces as Trackio creates and steers them."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, SpaceHardware, Volume
from huggingface_hub.errors import BadRequestError

from tests.hub import EmulatedHub
from tests.hub.support import get


@pytest.fixture
def space(api: HfApi) -> str:
    """Create a Space."""
    secret = {"key": "HF_TOKEN", "value": "hf_secret"}
    api.create_repo("alice/trackio", repo_type="space", space_sdk="gradio", space_secrets=[secret])
    return "alice/trackio"


def test_a_space_needs_an_sdk_and_runs(api: HfApi, space: str) -> None:
    runtime = api.get_space_runtime(space)
    assert (runtime.stage, runtime.hardware) == ("RUNNING", "cpu-basic")
    info = api.space_info(space)
    assert (info.sdk, info.host) == ("gradio", "https://alice-trackio.hf.space")


def test_secrets_can_be_set_but_not_read(hub: EmulatedHub, api: HfApi, space: str) -> None:
    api.add_space_secret(space, "TOKEN", "hf_other", description="for tests")
    assert set(api.get_space_secrets(space)) == {"HF_TOKEN", "TOKEN"}
    api.delete_space_secret(space, "HF_TOKEN")
    answer = get(f"{hub.endpoint}/api/spaces/{space}/secrets", hub.tokens["alice"])
    assert set(answer.json()) == {"TOKEN"}
    assert "hf_other" not in answer.text


def test_variables_are_public(hub: EmulatedHub, api: HfApi, space: str) -> None:
    assert api.add_space_variable(space, "TRACKIO_DIR", "/data/trackio")["TRACKIO_DIR"].value == "/data/trackio"
    public = HfApi(endpoint=hub.endpoint, token=False)
    assert set(public.get_space_variables(space)) == {"TRACKIO_DIR"}
    assert api.delete_space_variable(space, "TRACKIO_DIR") == {}


def test_a_space_is_paused_restarted_and_moved(api: HfApi, space: str) -> None:
    assert api.pause_space(space).stage == "PAUSED"
    assert api.restart_space(space).stage == "RUNNING"
    assert api.request_space_hardware(space, SpaceHardware.T4_SMALL).requested_hardware == "t4-small"
    with pytest.raises(BadRequestError):
        api.request_space_hardware(space, "no-such-hardware")  # pyright: ignore[reportArgumentType] - meant to be wrong


def test_volumes_are_set_and_removed(api: HfApi, space: str) -> None:
    api.create_bucket("alice/trackio-bucket", private=True)
    api.set_space_volumes(space, [Volume(type="bucket", source="alice/trackio-bucket", mount_path="/data")])
    volumes = api.get_space_runtime(space).volumes
    assert volumes is not None
    assert [volume.source for volume in volumes] == ["alice/trackio-bucket"]
    api.delete_space_volumes(space)
    with pytest.raises(BadRequestError):
        api.delete_space_volumes(space)
    assert {flavor.name for flavor in api.list_spaces_hardware()} >= {"cpu-basic"}


def test_files_of_a_space_are_pushed_like_any_others(hub: EmulatedHub, api: HfApi, space: str) -> None:
    api.upload_file(path_or_fileobj=b"import trackio", path_in_repo="app.py", repo_id=space, repo_type="space")
    assert hub.read_file(space, "app.py", repo_type="space") == b"import trackio"
