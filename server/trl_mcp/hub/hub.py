"""The Hugging Face Hub: identity, models, data sets, storage, jobs. Every call names the token it is made with."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from trl_mcp.hub import repos, storage
from trl_mcp.hub.account import fetch_flavors, fetch_identity
from trl_mcp.hub.client import HubClient, Sleep
from trl_mcp.hub.jobs import JobsApi
from trl_mcp.hub.memory import Memory
from trl_mcp.hub.storage import Progress
from trl_mcp.values import BucketAccess, Flavor, HeldRun, HubDataset, HubModel, Identity, OutputRepo

_IDENTITY_S = 600
_HARDWARE_S = 60
_MOST_TURNS = 1024


class Hub:
    """One Hub for as long as the server lives; use it in `async with`, or close it with `aclose`.

    All methods raise HubError for what the Hub refuses or does not answer. `clock` gives seconds, `sleep` waits for
    them.
    """

    def __init__(
        self, endpoint: str, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = anyio.sleep
    ) -> None:
        self._client = HubClient(endpoint, sleep)
        self._identities = Memory[Identity](_IDENTITY_S, clock)
        self._flavors = Memory[list[Flavor]](_HARDWARE_S, clock)
        self._turns: dict[str, anyio.Lock] = {}
        self.endpoint = self._client.endpoint
        self.sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections to the Hub."""
        await self._client.aclose()

    def turn(self, namespace: str) -> anyio.Lock:
        """Return the lock that lets one submission at a time through in a namespace."""
        if len(self._turns) >= _MOST_TURNS:
            self._turns = {name: lock for name, lock in self._turns.items() if lock.locked()}
        return self._turns.setdefault(namespace, anyio.Lock())

    def jobs(self, token: str, namespace: str) -> JobsApi:
        """Return Hugging Face Jobs as the token sees them in the namespace."""
        return JobsApi(self._client, token, namespace)

    async def identity(self, token: str) -> Identity:
        """Return who the token belongs to, asked at most once in 10 minutes."""
        found, _ = await self._identities.get(token, lambda: fetch_identity(self._client, token))
        return found

    async def flavors(self, token: str) -> tuple[list[Flavor], float]:
        """Return the machines on offer, and how old that answer is in seconds: 60 at most."""
        return await self._flavors.get(token, lambda: fetch_flavors(self._client, token))

    async def model(self, token: str | None, repo_id: str, revision: str | None = None) -> HubModel:
        """Return a model at a revision. Raises NotFound with what may be meant, AccessNotGranted."""
        return await repos.fetch_model(self._client, token, repo_id, revision)

    async def dataset(self, token: str | None, repo_id: str, revision: str | None = None) -> HubDataset:
        """Return a data set at a revision. Raises NotFound with what may be meant, AccessNotGranted."""
        return await repos.fetch_dataset(self._client, token, repo_id, revision)

    async def output_repo(self, token: str, repo_id: str) -> OutputRepo:
        """Return what is known of a model repository that is to be written to."""
        return await repos.fetch_output_repo(self._client, token, repo_id)

    async def is_pushed(self, token: str, repo_id: str, run: str) -> bool:
        """Whether the repository holds the model of this run."""
        found = await self.output_repo(token, repo_id)
        return found.run_key == run and found.has_model

    async def upload_data(self, token: str, namespace: str, path: Path, progress: Progress) -> str:
        """Put a file of up to 50 MB into the namespace's private data set and return its path there.

        Raises NotPossible where it cannot be read or is larger.
        """
        return await storage.upload_data(self._client, token, namespace, path, progress)

    async def bucket(self, token: str, namespace: str) -> BucketAccess:
        """Make sure the namespace has its private bucket, and return it or why it cannot be had."""
        return await storage.ensure_bucket(self._client, token, namespace)

    async def held_runs(self, token: str, namespace: str) -> list[HeldRun]:
        """Return what the namespace's bucket keeps, by run."""
        return await storage.held_runs(self._client, token, namespace)

    async def free_checkpoints(self, token: str, namespace: str, run: str) -> int:
        """Remove what the bucket keeps of a run and return the bytes freed."""
        return await storage.free_checkpoints(self._client, token, namespace, run)
