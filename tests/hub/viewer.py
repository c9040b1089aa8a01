"""The data-set viewer's API below /datasets-server, and the Hub's own list of converted Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError
from tests.hub.repo_store import Commit, Repo
from tests.hub.repo_views import card_data
from tests.hub.tables import Table
from tests.hub.viewer_stats import column_statistics
from tests.hub.viewer_store import Split
from tests.hub.web import caller, full_id, param, state

ROWS_PER_PAGE = 100
FIRST_ROWS = 100


@dataclass(frozen=True)
class View:
    """A data set as one request asks about it."""

    repo: Repo
    commit: Commit
    splits: list[Split]

    def named(self, split: Split) -> dict[str, str]:
        """Return the names under which a split is shown."""
        return {"dataset": self.repo.id, "config": split.config, "split": split.name}


def _required(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise HubError(422, f"Parameter '{name}' is required", "MissingRequiredParameter")
    return value


def _hidden(request: Request) -> HubError:
    how = "with the current credentials" if caller(request) else "without authentication"
    code = "ExternalAuthenticatedError" if caller(request) else "ExternalUnauthenticatedError"
    text = f"The dataset does not exist, or is not accessible {how} (private or gated)."
    return HubError(404 if caller(request) else 401, f"{text} Please check the spelling of the dataset name.", code)


def _open(request: Request, repo_id: str) -> View:
    hub = state(request)
    try:
        repo = hub.repos.readable("dataset", repo_id, caller(request))
    except HubError:
        raise _hidden(request) from None
    owner = hub.accounts.users.get(repo.namespace)
    if repo.private and owner is not None and not owner.is_pro:
        raise HubError(501, "Private datasets need a PRO account.", "NotSupportedPrivateRepositoryError")
    commit = repo.commits[hub.viewer.frozen.get(repo_id, repo.head.sha)]
    splits = hub.viewer.splits(commit, card_data(hub, commit))
    if not splits:
        raise HubError(500, "The dataset is empty.", "EmptyDatasetError")
    return View(repo, commit, splits)


def _dataset(request: Request) -> View:
    """Find the data set of a request, limited to the configuration and split it names."""
    view = _open(request, _required(request, "dataset"))
    config, name = request.query_params.get("config"), request.query_params.get("split")
    wanted = [split for split in view.splits if config in {None, split.config} and name in {None, split.name}]
    if not wanted:
        raise HubError(404, "Not found.", "ConfigNotFoundError" if config else "SplitNotFoundError")
    return View(view.repo, view.commit, wanted)


def _split(request: Request) -> tuple[View, Split, Table]:
    _required(request, "config")
    _required(request, "split")
    view = _dataset(request)
    return view, view.splits[0], state(request).viewer.table(view.commit, view.splits[0])


def _answer(view: View, content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"X-Revision": view.commit.sha})


def _features(table: Table) -> list[dict[str, Any]]:
    return [
        {"feature_idx": index, "name": name, "type": kind}
        for index, (name, kind) in enumerate(table.features().items())
    ]


def _row_items(table: Table, offset: int, length: int) -> list[dict[str, Any]]:
    rows = enumerate(table.rows(offset, length), start=offset)
    return [{"row_idx": index, "row": row, "truncated_cells": list[str]()} for index, row in rows]


async def is_valid(request: Request) -> Response:
    """Say what the viewer can do with a data set."""
    abilities = dict.fromkeys(("viewer", "preview", "search", "filter", "statistics"), True)
    return _answer(_dataset(request), {**abilities, "search": False, "filter": False})


async def splits(request: Request) -> Response:
    """List configurations and splits."""
    view = _dataset(request)
    found = [view.named(split) for split in view.splits]
    return _answer(view, {"splits": found, "pending": list[object](), "failed": list[object]()})


async def first_rows(request: Request) -> Response:
    """Send the first rows of a split."""
    view, split, table = _split(request)
    rows = {"features": _features(table), "rows": _row_items(table, 0, FIRST_ROWS)}
    return _answer(view, {**view.named(split), **rows, "truncated": table.num_rows > FIRST_ROWS})


def _number(request: Request, name: str, default: int, most: int | None = None) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit() or (most is not None and int(text) > most):
        limit = "" if most is None else f" and not be greater than {most}"
        raise HubError(422, f"Parameter '{name}' must be a non-negative integer{limit}", "InvalidParameter")
    return int(text)


async def rows(request: Request) -> Response:
    """Send a run of rows of a split."""
    view, _, table = _split(request)
    offset, length = _number(request, "offset", 0), _number(request, "length", ROWS_PER_PAGE, ROWS_PER_PAGE)
    content = {"features": _features(table), "rows": _row_items(table, offset, length)}
    counts = {"num_rows_total": table.num_rows, "num_rows_per_page": ROWS_PER_PAGE, "partial": False}
    return _answer(view, {**content, **counts})


def _sizes(request: Request, view: View, split: Split) -> dict[str, Any]:
    hub = state(request)
    table = hub.viewer.table(view.commit, split)
    converted = hub.viewer.convert(view.repo, _open(request, view.repo.id).splits)
    return {
        **view.named(split),
        "num_bytes_original_files": sum(view.commit.files[path].size for path in split.files),
        "num_bytes_parquet_files": converted.files[hub.viewer.parquet_path(split)].size,
        "num_bytes_memory": table.num_bytes,
        "num_rows": table.num_rows,
        "num_columns": len(table.columns),
        "estimated_num_rows": None,
    }


def _total(entries: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    counted = ("num_bytes_original_files", "num_bytes_parquet_files", "num_bytes_memory", "num_rows")
    return {**names, **{name: sum(entry[name] for entry in entries) for name in counted}, "estimated_num_rows": None}


async def size(request: Request) -> Response:
    """Count rows and bytes of the data set, its configurations and its splits."""
    view = _dataset(request)
    entries = [_sizes(request, view, split) for split in view.splits]
    names = dict.fromkeys(entry["config"] for entry in entries)
    configs = [
        {
            **_total(
                [entry for entry in entries if entry["config"] == name], {"dataset": view.repo.id, "config": name}
            ),
            "num_columns": next(entry["num_columns"] for entry in entries if entry["config"] == name),
        }
        for name in names
    ]
    counted = {"dataset": _total(entries, {"dataset": view.repo.id}), "configs": configs, "splits": entries}
    return _answer(view, {"size": counted, "pending": list[object](), "failed": list[object](), "partial": False})


def _config_info(request: Request, view: View, config: str) -> dict[str, Any]:
    entries = [split for split in view.splits if split.config == config]
    sizes = [_sizes(request, view, split) for split in entries]
    table = state(request).viewer.table(view.commit, entries[0])
    return {
        "features": table.features(),
        "dataset_name": view.repo.id.split("/")[1],
        "config_name": config,
        "splits": {
            entry["split"]: {
                "name": entry["split"],
                "num_bytes": entry["num_bytes_memory"],
                "num_examples": entry["num_rows"],
            }
            for entry in sizes
        },
        "download_size": sum(entry["num_bytes_original_files"] for entry in sizes),
        "dataset_size": sum(entry["num_bytes_memory"] for entry in sizes),
    }


async def info(request: Request) -> Response:
    """Describe features and splits; for one configuration without the level of names."""
    view = _dataset(request)
    found = {split.config: _config_info(request, view, split.config) for split in view.splits}
    wanted = request.query_params.get("config")
    content = found[wanted] if wanted else found
    return _answer(
        view, {"dataset_info": content, "pending": list[object](), "failed": list[object](), "partial": False}
    )


async def parquet(request: Request) -> Response:
    """List the Parquet files of a data set."""
    view, hub = _dataset(request), state(request)
    converted = hub.viewer.convert(view.repo, _open(request, view.repo.id).splits)
    files = list[dict[str, Any]]()
    for split in view.splits:
        path = hub.viewer.parquet_path(split)
        url = f"{hub.endpoint}/datasets/{view.repo.id}/resolve/refs%2Fconvert%2Fparquet/{path}"
        files.append({**view.named(split), "url": url, "filename": "0000.parquet", "size": converted.files[path].size})
    lists = {"pending": list[object](), "failed": list[object]()}
    return _answer(view, {"parquet_files": files, **lists, "partial": False})


async def statistics(request: Request) -> Response:
    """Send statistics of a split's columns."""
    view, _, table = _split(request)
    return _answer(view, {"num_examples": table.num_rows, "statistics": column_statistics(table), "partial": False})


