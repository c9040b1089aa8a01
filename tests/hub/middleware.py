"""Around every request: the log entry, and the fault that was armed for it."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.hub.errors import HubError, error_response
from tests.hub.faults import Fault
from tests.hub.http_server import Connections
from tests.hub.request_log import LoggedRequest
from tests.hub.state import HubState

WINDOW_S = 300


def _fault_answer(fault: Fault) -> HubError:
    headers = dict[str, str]()
    if fault.status == 429:
        wait = fault.retry_after or 1
        headers["RateLimit"] = f'"api";r=0;t={wait}'
        headers["RateLimit-Policy"] = f'"fixed window";"api";q=1000;w={WINDOW_S}'
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    return HubError(fault.status, fault.message, fault.error_code, headers)


class FaultsAndLog:
    """ASGI middleware that logs each request and lets armed faults happen."""

    def __init__(self, app: ASGIApp, hub: HubState, connections: Connections) -> None:
        self._app = app
        self._hub = hub
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        entry = self._entry(scope)

        # The server's own Date is renewed by a timer and late on a busy machine; log readers compare it with events.
        async def record(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message["headers"], (b"date", formatdate(usegmt=True).encode())]
            elif message["type"] == "http.response.body":
                entry.sent += len(message.get("body", b""))
            await send(message)

        fault = self._hub.faults.take(scope["method"], scope["path"])
        with self._hub.log.answering(entry):
            if fault is None:
                return await self._app(scope, receive, record)
            return await self._fail(fault, scope, receive, record)

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.delay_s)
            await self._app(scope, receive, send)
        elif fault.kind == "status":
            await error_response(_fault_answer(fault))(scope, receive, send)
        else:
            if fault.kind == "drop_after":
                await self._app(scope, receive, _swallow)
            await self._drop(scope, receive)

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        """Reset the connection and wait until the server has noticed."""
        self._connections[tuple(scope["client"])].abort()
        while (await receive())["type"] != "http.disconnect":
            pass

    def _entry(self, scope: Scope) -> LoggedRequest:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            token = self._hub.accounts.authenticate(headers.get(b"authorization"))
        except HubError:
            token = None
        return LoggedRequest(
            scope["method"],
            scope["path"],
            scope["query_string"].decode(),
            token.user.name if token else None,
            host=headers.get(b"host", ""),
            range=headers.get(b"range", ""),
            has_token=b"authorization" in headers,
        )


async def _swallow(message: dict[str, Any] | Message) -> None:
    """Throw an answer away."""
