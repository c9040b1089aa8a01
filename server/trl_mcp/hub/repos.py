"""Model and data-set repositories: what they are at which commit, and what was meant where there is none."""

import difflib
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote

import anyio
import httpx2

from trl_mcp.errors import AccessNotGranted, NotFound, TrlMcpError
from trl_mcp.hub import faults
from trl_mcp.hub.client import Ask, HubClient, Query
from trl_mcp.hub.fields import dig, items, text, texts, whole
from trl_mcp.hub.values import HubDataset, HubModel, OutputRepo
from trl_mcp.schema import shorten

MARKER = "trl-mcp.json"
_SEARCH_S = 4
_SHARED = ("sha", "private", "gated", "siblings", "cardData")
_MODEL = (*_SHARED, "config", "pipeline_tag", "library_name", "safetensors")
_MISSING = frozenset({401, 403, 404})
_SERVED = ("conversational", "live")
_KINDS = {"model": "models", "dataset": "datasets"}
_WORDS = {"model": "model", "dataset": "data set"}


async def fetch_model(client: HubClient, token: str | None, repo_id: str, revision: str | None) -> HubModel:
    """Return a model at a revision. Raises NotFound with what may be meant, AccessNotGranted, HubError."""
    raw = await fetch_info(client, token, "model", repo_id, revision)
    files = _files(raw)
    return HubModel(
        id=text(raw, "id") or repo_id,
        sha=text(raw, "sha"),
        private=bool(dig(raw, "private")),
        gated=bool(dig(raw, "gated")),
        licence=_first(raw, "license"),
        base_model=_first(raw, "base_model"),
        has_chat_template=await _has_chat_template(client, token, raw, files),
        model_type=text(raw, "config", "model_type"),
        architectures=texts(raw, "config", "architectures"),
        pipeline=text(raw, "pipeline_tag"),
        library=text(raw, "library_name"),
        parameters=whole(raw, "safetensors", "total"),
        files=files,
    )


async def fetch_chat_providers(client: HubClient, token: str | None, repo_id: str) -> tuple[str, ...]:
    """Return the Inference Providers that serve a model for conversations now.

    Raises NotFound with what may be meant, HubError. A gate does not matter: the provider has passed it.
    """
    ask = Ask(
        f"ask who serves the model {repo_id}",
        _path("model", repo_id),
        params=_expand(("inferenceProviderMapping",)),
        tolerate=_MISSING,
        anonymous=True,
    )
    response = await client.answer(token, ask)
    if _is_missing(response):
        raise await _no_repo(client, token, "model", repo_id)
    if not response.is_success:
        raise client.refusal(response, ask)
    served: object = dig(client.read_json(response, ask), "inferenceProviderMapping")
    names = cast("dict[str, object]", served) if isinstance(served, dict) else {}
    return tuple(name for name, how in names.items() if (text(how, "task"), text(how, "status")) == _SERVED)


async def fetch_dataset(client: HubClient, token: str | None, repo_id: str, revision: str | None) -> HubDataset:
    """Return a data set at a revision. Raises NotFound with what may be meant, AccessNotGranted, HubError."""
    raw = await fetch_info(client, token, "dataset", repo_id, revision)
    return HubDataset(
        id=text(raw, "id") or repo_id,
        sha=text(raw, "sha"),
        private=bool(dig(raw, "private")),
        gated=bool(dig(raw, "gated")),
        configs=_configs(dig(raw, "cardData")),
        files=_files(raw),
    )


async def fetch_output_repo(client: HubClient, token: str, repo_id: str) -> OutputRepo:
    """Return what is known of a model repository that is to be written to. Raises HubError."""
    ask = Ask(f"look at {repo_id}", _path("model", repo_id), params=_expand(_SHARED), tolerate=_MISSING)
    response = await client.answer(token, ask)
    if _is_missing(response):
        return OutputRepo(repo_id, exists=False)
    if not response.is_success:
        raise client.refusal(response, ask)
    raw = client.read_json(response, ask)
    files = _files(raw)
    return OutputRepo(
        id=text(raw, "id") or repo_id,
        exists=True,
        run_key=await _run_key(client, token, raw) if MARKER in files else None,
        private=bool(dig(raw, "private")),
        why_no_write=await _why_no_write(client, token, repo_id),
    )


