"""The Jobs API: one function per request, answers as the Hub gives them."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx2

from trl_mcp.hub.client import Ask, HubClient
from trl_mcp.hub.sse import read_events

_NOT_NOW = frozenset({406, 500})
_OVER = 409


class JobsApi:
    """Hugging Face Jobs as one token sees them in one namespace."""

    def __init__(self, client: HubClient, token: str, namespace: str) -> None:
        self._client = client
        self._token = token
        self._namespace = namespace
        self._path = f"/api/jobs/{quote(namespace, safe='')}"

    def page(self, job_id: str) -> str:
        """Return the address of a job's page for people."""
        return f"{self._client.endpoint}/jobs/{self._namespace}/{job_id}"

    async def submit(self, spec: Mapping[str, Any], timeout_s: float) -> httpx2.Response:
        """Send a specification once and return the answer, whatever it is. Raises httpx2.RequestError."""
        return await self._client.send(self._token, self._submission(spec), timeout_s)

    def refusal(self, response: httpx2.Response) -> Exception:
        """Return the error that an answer to a submission means."""
        return self._client.refusal(response, self._submission({}))

    def listing(self, labels: Mapping[str, str]) -> AsyncGenerator[Any]:
        """Return the jobs with these labels, newest first, page by page as they are asked for."""
        params = tuple(("label", f"{name}={value}") for name, value in labels.items())
        return self._client.pages(self._token, Ask(f"list the jobs of {self._namespace}", self._path, params=params))

    async def inspect(self, job_id: str) -> Any:
        """Return a job. Raises NotFound, HubError."""
        return await self._client.json(self._token, Ask(f"look at the job {job_id}", self._job(job_id)))

    async def cancel(self, job_id: str) -> None:
        """Ask a job to stop; one that is over stays as it is. Raises NotFound, HubError."""
        ask = Ask(f"cancel the job {job_id}", f"{self._job(job_id)}/cancel", "POST", tolerate=frozenset({_OVER}))
        await self._client.answer(self._token, ask)

    @asynccontextmanager
    async def logs(self, job_id: str, tail: int | None) -> AsyncGenerator[AsyncIterator[list[str]]]:
        """Open a job's log from its start, or its last lines, and what follows. Raises NotFound, HubError."""
        params = (("tail", str(tail)),) if tail is not None else ()
        ask = Ask(f"read the log of the job {job_id}", f"{self._job(job_id)}/logs", params=params)
        async with self._client.stream(self._token, ask) as response, _events(response) as events:
            yield events

    @asynccontextmanager
    async def metrics(self, job_id: str) -> AsyncGenerator[AsyncIterator[list[str]]]:
        """Open what a job uses, a sample each second; nothing comes where it does not run. Raises NotFound, HubError."""
        ask = Ask(f"measure the job {job_id}", f"{self._job(job_id)}/metrics", tolerate=_NOT_NOW)
        async with self._client.stream(self._token, ask) as response, _events(response) as events:
            yield events

    def _submission(self, spec: Mapping[str, Any]) -> Ask:
        return Ask(f"start a job in {self._namespace}", self._path, "POST", json=dict(spec))

    def _job(self, job_id: str) -> str:
        return f"{self._path}/{quote(job_id, safe='')}"


@asynccontextmanager
async def _events(response: httpx2.Response) -> AsyncGenerator[AsyncIterator[list[str]]]:
    async with aclosing(response.aiter_bytes()) as chunks, aclosing(read_events(chunks)) as events:
        yield events
