"""The ASGI application: all routes of one emulated Hub."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.hub import buckets, cas, identity, inference, jobs, repo_content, repo_info, repo_write, spaces, viewer
from tests.hub.errors import HubError, handle_hub_error
from tests.hub.http_server import Connections
from tests.hub.middleware import FaultsAndLog
from tests.hub.state import HubState
from tests.hub.web import ENCODED_SLASH

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class KeepEncodedSlashes:
    """ASGI middleware that lets a path parameter contain an encoded slash, as revisions do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        raw: bytes | None = scope.get("raw_path")
        if raw is not None and b"%2f" in raw.lower():
            segments = raw.decode("ascii").partition("?")[0].split("/")
            scope = {**scope, "path": "/".join(unquote(s).replace("/", ENCODED_SLASH) for s in segments)}
        await self._app(scope, receive, send)


async def telemetry(_: Request) -> Response:
    """Accept what clients report about themselves, and forget it."""
    return Response()


async def unknown(request: Request) -> Response:
    """Refuse what the emulated Hub does not have."""
    raise HubError(404, f"The emulated Hub has no {request.method} {request.url.path}")


def create_app(hub: HubState, connections: Connections) -> Starlette:
    """Build the application around the state of a Hub."""
    routes = [
        Route("/api/telemetry/{path:path}", telemetry),
        *identity.ROUTES,
        *inference.ROUTES,
        *jobs.ROUTES,
        *cas.ROUTES,
        *buckets.ROUTES,
        *spaces.ROUTES,
        *viewer.ROUTES,
        *repo_write.ROUTES,
        *repo_content.ROUTES,
        *repo_info.ROUTES,
        Route("/{path:path}", unknown, methods=METHODS),
    ]
    middleware = [Middleware(FaultsAndLog, hub=hub, connections=connections), Middleware(KeepEncodedSlashes)]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HubError: handle_hub_error})
    app.state.hub = hub
    return app