async def fetch_info(
    client: HubClient, token: str | None, kind: str, repo_id: str, revision: str | None, *, sizes: bool = False
) -> Any:
    """Return what the Hub says of a repository ("model" or "dataset") at a revision, with the sizes of its files or not.

    Raises NotFound with what may be meant, AccessNotGranted, HubError.
    """
    ask = Ask(
        f"look at the {_WORDS[kind]} {repo_id}",
        _path(kind, repo_id) + (f"/revision/{quote(revision, safe='')}" if revision else ""),
        params=(("blobs", "true"),) if sizes else _expand(_MODEL if kind == "model" else _SHARED),
        tolerate=_MISSING,
        anonymous=True,
    )
    response = await client.answer(token, ask)
    if response.is_success:
        raw = client.read_json(response, ask)
        if dig(raw, "gated"):
            await _check_gate(client, token, kind, repo_id)
        return raw
    if faults.error_code(response) == "GatedRepo":
        raise _gated(client, kind, repo_id)
    if faults.error_code(response) == "RevisionNotFound":
        raise await _no_revision(client, token, kind, repo_id, revision or "main")
    if _is_missing(response):
        raise await _no_repo(client, token, kind, repo_id)
    raise client.refusal(response, ask)


async def _check_gate(client: HubClient, token: str | None, kind: str, repo_id: str) -> None:
    ask = Ask(
        f"read the {_WORDS[kind]} {repo_id}",
        f"{_path(kind, repo_id)}/auth-check",
        tolerate=frozenset({401, 403}),
        anonymous=True,
    )
    response = await client.answer(token, ask)
    if faults.error_code(response) == "GatedRepo":
        raise _gated(client, kind, repo_id)
    if not response.is_success:
        raise client.refusal(response, ask)


def _gated(client: HubClient, kind: str, repo_id: str) -> AccessNotGranted:
    page = f"{client.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
    return AccessNotGranted(
        f"The {_WORDS[kind]} {repo_id} is gated, and its conditions were not accepted.",
        next_step=f"Accept them on {page} with the account of the token, then call again. Nothing was started.",
    )


async def _no_repo(client: HubClient, token: str | None, kind: str, repo_id: str) -> NotFound:
    near = await _near_ids(client, token, kind, repo_id)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return NotFound(
        f"There is no {_WORDS[kind]} {shorten(repo_id)} on the Hub that the token can see.{meant}",
        next_step="A private one needs a token of its owner. Nothing was started.",
    )


