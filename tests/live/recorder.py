"""A loopback door to a Hub that notes what the Jobs API answers, so that the emulated Hub can be corrected from it."""

import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.hub.http_server import PromptServer

NOTED = "/api/jobs/"
MOST_BYTES = 200_000
METHODS = ["DELETE", "GET", "HEAD", "POST", "PUT"]
NOT_PASSED_ON = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding"}
NOTED_HEADERS = ("content-type", "link", "ratelimit", "ratelimit-policy", "retry-after", "x-error-code", "x-request-id")
TOKEN = re.compile(r"\bhf_\w{8,}")


class Recorder:
    """Passes requests on to `endpoint` and writes the answers of the Jobs API to `path`, one JSON object a line."""

    def __init__(self, endpoint: str, path: Path, client: httpx2.AsyncClient) -> None:
        self._hub = endpoint.rstrip("/")
        self._path = path
        self._client = client

    async def answer(self, request: Request) -> StreamingResponse:
        """Return what the Hub answers, as it comes."""
        path = request.scope["raw_path"].decode()
        query = f"?{request.url.query}" if request.url.query else ""
        headers = {name: value for name, value in request.headers.items() if name not in NOT_PASSED_ON}
        sent = self._client.build_request(
            request.method, f"{self._hub}{path}{query}", headers=headers, content=await request.body()
        )
        response = await self._client.send(sent, stream=True)
        kept = {name: value for name, value in response.headers.items() if name.lower() not in NOT_PASSED_ON}
        kept.pop("content-encoding", None)
        body = self._noted(f"{request.method} {path}{query}", response)
        return StreamingResponse(body, response.status_code, kept)

    async def _noted(self, asked: str, response: httpx2.Response) -> AsyncIterator[bytes]:
        seen = bytearray()
        try:
            async with aclosing(response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    seen += chunk[: max(0, MOST_BYTES - len(seen))]
                    yield chunk
        finally:
            if NOTED in asked:
                self._note(asked, response, bytes(seen))
            with anyio.CancelScope(shield=True):
                await response.aclose()

    def _note(self, asked: str, response: httpx2.Response, body: bytes) -> None:
        entry = {
            "at": datetime.now(UTC).isoformat(),
            "request": asked,
            "status": response.status_code,
            "headers": {name: response.headers[name] for name in NOTED_HEADERS if name in response.headers},
            "body": _readable(body),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(TOKEN.sub("***", json.dumps(entry)) + "\n")


@asynccontextmanager
async def recording(endpoint: str, path: Path) -> AsyncGenerator[str]:
    """Open the door to a Hub and return its address."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    timeout = httpx2.Timeout(60, read=None)
    with listener:
        async with httpx2.AsyncClient(timeout=timeout) as client, anyio.create_task_group() as group:
            recorder = Recorder(endpoint, path, client)
            app = Starlette(routes=[Route("/{path:path}", recorder.answer, methods=METHODS)])
            server = PromptServer(uvicorn.Config(app, ws="none", lifespan="off", log_config=None, date_header=False))
            group.start_soon(server.serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.stop()


def _readable(body: bytes) -> Any:
    """Return JSON as what it says, anything else as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
