"""Contents of repositories: resolve, large-file storage, safetensors headers."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError
from tests.hub.repo_store import Repo, RepoFile
from tests.hub.repo_views import safetensors_header
from tests.hub.web import body, caller, full_id, kind, param, state


def _readable(request: Request) -> Repo:
    return state(request).repos.readable(kind(request), full_id(request), caller(request))


def _content_headers(request: Request, repo: Repo, commit_sha: str, file: RepoFile) -> dict[str, str]:
    headers = {"X-Repo-Commit": commit_sha, "ETag": f'"{file.oid}"', "X-Linked-Size": str(file.size)}
    if not file.lfs:
        return headers
    refresh = f"{state(request).endpoint}/api/{repo.type}s/{repo.id}/xet-read-token/{commit_sha}"
    return headers | {
        "ETag": f'"{file.sha256}"',
        "X-Linked-Etag": f'"{file.sha256}"',
        "X-Xet-Hash": state(request).xet.hash_of(file.sha256),
        "X-Xet-Refresh-Route": refresh,
        "Link": f'<{refresh}>; rel="xet-auth"',
    }


async def resolve(request: Request) -> Response:
    """Send a file of a revision, whole or in part."""
    repo = _readable(request)
    commit = repo.revision(param(request, "rev"))
    file = commit.files.get(param(request, "path"))
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.sha})
    headers, storage = _content_headers(request, repo, commit.sha, file), state(request).storage
    if file.lfs and storage.endpoint:
        link = f"{storage.endpoint}/lfs-storage/{file.sha256}?X-Amz-Signature={storage.signature}"
        return Response(status_code=302, headers={**headers, "Location": link})
    return FileResponse(state(request).blobs.path(file.sha256), headers=headers, media_type="application/octet-stream")


async def lfs_batch(request: Request) -> Response:
    """Tell a client which objects it has to upload, and where."""
    hub = state(request)
    repo = hub.repos.writable(kind(request), full_id(request), caller(request))
    objects = list[dict[str, Any]]()
    for wanted in (await body(request)).get("objects", []):
        answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.blobs:
            upload = {"href": f"{hub.endpoint}/lfs-storage/{wanted['oid']}"}
            verify = {"href": f"{hub.endpoint}/{repo.path}.git/info/lfs/objects/verify"}
            answer["actions"] = {"upload": upload, "verify": verify}
        objects.append(answer)
    return JSONResponse(
        {"transfer": "basic", "objects": objects}, headers={"Content-Type": "application/vnd.git-lfs+json"}
    )


async def lfs_upload(request: Request) -> Response:
    """Take one object; like a pre-signed address, it asks for no token."""
    sha256 = await state(request).blobs.add_stream(request.stream())
    if sha256 != param(request, "oid"):
        raise HubError(400, "The content does not have the promised SHA-256")
    return Response()


async def lfs_download(request: Request) -> Response:
    """Send one object, whole or in part, to whoever has a link that is still valid and shows nothing else."""
    hub, sha256 = state(request), param(request, "oid")
    if "authorization" in request.headers:
        raise HubError(400, "Only one auth mechanism allowed")
    if request.query_params.get("X-Amz-Signature") != hub.storage.signature or sha256 not in hub.blobs:
        raise HubError(403, "Request has expired")
    return FileResponse(hub.blobs.path(sha256), media_type="application/octet-stream")


async def lfs_verify(request: Request) -> Response:
    """Confirm that an uploaded object is there with its size."""
    wanted, blobs = await body(request), state(request).blobs
    if wanted["oid"] not in blobs or blobs.size(wanted["oid"]) != wanted["size"]:
        raise HubError(404, "Object not found")
    return JSONResponse({})


async def safetensors_metadata(request: Request) -> Response:
    """Send the headers of all shards that an index file names."""
    hub, files = state(request), _readable(request).head.files
    index_file = files.get(param(request, "path"))
    if index_file is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    index = json.loads(hub.blobs.read(index_file.sha256))
    shards = sorted(set(index.pop("weight_map", {}).values()))
    headers = {shard: safetensors_header(hub.blobs, files[shard].sha256) for shard in shards}
    return JSONResponse({"index": index, "headers": headers})


BATCH = "/{ns}/{name}.git/info/lfs/objects/batch"
VERIFY = "/{ns}/{name}.git/info/lfs/objects/verify"
RESOLVE = "/{ns}/{name}/resolve/{rev}/{path:path}"
ROUTES = [
    Route("/lfs-storage/{oid}", lfs_upload, methods=["PUT"]),
    Route("/lfs-storage/{oid}", lfs_download, methods=["GET", "HEAD"]),
    *(Route(prefix + BATCH, lfs_batch, methods=["POST"]) for prefix in ("", "/{kind}")),
    *(Route(prefix + VERIFY, lfs_verify, methods=["POST"]) for prefix in ("", "/{kind}")),
    *(Route(prefix + RESOLVE, resolve, methods=["GET", "HEAD"]) for prefix in ("/{kind}", "")),
    Route("/api/{kind}/{ns}/{name}/safetensors-metadata/{path:path}", safetensors_metadata),
]
