"""Changing repositories: create, delete, settings, branches, tags, preupload and commit."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError, missing_permission, repo_not_found
from tests.hub.repo_info import writable_repo
from tests.hub.repo_store import Commit, Repo, RepoFile, SpaceSettings, is_lfs
from tests.hub.state import HubState
from tests.hub.web import body, ndjson, param, signed_in, state

TYPES = {"model", "dataset", "space"}


def _target(request: Request, wanted: dict[str, Any]) -> tuple[str, str]:
    """Return the type and full name that a create or delete request means."""
    repo_type = str(wanted.get("type") or "model")
    if repo_type not in TYPES or not wanted.get("name"):
        raise HubError(400, "Invalid repository type or name")
    namespace = wanted.get("organization") or signed_in(request).user.name
    return repo_type, f"{namespace}/{wanted['name']}"


def _keyed(entries: list[dict[str, str]] | None) -> dict[str, dict[str, str]]:
    return {entry["key"]: entry for entry in entries or []}


def _space_settings(wanted: dict[str, Any]) -> SpaceSettings:
    return SpaceSettings(
        sdk=str(wanted["sdk"]),
        hardware=str(wanted.get("hardware") or "cpu-basic"),
        sleep_time=wanted.get("sleepTimeSeconds"),
        secrets=_keyed(wanted.get("secrets")),
        variables=_keyed(wanted.get("variables")),
        volumes=list(wanted.get("volumes") or []),
    )


async def create(request: Request) -> Response:
    """Create a repository in a namespace where the caller may."""
    hub, token, wanted = state(request), signed_in(request), await body(request)
    repo_type, repo_id = _target(request, wanted)
    namespace = repo_id.split("/")[0]
    if not hub.accounts.may_write(token, repo_type, repo_id):
        raise HubError(403, f'You don\'t have the rights to create a {repo_type} under the namespace "{namespace}"')
    if (existing := hub.repos.repos.get((repo_type, repo_id))) is not None:
        url = f"{hub.endpoint}/{existing.path}"
        return JSONResponse({"error": f"You already created this {repo_type} repo", "url": url}, 409)
    if repo_type == "space" and "sdk" not in wanted:
        raise HubError(400, "An sdk is required for a Space")
    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    repo = hub.repos.create(repo_type, repo_id, token.user.name, private=private)
    repo.space = _space_settings(wanted) if repo_type == "space" else None
    return JSONResponse({"url": f"{hub.endpoint}/{repo.path}", "name": repo_id, "id": repo.internal_id})


async def delete(request: Request) -> Response:
    """Delete a repository."""
    hub, token = state(request), signed_in(request)
    repo_type, repo_id = _target(request, await body(request))
    repo = hub.repos.visible(repo_type, repo_id, token)
    if hub.accounts.role_in(token.user, repo.namespace) not in {"admin", "write"}:
        raise repo_not_found(authenticated=True)
    hub.repos.writable(repo_type, repo_id, token)
    del hub.repos.repos[repo_type, repo_id]
    return JSONResponse({})


async def settings(request: Request) -> Response:
    """Change who may see and read a repository."""
    repo, wanted = writable_repo(request), await body(request)
    if "visibility" in wanted or "private" in wanted:
        repo.private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    repo.gated = wanted.get("gated", repo.gated)
    return JSONResponse({"private": repo.private, "gated": repo.gated})


async def add_branch(request: Request) -> Response:
    """Create a branch at a revision."""
    repo, name, wanted = writable_repo(request), param(request, "ref"), await body(request)
    if name in repo.branches:
        raise HubError(409, f"Reference already exists: refs/heads/{name}")
    repo.branches[name] = repo.revision(str(wanted.get("startingPoint") or "main")).sha
    return JSONResponse({})


async def delete_branch(request: Request) -> Response:
    """Remove a branch other than main."""
    repo, name = writable_repo(request), param(request, "ref")
    if name == "main" or repo.branches.pop(name, None) is None:
        raise HubError(400, f"Cannot delete branch {name}")
    return JSONResponse({})


async def add_tag(request: Request) -> Response:
    """Tag a revision."""
    repo, wanted = writable_repo(request), await body(request)
    if wanted["tag"] in repo.tags:
        raise HubError(409, f"Tag already exists: {wanted['tag']}")
    repo.tags[str(wanted["tag"])] = repo.revision(param(request, "ref")).sha
    return JSONResponse({})


async def delete_tag(request: Request) -> Response:
    """Remove a tag."""
    if writable_repo(request).tags.pop(param(request, "ref"), None) is None:
        raise HubError(404, "Tag not found", "RevisionNotFound")
    return JSONResponse({})


async def preupload(request: Request) -> Response:
    """Say for each file how it is to be uploaded, and what is there already."""
    repo = writable_repo(request)
    present = repo.revision(param(request, "rev")).files
    answers = list[dict[str, Any]]()
    for file in (await body(request)).get("files", []):
        mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
        answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
        if (old := present.get(file["path"])) is not None:
            answer["oid"] = old.sha256 if old.lfs else old.oid
        answers.append(answer)
    return JSONResponse({"files": answers})


def _inline_file(hub: HubState, value: dict[str, Any]) -> RepoFile:
    try:
        content = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
    except binascii.Error:
        raise HubError(400, f"Invalid content of {value['path']}") from None
    return hub.repos.file(value["path"], hub.blobs.add(content), lfs=False)


def _large_file(hub: HubState, value: dict[str, Any]) -> RepoFile:
    if value["oid"] not in hub.blobs:
        raise HubError(400, f"LFS pointer pointed to a file that does not exist: {value['path']} ({value['oid']})")
    return hub.repos.file(value["path"], value["oid"], lfs=True)


def _apply(hub: HubState, files: dict[str, RepoFile], operation: dict[str, Any]) -> None:
    """Change a snapshot as one line of a commit says."""
    key, value = operation["key"], operation["value"]
    path = str(value.get("path", ""))
    if key == "file":
        files[path] = _inline_file(hub, value)
    elif key == "lfsFile":
        files[path] = _large_file(hub, value)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]
    elif key != "header":
        raise HubError(400, f"Unknown operation: {key}")


def _header(operations: list[dict[str, Any]], parent: Commit) -> str:
    """Return the commit's message, refusing one that was made for another parent."""
    nothing = dict[str, Any]()
    header = next((entry["value"] for entry in operations if entry["key"] == "header"), nothing)
    if header.get("parentCommit") not in {None, parent.sha}:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    return f"{header.get('summary', 'commit')}\n{header.get('description', '')}"