async def hub_parquet(request: Request) -> Response:
    """List the addresses of converted Parquet files by configuration and split."""
    view, hub = _open(request, full_id(request)), state(request)
    hub.viewer.convert(view.repo, view.splits)
    base, urls = f"{hub.endpoint}/api/datasets/{view.repo.id}/parquet", dict[str, dict[str, list[str]]]()
    for split in view.splits:
        urls.setdefault(split.config, {})[split.name] = [f"{base}/{split.config}/{split.name}/0.parquet"]
    found: Any = urls
    for name in ("config", "split"):
        if name in request.path_params:
            found = found.get(param(request, name))
        if found is None:
            raise HubError(404, "Not found", "EntryNotFound")
    return JSONResponse(found)


async def hub_parquet_file(request: Request) -> Response:
    """Lead to a converted Parquet file."""
    view, hub = _open(request, full_id(request)), state(request)
    path = f"{param(request, 'config')}/{param(request, 'split')}/{int(param(request, 'number')):04d}.parquet"
    if path not in hub.viewer.convert(view.repo, view.splits).files:
        raise HubError(404, "Entry not found", "EntryNotFound")
    url = f"{hub.endpoint}/datasets/{view.repo.id}/resolve/refs%2Fconvert%2Fparquet/{path}"
    return RedirectResponse(url, 302)


BASE = "/datasets-server"
PARQUET = "/api/datasets/{ns}/{name}/parquet"
ROUTES = [
    Route(f"{BASE}/is-valid", is_valid),
    Route(f"{BASE}/splits", splits),
    Route(f"{BASE}/first-rows", first_rows),
    Route(f"{BASE}/rows", rows),
    Route(f"{BASE}/size", size),
    Route(f"{BASE}/info", info),
    Route(f"{BASE}/parquet", parquet),
    Route(f"{BASE}/statistics", statistics),
    Route(PARQUET, hub_parquet),
    Route(f"{PARQUET}/{{config}}", hub_parquet),
    Route(f"{PARQUET}/{{config}}/{{split}}", hub_parquet),
    Route(f"{PARQUET}/{{config}}/{{split}}/{{number:int}}.parquet", hub_parquet_file),
]
