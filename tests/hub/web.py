"""What all handlers share: the state, the caller, JSON bodies, pages of long lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.hub.accounts import Token
from tests.hub.errors import HubError, bad_credentials
from tests.hub.state import HubState

Item = TypeVar("Item")
ENCODED_SLASH = "\x1f"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


def state(request: Request) -> HubState:
    """Return the Hub that answers a request."""
    found: HubState = request.app.state.hub
    return found


def caller(request: Request) -> Token | None:
    """Return the caller's token, None for an anonymous request."""
    return state(request).accounts.authenticate(request.headers.get("authorization"))


def signed_in(request: Request) -> Token:
    """Return the caller's token and refuse an anonymous request."""
    token = caller(request)
    if token is None:
        raise bad_credentials()
    return token


def param(request: Request, name: str) -> str:
    """Return a path parameter, with the slashes that came encoded."""
    return str(request.path_params[name]).replace(ENCODED_SLASH, "/")


def full_id(request: Request) -> str:
    """Return the "namespace/name" of the path, with "me" for the caller's own namespace."""
    namespace = param(request, "ns")
    if namespace == "me":
        namespace = signed_in(request).user.name
    return f"{namespace}/{param(request, 'name')}"


def kind(request: Request) -> str:
    """Return the repository type of the path: a path without one is about a model."""
    name = str(request.path_params.get("kind", "models"))
    if name not in KINDS:
        raise HubError(404, "Sorry, we can't find the page you are looking for.")
    return KINDS[name]


async def body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request body; no body is an empty object."""
    raw = await request.body()
    try:
        parsed = json.loads(raw or b"{}")
    except ValueError:
        raise HubError(400, "Invalid JSON body") from None
    if not isinstance(parsed, dict):
        raise HubError(400, "Expected a JSON object")
    return parsed  # pyright: ignore[reportUnknownVariableType] - JSON has no static type


def ndjson(raw: bytes) -> list[dict[str, Any]]:
    """Return the objects of a body with one JSON value per line."""
    try:
        return [json.loads(line) for line in raw.splitlines() if line.strip()]
    except ValueError:
        raise HubError(400, "Invalid NDJSON body") from None


def flag(request: Request, name: str) -> bool:
    """Return a query parameter that is a yes or no."""
    return request.query_params.get(name, "").lower() in {"1", "true"}


def page(request: Request, items: Sequence[Item], size: int) -> tuple[Sequence[Item], dict[str, str]]:
    """Cut one page out of a list, with the Link header that leads to the next."""
    offset = int(request.query_params.get("cursor", "0"))
    if offset + size >= len(items):
        return items[offset:], {}
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    link = f"{state(request).endpoint}{request.url.path}?{urlencode([*query, ('cursor', str(offset + size))])}"
    return items[offset : offset + size], {"Link": f'<{link}>; rel="next"'}


def paged(request: Request, items: Sequence[dict[str, Any]]) -> Response:
    """Answer with one page of a list."""
    shown, headers = page(request, items, state(request).page_size)
    return JSONResponse(list(shown), headers=headers)
