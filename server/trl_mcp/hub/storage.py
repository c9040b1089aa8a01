"""What a run keeps on the Hub beside its model: data files of the user, checkpoints in a private bucket."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anyio import to_thread

from trl_mcp.errors import InvalidArguments, NotFound, NotPossible, RequestRefused, TrlMcpError
from trl_mcp.hub import faults
from trl_mcp.hub.client import Ask, HubClient
from trl_mcp.hub.fields import dig, moment, text, whole
from trl_mcp.hub.values import BucketAccess, HeldRun

Progress = Callable[[float, float | None, str], Awaitable[None]]
MOST_BYTES = 50_000_000
_BUCKET = "trl-mcp"
_DATASET = "trl-mcp-data"
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
_RUN = re.compile(r"[\w-]{1,100}", re.ASCII)
_BATCH = 500
_EXISTS = 409


def data_repo(namespace: str) -> str:
    """Return the private data set that a namespace's uploaded files go to."""
    return f"{namespace}/{_DATASET}"


def bucket_id(namespace: str) -> str:
    """Return the private bucket of a namespace."""
    return f"{namespace}/{_BUCKET}"


def data_path(sha256: str, name: str) -> str:
    """Return where a file with this content and name lies in the data set."""
    return f"{sha256}/{_UNSAFE.sub('_', name).lstrip('.') or 'data'}"


async def upload_data(client: HubClient, token: str, namespace: str, path: Path, progress: Progress) -> str:
    """Put a file of up to 50 MB into the namespace's private data set and return its path there.

    What is there already is not sent again. Raises InvalidArguments, NotPossible, HubError.
    """
    content = await to_thread.run_sync(_read, path)
    target = data_path(hashlib.sha256(content).hexdigest(), path.name)
    repo = data_repo(namespace)
    if await _is_private_and_holds(client, token, repo, target):
        return target
    size = len(content) / 1e6
    await progress(0, None, f"uploading {path.name} ({size:.1f} MB) to {repo}")
    failed: TrlMcpError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_keep_telling, client, progress, f"uploading {path.name} ({size:.1f} MB)")
        try:
            await to_thread.run_sync(_upload, client.endpoint, token, repo, target, content, abandon_on_cancel=True)
        except TrlMcpError as error:
            failed = error
        group.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return target


async def ensure_bucket(client: HubClient, token: str, namespace: str) -> BucketAccess:
    """Make sure the namespace has its private bucket and the token may write to it. Raises HubError when unreachable."""
    name = bucket_id(namespace)
    refused = frozenset({400, 402, 403, 404, 405, 409, 422, 501})
    body = {"visibility": "private"}
    ask = Ask(f"make the bucket {name}", f"/api/buckets/{name}", "POST", json=body, tolerate=refused)
    response = await client.answer(token, ask)
    if response.is_success:
        return BucketAccess(name)
    if response.status_code != _EXISTS:
        return BucketAccess(None, f"The bucket {name} cannot be made: {faults.server_message(response)}")
    raw = await client.json(token, Ask(f"look at the bucket {name}", f"/api/buckets/{name}"))
    if dig(raw, "private") is False:
        return BucketAccess(None, f"The bucket {name} is public; checkpoints are kept in a private one only.")
    return BucketAccess(name)


async def held_runs(client: HubClient, token: str, namespace: str) -> list[HeldRun]:
    """Return what the namespace's bucket keeps, by run; nothing where there is no bucket. Raises HubError."""
    runs: dict[str, HeldRun] = {}
    async for raw in _files(client, token, namespace, "runs"):
        _, _, rest = text(raw, "path").partition("runs/")
        run = rest.partition("/")[0]
        before = runs.get(run, HeldRun(run, 0, 0, None))
        times = [at for at in (before.newest, moment(raw, "mtime") or moment(raw, "uploadedAt")) if at]
        runs[run] = HeldRun(run, before.files + 1, before.size + (whole(raw, "size") or 0), max(times, default=None))
    return [held for run, held in sorted(runs.items()) if run]


