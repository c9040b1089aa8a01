"""The bucket API."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tests.hub.bucket_store import Bucket, BucketFile
from tests.hub.clock import isoformat
from tests.hub.errors import HubError, missing_permission
from tests.hub.web import body, caller, flag, full_id, ndjson, paged, param, signed_in, state


def _readable(request: Request) -> Bucket:
    return state(request).buckets.readable(full_id(request), caller(request))


def _writable(request: Request) -> Bucket:
    return state(request).buckets.writable(full_id(request), caller(request))


def _view(bucket: Bucket) -> dict[str, Any]:
    sizes = bucket.sizes()
    return {
        "_id": bucket.internal_id,
        "id": bucket.id,
        "author": bucket.id.split("/")[0],
        "private": bucket.private,
        "createdAt": isoformat(bucket.created),
        "size": sum(sizes.values()),
        "totalFiles": len(sizes),
    }


def _file_view(file: BucketFile) -> dict[str, Any]:
    moment = isoformat(file.mtime)
    view = {"type": "file", "path": file.path, "size": file.size, "xetHash": file.xet_hash}
    return {**view, "mtime": moment, "uploadedAt": moment}


async def create(request: Request) -> Response:
    """Create a bucket in a namespace where the caller may."""
    hub, token, bucket_id = state(request), signed_in(request), full_id(request)
    if not hub.accounts.may_write(token, "bucket", bucket_id):
        raise missing_permission(bucket_id.split("/")[0], "repo.write")
    url = f"{hub.endpoint}/buckets/{bucket_id}"
    private = (await body(request)).get("visibility") == "private"
    # Nothing is waited for between the look and the making: of two requests at once one makes it.
    if bucket_id in hub.buckets.buckets:
        return JSONResponse({"error": "You already created this bucket", "url": url}, 409)
    bucket = hub.buckets.create(bucket_id, token.user.name, private=private)
    return JSONResponse({"url": url, "name": bucket_id, "id": bucket.internal_id})


async def info(request: Request) -> Response:
    """Describe a bucket."""
    return JSONResponse(_view(_readable(request)))


async def listing(request: Request) -> Response:
    """List the buckets of a namespace that the caller may see."""
    hub, token, namespace = state(request), caller(request), param(request, "ns")
    if namespace == "me":
        namespace = signed_in(request).user.name
    search = request.query_params.get("search", "")
    return paged(
        request,
        [
            _view(bucket)
            for bucket in hub.buckets.buckets.values()
            if bucket.id.startswith(f"{namespace}/")
            and search in bucket.id
            and (not bucket.private or hub.accounts.may_read(token, "bucket", bucket.id))
        ],
    )


async def delete(request: Request) -> Response:
    """Delete a bucket with its files."""
    state(request).buckets.delete(_writable(request))
    return JSONResponse({})


async def settings(request: Request) -> Response:
    """Change who may see a bucket."""
    bucket, wanted = _writable(request), await body(request)
    bucket.private = bool(wanted.get("private", bucket.private))
    return JSONResponse({"private": bucket.private})


async def tree(request: Request) -> Response:
    """List the files that start with a prefix; without recursion folders stand for what they hold."""
    bucket, prefix = _readable(request), param(request, "prefix") if "prefix" in request.path_params else ""
    files = [_file_view(file) for file in state(request).buckets.entries(bucket, prefix)]
    if flag(request, "recursive"):
        return paged(request, files)
    base = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    shown = dict[str, dict[str, Any]]()
    for file in files:
        head, slash, _ = file["path"].removeprefix(base).partition("/")
        path = base + head if file["path"].startswith(base) else file["path"]
        folder = {"type": "directory", "path": path, "uploadedAt": file["uploadedAt"]}
        shown.setdefault(path, folder if slash else file)
    return paged(request, list(shown.values()))


async def paths_info(request: Request) -> Response:
    """Describe the named files; those that do not exist are left out."""
    bucket, buckets = _readable(request), state(request).buckets
    found = (buckets.entry(bucket, str(path)) for path in (await body(request)).get("paths", []))
    return JSONResponse([_file_view(file) for file in found if file is not None])


def _apply(request: Request, bucket: Bucket, operation: dict[str, Any]) -> None:
    buckets, path = state(request).buckets, str(operation.get("path", ""))
    if operation["type"] in {"addFile", "copyFile"}:
        buckets.put(bucket, path, operation["xetHash"], operation.get("mtime"))
    elif operation["type"] == "deleteFile":
        buckets.remove(bucket, path)
    else:
        raise HubError(400, f"Unknown operation: {operation['type']}")


async def batch(request: Request) -> Response:
    """Add, copy and delete files; what fails is listed, the rest is done."""
    bucket, failed = _writable(request), list[dict[str, str]]()
    operations = ndjson(await request.body())
    for operation in operations:
        try:
            _apply(request, bucket, operation)
        except HubError as error:
            failed.append({"path": str(operation.get("path")), "error": error.message})
    done = len(operations) - len(failed)
    answer = {"success": not failed, "processed": len(operations), "succeeded": done, "failed": failed}
    return JSONResponse(answer, 422 if failed and not done else 200)


async def resolve(request: Request) -> Response:
    """Send a file, whole or in part."""
    hub, bucket = state(request), _readable(request)
    file = hub.buckets.entry(bucket, param(request, "path"))
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound")
    refresh = f"{hub.endpoint}/api/buckets/{bucket.id}/xet-read-token"
    headers = {
        "ETag": f'"{file.sha256}"',
        "X-Linked-Size": str(file.size),
        "X-Xet-Hash": file.xet_hash,
        "X-Xet-Refresh-Route": refresh,
        "Link": f'<{refresh}>; rel="xet-auth"',
    }
    return FileResponse(hub.blobs.path(file.sha256), headers=headers, media_type="application/octet-stream")


BUCKET = "/api/buckets/{ns}/{name}"
ROUTES = [
    Route("/api/buckets/{ns}", listing),
    Route(BUCKET, create, methods=["POST"]),
    Route(BUCKET, info),
    Route(BUCKET, delete, methods=["DELETE"]),
    Route(f"{BUCKET}/settings", settings, methods=["PUT"]),
    Route(f"{BUCKET}/tree", tree),
    Route(f"{BUCKET}/tree/{{prefix:path}}", tree),
    Route(f"{BUCKET}/paths-info", paths_info, methods=["POST"]),
    Route(f"{BUCKET}/batch", batch, methods=["POST"]),
    Route("/buckets/{ns}/{name}/resolve/{path:path}", resolve, methods=["GET", "HEAD"]),
]
