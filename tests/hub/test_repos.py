"""Repositories: their life, their history and what is said about them."""

from __future__ import annotations

import json
from typing import cast

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub import EmulatedHub
from tests.hub.support import get, safetensors_bytes


def test_a_repository_is_created_once_and_deleted(hub: EmulatedHub, api: HfApi) -> None:
    assert api.create_repo("alice/m", private=True) == f"{hub.endpoint}/alice/m"
    api.create_repo("alice/m", exist_ok=True)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("alice/m")
    assert caught.value.response.status_code == 409
    assert api.model_info("alice/m").private is True
    api.delete_repo("alice/m")
    assert not api.repo_exists("alice/m")
    api.delete_repo("alice/m", missing_ok=True)


def test_commits_build_a_history_that_stays_readable(hub: EmulatedHub, api: HfApi) -> None:
    first = hub.add_repo("alice/m", {"a.txt": "one"})
    done = api.create_commit(
        "alice/m",
        operations=[CommitOperationAdd("a.txt", b"two"), CommitOperationAdd("sub/b.txt", b"b")],
        commit_message="change a",
        commit_description="and add b",
    )
    titles = [commit.title for commit in api.list_repo_commits("alice/m")]
    assert titles == ["change a", "add files", "initial commit"]
    assert hub.read_file("alice/m", "a.txt", revision=first) == b"one"
    assert get(f"{hub.endpoint}/alice/m/resolve/{done.oid}/a.txt").text == "two"


def test_files_are_copied_and_deleted_by_a_commit(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m", {"a.txt": "one", "big.safetensors": b"12345678", "old/x": "x", "old/y": "y"})
    operations = [
        CommitOperationCopy("a.txt", "copy.txt"),
        CommitOperationCopy("big.safetensors", "copy.safetensors"),
        CommitOperationDelete("a.txt"),
        CommitOperationDelete("old/", is_folder=True),
    ]
    api.create_commit("alice/m", operations=operations, commit_message="tidy")
    assert hub.list_files("alice/m") == [".gitattributes", "big.safetensors", "copy.safetensors", "copy.txt"]


def test_a_commit_on_an_outdated_parent_is_refused(hub: EmulatedHub, api: HfApi) -> None:
    old = hub.add_repo("alice/m", {"a.txt": "one"})
    hub.commit_files("alice/m", {"a.txt": "two"})
    with pytest.raises(HfHubHTTPError) as caught:
        api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="alice/m", parent_commit=old)
    assert caught.value.response.status_code == 412
    assert hub.read_file("alice/m", "a.txt") == b"two"


def test_branches_and_tags_are_revisions(hub: EmulatedHub, api: HfApi) -> None:
    start = hub.add_repo("alice/m", {"a.txt": "one"})
    api.create_branch("alice/m", branch="dev/x", revision=start)
    api.create_tag("alice/m", tag="v1")
    api.upload_file(path_or_fileobj=b"dev", path_in_repo="a.txt", repo_id="alice/m", revision="dev/x")
    assert api.model_info("alice/m", revision="v1").sha == start
    assert [entry.path for entry in api.list_repo_tree("alice/m", revision="dev/x")] == [".gitattributes", "a.txt"]
    assert (hub.read_file("alice/m", "a.txt"), hub.read_file("alice/m", "a.txt", revision="dev/x")) == (b"one", b"dev")
    refs = api.list_repo_refs("alice/m")
    assert ([ref.name for ref in refs.branches], [ref.name for ref in refs.tags]) == (["main", "dev/x"], ["v1"])
    api.delete_tag("alice/m", tag="v1")
    api.delete_branch("alice/m", branch="dev/x")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("alice/m", revision="v1")