async def commit(request: Request) -> Response:
    """Add a commit to a branch."""
    hub, repo, branch = state(request), writable_repo(request), param(request, "rev")
    if request.query_params.get("create_pr"):
        raise HubError(400, "The emulated Hub has no pull requests")
    operations = ndjson(await request.body())
    parent = _branch_head(repo, branch)
    message, files = _header(operations, parent), dict(parent.files)
    for operation in operations:
        _apply(hub, files, operation)
    added = repo.add_commit(parent, files, message, signed_in(request).user.name)
    repo.branches[branch] = added.sha
    url = f"{hub.endpoint}/{repo.path}/commit/{added.sha}"
    return JSONResponse({"success": True, "commitOid": added.sha, "commitUrl": url, "hookOutput": ""})


def _branch_head(repo: Repo, branch: str) -> Commit:
    if branch not in repo.branches:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound", {"X-Repo-Commit": repo.head.sha})
    return repo.commits[repo.branches[branch]]


async def validate_yaml(request: Request) -> Response:
    """Check the YAML block of a model or data-set card."""
    content = str((await body(request)).get("content", ""))
    block = content[4:].split("\n---", 1)[0] if content.startswith("---\n") else ""
    try:
        parsed = yaml.safe_load(block)
    except yaml.YAMLError as error:
        return PlainTextResponse(f"Invalid YAML: {error}", 400)
    if not isinstance(parsed, dict | None):
        return PlainTextResponse("Metadata must be a mapping", 400)
    return JSONResponse({"errors": [], "warnings": []})


async def move(request: Request) -> Response:
    """Rename a repository."""
    hub, token, wanted = state(request), signed_in(request), await body(request)
    repo_type, old, new = str(wanted.get("type") or "model"), str(wanted["fromRepo"]), str(wanted["toRepo"])
    repo = hub.repos.writable(repo_type, old, token)
    if not hub.accounts.may_write(token, repo_type, new):
        raise missing_permission(new.split("/", maxsplit=1)[0], "repo.write")
    if (repo_type, new) in hub.repos.repos:
        raise HubError(409, f"{new} already exists")
    repo.id = new
    hub.repos.repos[repo_type, new] = hub.repos.repos.pop((repo_type, old))
    return JSONResponse({})


REPO = "/api/{kind}/{ns}/{name}"
ROUTES = [
    Route("/api/repos/create", create, methods=["POST"]),
    Route("/api/repos/delete", delete, methods=["DELETE"]),
    Route("/api/repos/move", move, methods=["POST"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route(f"{REPO}/settings", settings, methods=["PUT"]),
    Route(f"{REPO}/branch/{{ref:path}}", add_branch, methods=["POST"]),
    Route(f"{REPO}/branch/{{ref:path}}", delete_branch, methods=["DELETE"]),
    Route(f"{REPO}/tag/{{ref:path}}", add_tag, methods=["POST"]),
    Route(f"{REPO}/tag/{{ref:path}}", delete_tag, methods=["DELETE"]),
    Route(f"{REPO}/preupload/{{rev:path}}", preupload, methods=["POST"]),
    Route(f"{REPO}/commit/{{rev:path}}", commit, methods=["POST"]),
]
