"""How repositories, files and commits look in the API's answers."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import yaml

from tests.hub.blobs import BlobStore
from tests.hub.clock import isoformat
from tests.hub.repo_store import Commit, Repo, RepoFile
from tests.hub.state import HubState

ALWAYS = {"_id", "id", "modelId"}


def safetensors_header(blobs: BlobStore, sha256: str) -> dict[str, Any] | None:
    """Return the JSON header of a safetensors file, None where there is none."""
    with blobs.path(sha256).open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            return None
        header = stream.read(min(struct.unpack("<Q", prefix)[0], 25_000_000))
    try:
        parsed = json.loads(header)
        is_header = all({"dtype", "shape"} <= set(entry) for name, entry in parsed.items() if name != "__metadata__")
    except (ValueError, TypeError, AttributeError):
        return None
    return parsed if is_header else None


def _parameters(hub: HubState, commit: Commit) -> dict[str, Any] | None:
    """Count the elements of all root safetensors files by dtype."""
    counts = dict[str, int]()
    for path, file in commit.files.items():
        header = safetensors_header(hub.blobs, file.sha256) if path.endswith(".safetensors") else None
        for name, tensor in (header or {}).items():
            if name != "__metadata__":
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _json_file(hub: HubState, commit: Commit, path: str) -> dict[str, Any] | None:
    try:
        return json.loads(hub.blobs.read(commit.files[path].sha256))
    except (KeyError, ValueError):
        return None


def card_data(hub: HubState, commit: Commit) -> dict[str, Any] | None:
    """Return the YAML block at the top of the README."""
    readme = commit.files.get("README.md")
    if readme is None:
        return None
    text = hub.blobs.read(readme.sha256).decode("utf-8", errors="replace")
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return None
    try:
        parsed = yaml.safe_load(text[4:].split("\n---", 1)[0])
    except yaml.YAMLError:
        return None
    return parsed if isinstance(parsed, dict) else None  # pyright: ignore[reportUnknownVariableType] - YAML is untyped


def _tags(card: dict[str, Any]) -> list[str]:
    tags = card.get("tags")
    found = [str(tag) for tag in tags] if isinstance(tags, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - YAML is untyped
    return [*found, f"license:{card['license']}"] if "license" in card else found


def _model_fields(hub: HubState, repo: Repo, commit: Commit, card: dict[str, Any]) -> dict[str, Any]:
    config = _json_file(hub, commit, "config.json")
    fields: dict[str, Any] = {"modelId": repo.id, "inferenceProviderMapping": {}}
    if repo.id in hub.served:
        fields["inferenceProviderMapping"] = hub.served[repo.id].mapping(repo.id)
    if (parameters := _parameters(hub, commit)) is not None:
        fields["safetensors"] = parameters
    if config is not None:
        fields["config"] = {name: config[name] for name in ("architectures", "model_type") if name in config}
        fields["library_name"] = card.get("library_name", "transformers")
        fields["pipeline_tag"] = card.get("pipeline_tag", "text-generation")
    return fields


def _space_fields(repo: Repo) -> dict[str, Any]:
    assert repo.space is not None
    namespace, name = repo.id.split("/")
    subdomain = f"{namespace}-{name}".lower().replace("_", "-").replace(".", "-")
    return {"sdk": repo.space.sdk, "subdomain": subdomain, "host": f"https://{subdomain}.hf.space"}


def repo_view(hub: HubState, repo: Repo, commit: Commit) -> dict[str, Any]:
    """Return everything there is to say about a repository at a commit."""
    card = card_data(hub, commit) or {}
    view: dict[str, Any] = {
        "_id": repo.internal_id,
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.sha,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(card),
        "createdAt": isoformat(repo.created),
        "lastModified": isoformat(commit.date),
        "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        "usedStorage": sum(file.size for file in commit.files.values()),
        "cardData": card,
    }
    if repo.type == "model":
        view |= _model_fields(hub, repo, commit, card)
    if repo.type == "space":
        view |= _space_fields(repo)
    return view


def sized(hub: HubState, view: dict[str, Any], commit: Commit) -> dict[str, Any]:
    """Add to a view how large each file is."""
    files = (file_view(hub, path, file) for path, file in sorted(commit.files.items()))
    sizes = [
        {"rfilename": file["path"], "size": file["size"], "blobId": file["oid"]}
        | ({"lfs": {"sha256": file["lfs"]["oid"], "size": file["size"], "pointerSize": 134}} if "lfs" in file else {})
        for file in files
    ]
    return {**view, "siblings": sizes}


def expanded(view: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """Keep the fields that a request asked for; all of them if it named none."""
    return {name: value for name, value in view.items() if name in ALWAYS or name in fields} if fields else view


def file_view(hub: HubState, path: str, file: RepoFile) -> dict[str, Any]:
    """Describe a file of a commit."""
    view: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.lfs:
        view["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        view["xetHash"] = hub.xet.hash_of(file.sha256)
    return view


def commit_view(commit: Commit) -> dict[str, Any]:
    """Describe a commit."""
    return {
        "id": commit.sha,
        "title": commit.title,
        "message": commit.message,
        "date": isoformat(commit.date),
        "authors": [{"user": commit.author}],
        "formatted": {"title": commit.title, "message": commit.message},
    }