def test_the_tree_shows_folders_and_pages(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m", {"a/b/c.txt": "c", "a/d.txt": "d", "e.txt": "e"})
    hub.set_page_size(2)
    top = list(api.list_repo_tree("alice/m"))
    assert [(type(entry), entry.path) for entry in top] == [
        (RepoFile, ".gitattributes"),
        (RepoFolder, "a"),
        (RepoFile, "e.txt"),
    ]
    everything = [entry.path for entry in api.list_repo_tree("alice/m", "a", recursive=True)]
    assert everything == ["a/b", "a/b/c.txt", "a/d.txt"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("alice/m", "nowhere"))


def test_paths_info_leaves_out_what_is_missing(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m", {"a/b.txt": "b", "w.safetensors": b"weights"})
    found = api.get_paths_info("alice/m", ["a", "a/b.txt", "w.safetensors", "missing"])
    assert [entry.path for entry in found] == ["a", "a/b.txt", "w.safetensors"]
    last = found[-1]
    assert isinstance(last, RepoFile)
    assert last.lfs is not None
    assert last.lfs.size == 7


def test_model_info_reads_config_card_and_parameters(hub: EmulatedHub, api: HfApi) -> None:
    weights = safetensors_bytes({"a": ("BF16", [2, 3]), "b": ("F32", [4])}, b"0" * 28)
    config = json.dumps({"architectures": ["X"], "model_type": "x", "hidden_size": 4})
    card = "---\nlicense: mit\ntags: [trl]\n---\n# hi"
    hub.add_repo("alice/m", {"model.safetensors": weights, "config.json": config, "README.md": card})
    full = api.model_info("alice/m")
    assert full.safetensors is not None
    assert full.safetensors.parameters == {"BF16": 6, "F32": 4}
    config_shown = cast("dict[str, object]", full.config)  # pyright: ignore[reportUnknownMemberType] - a bare dict
    assert config_shown == {"architectures": ["X"], "model_type": "x"}
    assert full.tags == ["trl", "license:mit"]
    few = api.model_info("alice/m", expand=["gated", "sha"])
    assert (few.gated, few.sha, few.siblings, few.tags) == (False, full.sha, None, None)


def test_safetensors_headers_come_by_range_and_in_one_request(hub: EmulatedHub, api: HfApi) -> None:
    shard = safetensors_bytes({"a": ("BF16", [2, 3])}, b"0" * 12)
    index = json.dumps({"metadata": {"total_size": 12}, "weight_map": {"a": "model-1.safetensors"}})
    files = {"model.safetensors.index.json": index, "model-1.safetensors": shard}
    hub.add_repo("alice/sharded", files)
    hub.add_repo("alice/single", {"model.safetensors": shard})
    assert api.get_sharded_safetensors_metadata("alice/sharded").parameter_count == {"BF16": 6}
    assert api.get_safetensors_metadata("alice/single").parameter_count == {"BF16": 6}


def test_searching_finds_similar_names_and_hides_private_ones(hub: EmulatedHub) -> None:
    anonymous = HfApi(endpoint=hub.endpoint, token=False)
    for name in ("acme/Qwen-Tiny", "alice/qwen-other"):
        hub.add_repo(name)
    hub.add_repo("alice/qwen-secret", private=True)
    hub.add_repo("acme/qwen-data", repo_type="dataset")
    assert {model.id for model in anonymous.list_models(search="qwen")} == {"acme/Qwen-Tiny", "alice/qwen-other"}
    assert [model.id for model in anonymous.list_models(search="qwen", author="acme")] == ["acme/Qwen-Tiny"]
    assert [data.id for data in anonymous.list_datasets(search="qwen", limit=5)] == ["acme/qwen-data"]


def test_what_is_missing_has_its_own_error(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m", {"a.txt": "one"})
    assert not api.file_exists("alice/m", "b.txt")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("alice/m", revision="nowhere")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("alice/nothing")
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint, token=False).dataset_info("alice/nothing")


def test_files_come_whole_in_part_and_as_headers(hub: EmulatedHub) -> None:
    sha = hub.add_repo("alice/m", {"big.safetensors": b"0123456789"})
    url = f"{hub.endpoint}/alice/m/resolve/main/big.safetensors"
    assert get(url).content == b"0123456789"
    part = get(url, Range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert get(url, Range="bytes=-3").content == b"789"
    assert get(url, Range="bytes=50-60").status_code == 416
    headers = get(url).headers
    assert headers["X-Repo-Commit"] == sha
    assert headers["X-Linked-Size"] == "10"
    assert len(headers.get_list("Date")) == 1


def test_files_of_a_gated_or_private_repository_are_kept_back(hub: EmulatedHub) -> None:
    hub.add_repo("acme/gated", {"config.json": "{}"}, gated="auto")
    hub.add_repo("acme/private", {"config.json": "{}"}, private=True)
    carol = hub.add_user("carol")
    answers = [
        get(f"{hub.endpoint}/acme/{name}/resolve/main/config.json", token)
        for name in ("gated", "private")
        for token in (None, carol, hub.tokens["alice"])
    ]
    assert [(answer.status_code, answer.headers.get("X-Error-Code")) for answer in answers] == [
        (401, "GatedRepo"),
        (403, "GatedRepo"),
        (200, None),
        (401, "RepoNotFound"),
        (404, "RepoNotFound"),
        (200, None),
    ]


def test_settings_and_names_can_change(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m")
    api.update_repo_settings("alice/m", private=True, gated="auto")
    api.move_repo("alice/m", "acme/n")
    moved = api.model_info("acme/n")
    assert (moved.private, moved.gated) == (True, "auto")


def test_a_card_with_broken_yaml_is_refused(hub: EmulatedHub) -> None:
    answers = [
        get_validation(hub, str(ModelCard("---\nlicense: mit\n---\n# hi"))),
        get_validation(hub, "---\nlicense: [mit\n---\n# hi"),
    ]
    assert answers == [200, 400]


def get_validation(hub: EmulatedHub, content: str) -> int:
    body = {"repoType": "model", "content": content}
    return httpx2.post(f"{hub.endpoint}/api/validate-yaml", json=body).status_code
