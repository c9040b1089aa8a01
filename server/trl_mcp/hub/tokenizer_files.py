"""The tokenizer of a model, fetched without its weights and kept by commit.

What everybody may read is kept once; what a token gave access to is kept for that token alone.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from trl_mcp.errors import InvalidArguments, NotFound, NotPossible, TrlMcpError
from trl_mcp.hub.client import HubClient
from trl_mcp.hub.fields import dig
from trl_mcp.hub.ranges import RangeClient, RemoteFile
from trl_mcp.hub.repos import fetch_info, file_address, file_sizes

MOST_BYTES = 200_000_000
_VOCABULARY = re.compile(r"tokenizer\.json|vocab\.(json|txt)|tekken\.json|[^/]+\.(model|tiktoken)")
_BESIDE = re.compile(
    r"tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|merges\.txt|chat_template\.(jinja|json)"
    r"|(additional_)?chat_templates/[^/]+\.jinja|config\.json|generation_config\.json"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DEADLINE_S = 60
_AT_ONCE = 8
_MOST_KEPT = 32
_PUBLIC = "public"


class TokenizerShelf:
    """A folder that keeps the tokenizers used last, at most 32."""

    def __init__(self, client: HubClient, ranges: RangeClient, folder: Path) -> None:
        self._client = client
        self._ranges = ranges
        self._folder = folder

    async def fetch(self, token: str | None, model_id: str, commit: str) -> Path:
        """Return a folder with the tokenizer files of a model at a commit; what is kept already is not asked for again.

        Raises NotFound where the model has no tokenizer, NotPossible where it is larger than 200 MB or cannot be kept,
        AccessNotGranted, HubError.
        """
        if not _COMMIT.fullmatch(commit):
            raise InvalidArguments(f"{commit!r} is no commit.", allowed="It is the 40 digits of a commit's hash.")
        owner = hashlib.sha256(token.encode()).hexdigest()[:16] if token else _PUBLIC
        key = hashlib.sha256(f"{self._client.endpoint}/{model_id}@{commit}".encode()).hexdigest()[:32]
        for kept in (self._folder / _PUBLIC / key, self._folder / owner / key):
            if await to_thread.run_sync(_is_kept, kept):
                return kept
        raw = await fetch_info(self._client, token, "model", model_id, commit, sizes=True)
        wanted = _wanted(model_id, file_sizes(raw))
        if not (dig(raw, "private") or dig(raw, "gated")):
            owner = _PUBLIC
        target = self._folder / owner / key
        try:
            await self._fill(token, model_id, commit, wanted, target)
        except OSError as error:
            raise NotPossible(
                f"The tokenizer of {model_id} cannot be kept in {self._folder}: {error.strerror}.",
                next_step="Make room there, or let the server write to it.",
            ) from None
        return target

    async def _fill(
        self, token: str | None, model_id: str, commit: str, sizes: Mapping[str, int], target: Path
    ) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
        limit = anyio.CapacityLimiter(_AT_ONCE)
        deadline = self._ranges.clock() + _DEADLINE_S
        failed: list[TrlMcpError | OSError] = []

        async def copy(path: str, size: int) -> None:
            address = self._client.endpoint + file_address("model", model_id, commit, path)
            remote = RemoteFile(address, size, f"read {path} of {model_id}", token, deadline)
            try:
                await to_thread.run_sync(self._copy, remote, draft / path, limiter=limit)
            except (TrlMcpError, OSError) as error:
                failed.append(error)
                group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                for path, size in sizes.items():
                    group.start_soon(copy, path, size)
            if failed:
                raise failed[0]
            await to_thread.run_sync(_keep, draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        await to_thread.run_sync(_forget_oldest, self._folder)

    def _copy(self, remote: RemoteFile, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        with self._ranges.open(remote, in_order=True) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream)


def _wanted(model_id: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the files that make a tokenizer, with their bytes. Raises NotFound, NotPossible."""
    if not any(_VOCABULARY.fullmatch(path) for path in sizes):
        raise NotFound(
            f"The model {model_id} has no tokenizer: there is no tokenizer.json, no vocabulary and no *.model file.",
            next_step="Name a model that has one, such as the one it was made from. Nothing was started.",
        )
    wanted = {path: size for path, size in sizes.items() if _VOCABULARY.fullmatch(path) or _BESIDE.fullmatch(path)}
    total = sum(wanted.values())
    if total > MOST_BYTES:
        raise NotPossible(
            f"The tokenizer files of {model_id} have {total / 1e6:.0f} MB; at most {MOST_BYTES // 10**6} MB are fetched."
        )
    return wanted


def _is_kept(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    folder.touch()  # used last
    return True


def _keep(draft: Path, target: Path) -> None:
    """Put a finished folder in its place, unless another call was first."""
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _forget_oldest(folder: Path) -> None:
    kept = [entry for entry in folder.glob("*/*") if not entry.name.startswith(".")]
    for entry in sorted(kept, key=lambda entry: entry.stat().st_mtime, reverse=True)[_MOST_KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
