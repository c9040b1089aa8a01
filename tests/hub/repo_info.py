"""Reading about repositories: info, search, tree, paths, refs, commits, access."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError
from tests.hub.repo_store import Commit, Repo
from tests.hub.repo_views import card_data, commit_view, expanded, file_view, repo_view, sized
from tests.hub.state import HubState
from tests.hub.web import caller, flag, full_id, kind, paged, param, state


def visible_repo(request: Request) -> Repo:
    """Find the repository of a request for a caller who may know about it."""
    return state(request).repos.visible(kind(request), full_id(request), caller(request))


def writable_repo(request: Request) -> Repo:
    """Find the repository of a request for a caller who may change it."""
    return state(request).repos.writable(kind(request), full_id(request), caller(request))


def _expand(request: Request) -> list[str]:
    return request.query_params.getlist("expand") + request.query_params.getlist("expand[]")


def _convert(hub: HubState, repo: Repo) -> None:
    """Make the Parquet form of a data set, which the real Hub does some time after a commit."""
    splits = hub.viewer.splits(repo.head, card_data(hub, repo.head))
    if splits:
        hub.viewer.convert(repo, splits)


async def info(request: Request) -> Response:
    """Describe a repository, at a revision if one is named."""
    repo, hub = visible_repo(request), state(request)
    revision = param(request, "rev") if "rev" in request.path_params else "main"
    if repo.type == "dataset" and revision == CONVERTED:
        _convert(hub, repo)
    commit = repo.revision(revision)
    view = repo_view(hub, repo, commit)
    return JSONResponse(sized(hub, view, commit) if flag(request, "blobs") else expanded(view, _expand(request)))


def _matches(repo: Repo, request: Request) -> bool:
    query = request.query_params
    search, author = query.get("search", "").lower(), query.get("author")
    gated = query.get("gated")
    return (
        all(word in repo.id.lower() for word in search.split())
        and author in {None, repo.namespace}
        and (gated is None or bool(repo.gated) == flag(request, "gated"))
    )


async def search(request: Request) -> Response:
    """List the repositories that match a search, most recently changed first."""
    hub, token = state(request), caller(request)
    wanted = kind(request)
    found = [
        repo
        for repo in hub.repos.repos.values()
        if repo.type == wanted
        and _matches(repo, request)
        and (not repo.private or hub.accounts.may_read(token, repo.type, repo.id))
    ]
    found.sort(key=lambda repo: repo.head.date, reverse=True)
    limit = int(request.query_params.get("limit", len(found)))
    return paged(request, [expanded(repo_view(hub, repo, repo.head), _expand(request)) for repo in found[:limit]])


def _folder(path: str) -> dict[str, Any]:
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "path": path, "oid": oid, "size": 0}


def _folders(paths: list[str], prefix: str) -> set[str]:
    """Return all folders below a prefix that hold the given files."""
    folders = set[str]()
    for path in paths:
        parts = path.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    return {folder for folder in folders if folder.startswith(prefix)}


def tree_entries(request: Request, commit: Commit, path: str) -> list[dict[str, Any]]:
    """List the folders and files below a path of a commit."""
    prefix = f"{path}/" if path else ""
    files = [name for name in sorted(commit.files) if name.startswith(prefix)]
    if path and not files:
        raise HubError(404, f'{path} does not exist on "{param(request, "rev")}"', "EntryNotFound")
    everything = sorted([*_folders(files, prefix), *files])
    if not flag(request, "recursive"):
        everything = [name for name in everything if "/" not in name[len(prefix) :]]
    last = {"id": commit.sha, "title": commit.title, "date": commit_view(commit)["date"]}
    extra: dict[str, Any] = {"lastCommit": last} if flag(request, "expand") else {}
    hub = state(request)
    return [
        {**(file_view(hub, name, commit.files[name]) if name in commit.files else _folder(name)), **extra}
        for name in everything
    ]


async def tree(request: Request) -> Response:
    """List the files of a revision, one folder or recursively."""
    commit = visible_repo(request).revision(param(request, "rev"))
    path = param(request, "path") if "path" in request.path_params else ""
    return paged(request, tree_entries(request, commit, path.strip("/")))


async def paths_info(request: Request) -> Response:
    """Describe the named paths; those that do not exist are left out."""
    commit = visible_repo(request).revision(param(request, "rev"))
    if "json" in request.headers.get("content-type", ""):
        paths = [str(path) for path in (await request.json())["paths"]]
    else:
        paths = [str(path) for path in (await request.form()).getlist("paths")]
    folders, entries = _folders(list(commit.files), ""), list[dict[str, Any]]()
    for path in paths:
        if path in commit.files:
            entries.append(file_view(state(request), path, commit.files[path]))
        elif path.strip("/") in folders:
            entries.append(_folder(path.strip("/")))
    return JSONResponse(entries)


async def refs(request: Request) -> Response:
    """List branches, conversions and tags."""
    repo = visible_repo(request)

    def view(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"{prefix}/{name}", "targetCommit": sha} for name, sha in names.items()]

    answer = {
        "branches": view(repo.branches, "refs/heads"),
        "converts": view(repo.converts, "refs/convert"),
        "tags": view(repo.tags, "refs/tags"),
        "pullRequests": list[object](),
    }
    return JSONResponse(answer)


async def commits(request: Request) -> Response:
    """List the history of a revision, newest first."""
    repo = visible_repo(request)
    history = repo.history(repo.revision(param(request, "rev")))
    return paged(request, [commit_view(commit) for commit in history])


async def auth_check(request: Request) -> Response:
    """Say whether the caller may read a repository's content."""
    state(request).repos.readable(kind(request), full_id(request), caller(request))
    return JSONResponse({})


async def auth_check_write(request: Request) -> Response:
    """Say whether the caller may change a repository."""
    writable_repo(request)
    return JSONResponse({})


CONVERTED = "refs/convert/parquet"
REPO = "/api/{kind}/{ns}/{name}"
ROUTES = [
    Route("/api/{kind}", search),
    Route(REPO, info),
    Route(f"{REPO}/revision/{{rev:path}}", info),
    Route(f"{REPO}/auth-check", auth_check),
    Route(f"{REPO}/auth-check/write", auth_check_write),
    Route(f"{REPO}/tree/{{rev}}", tree),
    Route(f"{REPO}/tree/{{rev}}/{{path:path}}", tree),
    Route(f"{REPO}/paths-info/{{rev:path}}", paths_info, methods=["POST"]),
    Route(f"{REPO}/refs", refs),
    Route(f"{REPO}/commits/{{rev:path}}", commits),
]
