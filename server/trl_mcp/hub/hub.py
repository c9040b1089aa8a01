"""The Hugging Face Hub: identity, models, data sets, storage, jobs. Every call names the token it is made with."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import anyio
import platformdirs

from trl_mcp.hub import repos, storage
from trl_mcp.hub.account import fetch_flavors, fetch_identity
from trl_mcp.hub.client import HubClient, Sleep
from trl_mcp.hub.dataset_files import fetch_dataset_files
from trl_mcp.hub.jobs import JobsApi
from trl_mcp.hub.memory import Memory
from trl_mcp.hub.ranges import RangeClient, RemoteFile
from trl_mcp.hub.storage import Progress
from trl_mcp.hub.tokenizer_files import TokenizerShelf
from trl_mcp.hub.values import (
    BucketAccess,
    HeldRun,
    HubDataset,
    HubFile,
    HubFiles,
    HubModel,
    Identity,
    ModelWeights,
    OutputRepo,
    ViewerFacts,
)
from trl_mcp.hub.viewer import Viewer
from trl_mcp.hub.weights import fetch_weights
from trl_mcp.values import Flavor

_IDENTITY_S = 600
_HARDWARE_S = 60
_MOST_TURNS = 1024
_WEIGHTS_S = 3600
_MOST_WEIGHTS = 16


class Hub:
    """One Hub for as long as the server lives; use it in `async with`, or close it with `aclose`.

    All methods raise HubError for what the Hub refuses or does not answer. `viewer` is the address of the data-set
    viewer where it is not the public Hub's own, `cache` a folder to keep tokenizers in. `clock` gives seconds, `sleep`
    waits for them.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        viewer: str | None = None,
        cache: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._client = HubClient(endpoint, sleep)
        self._ranges = RangeClient(self._client.endpoint)
        self._viewer = Viewer(self._client.endpoint, viewer)
        cache = cache or platformdirs.user_cache_path("trl-mcp")
        self._tokenizers = TokenizerShelf(self._client, self._ranges, cache / "tokenizers")
        self._identities = Memory[Identity](_IDENTITY_S, clock)
        self._flavors = Memory[list[Flavor]](_HARDWARE_S, clock)
        self._weights = Memory[ModelWeights](_WEIGHTS_S, clock, most=_MOST_WEIGHTS)
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
        await self._viewer.aclose()
        self._ranges.close()

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

    async def chat_providers(self, token: str | None, model_id: str) -> tuple[str, ...]:
        """Return the Inference Providers that serve a model for conversations. Raises NotFound with what may be meant."""
        return await repos.fetch_chat_providers(self._client, token, model_id)

    async def dataset(self, token: str | None, repo_id: str, revision: str | None = None) -> HubDataset:
        """Return a data set at a revision. Raises NotFound with what may be meant, AccessNotGranted."""
        return await repos.fetch_dataset(self._client, token, repo_id, revision)

    async def dataset_files(
        self, token: str | None, repo_id: str, commit: str, config: str | None = None, split: str = "train"
    ) -> HubFiles:
        """Return the data files of a config and split at a commit; `config` None: the only one or the default.

        Raises NotFound with the names there are, InvalidArguments where a config has to be named, UnreadableData where
        no file can be read, AccessNotGranted.
        """
        return await fetch_dataset_files(self._client, token, repo_id, commit, config, split)

    def open_file(
        self,
        token: str | None,
        files: HubFiles,
        file: HubFile,
        *,
        deadline: float | None = None,
        in_order: bool = False,
    ) -> BinaryIO:
        """Return a data file for reading in a worker thread, seekable; nothing is asked before the first read.

        Every read is one request for exactly its bytes; `in_order` instead is for reading from start to end. Reads
        raise HubError, HubUnreachable once `deadline` (time.monotonic seconds) has passed.
        """
        address = self.endpoint + repos.file_address("dataset", files.repo_id, files.revision, file.path)
        remote = RemoteFile(address, file.size, f"read {file.path} of {files.repo_id}", token, deadline)
        return self._ranges.open(remote, in_order=in_order)

    async def viewer(self, token: str | None, files: HubFiles, within: float) -> ViewerFacts | None:
        """Return what the data-set viewer has counted of a split; None where it does not answer within the seconds."""
        return await self._viewer.facts(token, files, within)

    async def model_weights(self, token: str | None, model_id: str, commit: str) -> ModelWeights:
        """Return the config of a model at a commit and what its weight files hold, read from their headers only.

        Remembered for an hour. Raises NotFound where it has neither config.json nor safetensors, UnreadableData where
        one is broken, AccessNotGranted.
        """
        key = f"{token or ''} {model_id}@{commit}"
        found, _ = await self._weights.get(
            key, lambda: fetch_weights(self._client, self._ranges, token, model_id, commit)
        )
        return found

    async def tokenizer_files(self, token: str | None, model_id: str, commit: str) -> Path:
        """Return a folder with the tokenizer files of a model at a commit, fetched once and not to be changed.

        Raises NotFound where it has no tokenizer, NotPossible where that is larger than 200 MB.
        """
        return await self._tokenizers.fetch(token, model_id, commit)

    async def output_repo(self, token: str, repo_id: str) -> OutputRepo:
        """Return what is known of a model repository that is to be written to."""
        return await repos.fetch_output_repo(self._client, token, repo_id)

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
