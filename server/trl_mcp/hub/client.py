"""Plain requests to the Hub's API: one endpoint, the caller's token in each, reads repeated when they fail.

What a client library would do in a thread that nobody can stop is done here with deadlines; answers are read tolerantly.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from trl_mcp import __version__
from trl_mcp.errors import InvalidArguments
from trl_mcp.hub import faults
from trl_mcp.hub.fields import items

Sleep = Callable[[float], Awaitable[None]]
Query = tuple[tuple[str, str], ...]
_TIMEOUT = httpx2.Timeout(10, connect=5)
_DEADLINE_S = 15
_PAUSES_S = (0.3, 1.0)
_LONGEST_PAUSE_S = 5.0
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `doing` completes "cannot ..."; answers with a status in `tolerate` are returned, not raised.

    `anonymous` requests go out without a token where none is given.
    """

    doing: str
    path: str
    method: str = "GET"
    params: Query = ()
    json: Any = None
    content: bytes | None = None
    tolerate: frozenset[int] = frozenset()
    anonymous: bool = False


class HubClient:
    """Speaks to one endpoint over connections it keeps open until `aclose`; `sleep` waits for seconds."""

    def __init__(self, endpoint: str, sleep: Sleep = anyio.sleep) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise InvalidArguments(
                "HF_ENDPOINT is no address of a Hub.", allowed="It is a URL such as https://huggingface.co."
            )
        self.endpoint = endpoint.rstrip("/")
        self.sleep = sleep
        self._http: httpx2.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def answer(self, token: str | None, ask: Ask) -> httpx2.Response:
        """Return the answer to a request that may be repeated: tried three times, 15 s in all.

        Raises HubError or NotFound for what the answer refuses.
        """
        request = self._request(token, ask)
        with anyio.move_on_after(_DEADLINE_S):
            return await self._answer(request, ask)
        raise faults.unreachable(ask.doing, f"it did not answer within {_DEADLINE_S} s")

    async def json(self, token: str | None, ask: Ask) -> Any:
        """Return the JSON of an answer, as `answer` does; raises HubUnreachable where it is none."""
        return self.read_json(await self.answer(token, ask), ask)

    async def send(self, token: str | None, ask: Ask, timeout_s: float) -> httpx2.Response:
        """Send a request once and return the answer, whatever it is. Raises httpx2.RequestError."""
        return await self._open().send(self._request(token, ask, httpx2.Timeout(timeout_s, connect=5)))

    async def pages(self, token: str, ask: Ask) -> AsyncGenerator[Any]:
        """Return the entries of a long list, one page after another as they are asked for."""
        for _ in range(_MOST_PAGES):
            response = await self.answer(token, ask)
            for entry in items({"page": self.read_json(response, ask)}, "page"):
                yield entry
            following = urlsplit(response.links.get("next", {}).get("url", ""))
            if not following.query:
                return
            query = httpx2.QueryParams(following.query).multi_items()
            ask = Ask(ask.doing, ask.path, params=tuple(query), tolerate=ask.tolerate)

    @asynccontextmanager
    async def stream(self, token: str, ask: Ask) -> AsyncGenerator[httpx2.Response]:
        """Open a stream of events. Raises HubError or NotFound; httpx2.RequestError while it is read."""
        request = self._request(token, ask, httpx2.Timeout(None, connect=5, pool=5))
        request.headers["Accept"] = "text/event-stream"
        try:
            response = await self._open().send(request, stream=True)
        except httpx2.RequestError as error:
            raise faults.unreachable(ask.doing, error) from None
        try:
            if not response.is_success and response.status_code not in ask.tolerate:
                await response.aread()
                raise self.refusal(response, ask)
            yield response
        finally:
            await response.aclose()

    def refusal(self, response: httpx2.Response, ask: Ask) -> Exception:
        """Return the error that an answer means."""
        return faults.refusal(response, ask.doing, self.endpoint)

    def read_json(self, response: httpx2.Response, ask: Ask) -> Any:
        """Return the JSON of an answer. Raises HubUnreachable where it is none: something else stands in between."""
        try:
            return response.json()
        except ValueError:
            raise faults.unreachable(ask.doing, "what answers at its address does not speak its language") from None

    async def _answer(self, request: httpx2.Request, ask: Ask) -> httpx2.Response:
        for pause in _PAUSES_S:
            try:
                response = await self._open().send(request)
            except httpx2.RequestError:
                await self.sleep(pause)
                continue
            wait = _wait_before_repeat(response, pause)
            if wait is None or response.status_code in ask.tolerate:
                return self._checked(response, ask)
            await self.sleep(wait)
        try:
            return self._checked(await self._open().send(request), ask)
        except httpx2.RequestError as error:
            raise faults.unreachable(ask.doing, error) from None

    def _checked(self, response: httpx2.Response, ask: Ask) -> httpx2.Response:
        if response.is_success or response.status_code in ask.tolerate:
            return response
        raise self.refusal(response, ask)

    def _request(self, token: str | None, ask: Ask, timeout: httpx2.Timeout = _TIMEOUT) -> httpx2.Request:
        return self._open().build_request(
            ask.method,
            self.endpoint + ask.path,
            params=ask.params or None,
            json=ask.json,
            content=ask.content,
            headers=self._headers(token, ask),
            timeout=timeout,
        )

    def _headers(self, token: str | None, ask: Ask) -> Mapping[str, str]:
        if not token:
            if ask.anonymous:
                return {}
            raise faults.no_token(self.endpoint)
        if not token.isascii() or not token.isprintable() or " " in token:
            raise faults.misshapen_token(self.endpoint)
        return {"Authorization": f"Bearer {token}"}

    def _open(self) -> httpx2.AsyncClient:
        if self._http is None:
            self._http = httpx2.AsyncClient(
                # Callers share the connections but never a session.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=True,  # a renamed repository; the token goes to no other host
                headers={"User-Agent": f"trl-mcp/{__version__}"},
                timeout=_TIMEOUT,
            )
        return self._http


def _wait_before_repeat(response: httpx2.Response, pause: float) -> float | None:
    """Return the seconds to wait before the same request can help, None where it cannot."""
    if response.status_code in faults.BUSY:
        return pause
    if response.status_code == 429 and faults.wait_s(response) <= _LONGEST_PAUSE_S:
        return faults.wait_s(response)
    return None