async def _near_ids(client: HubClient, token: str | None, kind: str, repo_id: str) -> list[str]:
    """Return up to three ids that look like this one, from searches that together take 4 s at most."""
    namespace, _, name = repo_id.rpartition("/")
    queries: list[Query] = [(("search", name),)]
    if namespace:
        queries.append((("author", namespace),))
    queries.append((("search", name[: max(3, len(name) * 2 // 3)]),))
    found: dict[str, str] = {}

    async def search(query: Query) -> None:
        params = (*query, ("sort", "downloads"), ("direction", "-1"), ("limit", "100"))
        ask = Ask("search", f"/api/{_KINDS[kind]}", params=params, anonymous=True)
        try:
            raw = await client.json(token, ask)
        except TrlMcpError:
            return  # the suggestion is a courtesy
        found.update({entry.lower(): entry for item in items({"page": raw}, "page") if (entry := text(item, "id"))})

    with anyio.move_on_after(_SEARCH_S):
        async with anyio.create_task_group() as group:
            for query in queries:
                group.start_soon(search, query)
    return _nearest(repo_id, found)


def _nearest(repo_id: str, found: dict[str, str]) -> list[str]:
    """Return the ids most like this one: by their whole, else by the name after the slash."""
    whole_id = difflib.get_close_matches(repo_id.lower(), found, n=3, cutoff=0.75)
    if whole_id:
        return [found[key] for key in whole_id]
    by_name: dict[str, str] = {}
    for key, entry in found.items():
        by_name.setdefault(key.rpartition("/")[2], entry)
    near = difflib.get_close_matches(repo_id.lower().rpartition("/")[2], by_name, n=3, cutoff=0.75)
    return [by_name[key] for key in near]


async def _no_revision(client: HubClient, token: str | None, kind: str, repo_id: str, revision: str) -> NotFound:
    ask = Ask("list revisions", f"{_path(kind, repo_id)}/refs", anonymous=True)
    try:
        raw = await client.json(token, ask)
    except TrlMcpError:
        raw = None
    names = [text(ref, "name") for group in ("branches", "tags") for ref in items(raw, group)]
    near = difflib.get_close_matches(revision, names, n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    return NotFound(
        f'The {_WORDS[kind]} {repo_id} has no revision "{shorten(revision)}".{meant}',
        allowed=f"Branches and tags: {', '.join(names[:10])}; or the hash of a commit." if names else "",
        next_step="Nothing was started.",
    )


async def _has_chat_template(client: HubClient, token: str | None, raw: object, files: Iterable[str]) -> bool | None:
    tokenizer = dig(raw, "config", "tokenizer_config")
    if "chat_template.jinja" in files or dig(tokenizer, "chat_template") or dig(raw, "config", "chat_template_jinja"):
        return True
    if "tokenizer_config.json" not in files:
        return None
    content = await _small_file(client, token, raw, "tokenizer_config.json")
    return bool(dig(content, "chat_template")) if content is not None else None


async def _run_key(client: HubClient, token: str, raw: object) -> str | None:
    return text(await _small_file(client, token, raw, MARKER), "run_key") or None


async def _small_file(client: HubClient, token: str | None, raw: object, name: str) -> Any:
    """Return a JSON file of a model repository at the commit of `raw`, None where it cannot be read."""
    path = file_address("model", text(raw, "id"), text(raw, "sha"), name)
    ask = Ask(f"read {name}", path, tolerate=_MISSING, anonymous=True)
    response = await client.answer(token, ask)
    try:
        return response.json() if response.is_success else None
    except ValueError:
        return None


async def _why_no_write(client: HubClient, token: str, repo_id: str) -> str:
    path = f"{_path('model', repo_id)}/auth-check/write"
    response = await client.answer(token, Ask(f"write to {repo_id}", path, tolerate=_MISSING))
    if response.is_success:
        return ""
    return f"The token may not write to {repo_id}: {faults.server_message(response) or response.status_code}"


def _is_missing(response: httpx2.Response) -> bool:
    code = faults.error_code(response)
    return code == "RepoNotFound" or (response.status_code == 404 and not code)


def _path(kind: str, repo_id: str) -> str:
    return f"/api/{_KINDS[kind]}/{quote(repo_id)}"


def _expand(names: Iterable[str]) -> Query:
    return tuple(("expand", name) for name in names)


def file_sizes(raw: object) -> dict[str, int]:
    """Return the files of a repository asked for with sizes, in bytes."""
    return {text(item, "rfilename"): whole(item, "size") or 0 for item in items(raw, "siblings")}


def file_address(kind: str, repo_id: str, revision: str, path: str) -> str:
    """Return where a file's content is got, below the Hub's address."""
    prefix = "/datasets/" if kind == "dataset" else "/"
    return f"{prefix}{quote(repo_id)}/resolve/{quote(revision, safe='')}/{quote(path)}"


def _files(raw: object) -> tuple[str, ...]:
    return tuple(text(item, "rfilename") for item in items(raw, "siblings"))


def _first(raw: object, name: str) -> str:
    return next(iter(texts(raw, "cardData", name)), "")


def _configs(card: object) -> dict[str, tuple[str, ...]]:
    """Return the configs that a card names, with their splits where it names those too."""
    configs: dict[str, tuple[str, ...]] = {}
    for entry in items(card, "configs"):
        splits = (text(file, "split") for file in items(entry, "data_files"))
        configs[text(entry, "config_name") or "default"] = tuple(split for split in splits if split)
    described = dig(card, "dataset_info")
    for entry in items(card, "dataset_info") if isinstance(described, list) else ([described] if described else []):
        splits = tuple(text(split, "name") for split in items(entry, "splits"))
        name = text(entry, "config_name") or "default"
        configs[name] = configs.get(name) or splits
    return configs