async def free_checkpoints(client: HubClient, token: str, namespace: str, run: str) -> int:
    """Remove what the bucket keeps of a run and return the bytes freed; 0 where there is nothing. Raises HubError."""
    if not _RUN.fullmatch(run):
        raise InvalidArguments(f"{run!r} is no run key.")
    prefix = f"runs/{run}/"
    found = [raw async for raw in _files(client, token, namespace, prefix) if text(raw, "path").startswith(prefix)]
    for paths in _batches([text(raw, "path") for raw in found]):
        await _delete(client, token, namespace, paths)
    return sum(whole(raw, "size") or 0 for raw in found)


async def _delete(client: HubClient, token: str, namespace: str, paths: list[str]) -> None:
    lines = "".join(f"{json.dumps({'type': 'deleteFile', 'path': path})}\n" for path in paths)
    name = bucket_id(namespace)
    # Another call may have removed some of them meanwhile: that is what was wanted.
    ask = Ask(
        f"remove files from the bucket {name}",
        f"/api/buckets/{name}/batch",
        "POST",
        content=lines.encode(),
        tolerate=frozenset({422}),
    )
    await client.answer(token, ask)


async def _files(client: HubClient, token: str, namespace: str, prefix: str) -> AsyncIterator[Any]:
    name = bucket_id(namespace)
    path = f"/api/buckets/{name}/tree/{prefix.replace('/', '%2F')}"
    try:
        async for raw in client.pages(token, Ask(f"list the bucket {name}", path, params=(("recursive", "true"),))):
            if text(raw, "type") == "file":
                yield raw
    except NotFound:
        return


def _batches(paths: list[str]) -> Iterator[list[str]]:
    return (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise NotPossible(f'The file "{path.name}" cannot be read: {error.strerror}.') from error
    if size > MOST_BYTES:
        raise NotPossible(
            f'The file "{path.name}" has {size / 1e6:.0f} MB; at most {MOST_BYTES // 1_000_000} MB are uploaded.',
            next_step=f"Upload it yourself: hf upload <namespace>/<name> {path} --repo-type dataset --private",
        )
    return content


async def _is_private_and_holds(client: HubClient, token: str, repo: str, target: str) -> bool:
    missing = frozenset({401, 404})
    ask = Ask(
        f"look at the data set {repo}", f"/api/datasets/{repo}", params=(("expand", "private"),), tolerate=missing
    )
    response = await client.answer(token, ask)
    if not response.is_success:
        if response.status_code == 401 and faults.error_code(response) != "RepoNotFound":
            raise client.refusal(response, ask)
        return False
    if dig(client.read_json(response, ask), "private") is False:
        raise NotPossible(
            f"The data set {repo} is public; files are uploaded to a private one only.",
            next_step=f"Make it private at {client.endpoint}/datasets/{repo}/settings, then call again.",
        )
    there = Ask(f"look into {repo}", f"/api/datasets/{repo}/paths-info/main", "POST", json={"paths": [target]})
    found = await client.json(token, there)
    return bool(found)


async def _keep_telling(client: HubClient, progress: Progress, what: str) -> None:
    seconds = 0
    while True:
        await client.sleep(1)
        seconds += 1
        await progress(seconds, None, f"{what}: {seconds} s")


def _upload(endpoint: str, token: str, repo: str, target: str, content: bytes) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=endpoint, token=token)
    doing = f"upload data to {repo}"
    try:
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        added = [CommitOperationAdd(target, content)]
        api.create_commit(repo, added, commit_message=f"Add {target}", repo_type="dataset")
    except HfHubHTTPError as error:
        raise faults.refusal(error.response, doing, endpoint) from None
    except httpx2.RequestError as error:
        raise faults.unreachable(doing, error) from None
    except (RuntimeError, OSError) as error:  # of the part that moves large files
        raise RequestRefused(f"The Hub could not {doing}: {type(error).__name__}.", next_step="Call again.") from error
