"""The Xet storage's own API, and the tokens that give access to it."""

from __future__ import annotations

import re
from time import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError
from tests.hub.web import caller, full_id, kind, param, state

TOKEN_LIFE_S = 3600
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def _span(request: Request) -> tuple[int, int | None]:
    match = RANGE.fullmatch(request.headers.get("range", "bytes=0-"))
    if match is None:
        raise HubError(416, "Range not satisfiable")
    return int(match[1]), int(match[2]) if match[2] else None


def _connection(request: Request, *, write: bool) -> Response:
    hub = state(request)
    url, token, expires = f"{hub.endpoint}/cas", hub.xet.grant(write=write), int(time()) + TOKEN_LIFE_S
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return JSONResponse({"casUrl": url, "exp": expires, "accessToken": token}, headers=headers)


async def repo_write_token(request: Request) -> Response:
    """Let a caller who may change the repository upload."""
    state(request).repos.writable(kind(request), full_id(request), caller(request))
    return _connection(request, write=True)


async def repo_read_token(request: Request) -> Response:
    """Let a caller who may read the repository download."""
    state(request).repos.readable(kind(request), full_id(request), caller(request))
    return _connection(request, write=False)


async def bucket_write_token(request: Request) -> Response:
    """Let a caller who may change the bucket upload."""
    state(request).buckets.writable(full_id(request), caller(request))
    return _connection(request, write=True)


async def bucket_read_token(request: Request) -> Response:
    """Let a caller who may read the bucket download."""
    state(request).buckets.readable(full_id(request), caller(request))
    return _connection(request, write=False)


async def put_xorb(request: Request) -> Response:
    """Keep a xorb."""
    xet = state(request).xet
    xet.check(request.headers.get("authorization"), write=True)
    xet.add_xorb(param(request, "hash"), await request.body())
    return JSONResponse({"was_inserted": True})


async def put_shard(request: Request) -> Response:
    """Register the files of a shard."""
    xet = state(request).xet
    xet.check(request.headers.get("authorization"), write=True)
    xet.add_shard(await request.body())
    return JSONResponse({"result": 1})


async def reconstruction(request: Request) -> Response:
    """Say which chunks make up a file."""
    hub = state(request)
    hub.xet.check(request.headers.get("authorization"), write=False)
    return JSONResponse(hub.xet.reconstruction(param(request, "hash"), f"{hub.endpoint}/cas/xorb", _span(request)))


async def xorb_bytes(request: Request) -> Response:
    """Send a span of a xorb; like a pre-signed address, it asks for no token."""
    start, last = _span(request)
    content = state(request).xet.framed(param(request, "hash"), start, last if last is not None else 1 << 62)
    span = f"bytes {start}-{start + len(content) - 1}/*"
    return Response(content, 206, {"Content-Range": span}, media_type="application/octet-stream")


REPO = "/api/{kind}/{ns}/{name}"
BUCKET = "/api/buckets/{ns}/{name}"
ROUTES = [
    Route(f"{BUCKET}/xet-write-token", bucket_write_token),
    Route(f"{BUCKET}/xet-read-token", bucket_read_token),
    Route(f"{REPO}/xet-write-token/{{rev:path}}", repo_write_token),
    Route(f"{REPO}/xet-read-token/{{rev:path}}", repo_read_token),
    Route("/cas/v1/xorbs/default/{hash}", put_xorb, methods=["POST"]),
    Route("/cas/v1/shards", put_shard, methods=["POST"]),
    Route("/cas/v1/reconstructions/{hash}", reconstruction),
    Route("/cas/xorb/{hash}", xorb_bytes),
]
