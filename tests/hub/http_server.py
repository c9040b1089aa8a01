"""The HTTP server below the application: it knows its connections, and stops at once."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from socket import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

Connections = MutableMapping[tuple[str, int], asyncio.Transport]
GRACE_S = 2.0


def tracking_protocol(connections: Connections) -> type[H11Protocol]:
    """Return a server protocol that remembers its open connections by the client's address."""

    class TrackingProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self.client is not None:
                connections[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.client is not None:
                connections.pop(self.client, None)

    return TrackingProtocol


class PromptServer(uvicorn.Server):
    """A server that stops when it is told to, not at its next tick, and waits for no client."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin to stop."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wait until told to stop."""
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Close listeners and connections, letting answers that are being sent finish."""
        for server in self.servers:
            server.close()
        connections, tasks = list(self.server_state.connections), list(self.server_state.tasks)
        for connection in connections:
            connection.shutdown()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE_S)
            for task in late:
                task.cancel()
        for connection in connections:
            connection.transport.abort()
        await asyncio.sleep(0)
        for server in self.servers:
            await server.wait_closed()
