"""The Trackio app of a Space, as far as runs need it: they log to it, and it tells what they logged.

What is logged lies in the bucket that is mounted at /data, one file for each project. The app answers below the
Space's own page, since there is no host of its own for it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.clock import isoformat, utcnow
from tests.hub.errors import HubError
from tests.hub.repo_store import Repo
from tests.hub.web import body, caller, full_id, state

API_VERSION = 1
Entry = dict[str, Any]


class Metrics:
    """What the runs of a Space have logged, in the order in which it came in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, kind: str, entries: list[Entry]) -> None:
        """Keep entries; one that was sent before, as its id tells, is kept once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for project in {str(entry["project"]) for entry in entries}:
            known = {entry["log_id"] for entry in self.of({"project": project}, kind) if entry.get("log_id")}
            with self._file(project).open("a", encoding="utf-8") as file:
                for entry in entries:
                    if entry["project"] == project and entry.get("log_id") not in known:
                        file.write(json.dumps({**entry, "kind": kind, "received_at": isoformat(utcnow())}) + "\n")

    def projects(self) -> list[str]:
        """Return the names of all projects."""
        return sorted(json.loads(path.read_text(encoding="utf-8").splitlines()[0])["project"] for path in self._files())

    def of(self, run: Entry, kind: str = "log") -> list[Entry]:
        """Return the entries of one kind, of the project and the run (by name, id or neither) that are named."""
        wanted = {name: run[name] for name in ("run", "run_id") if run.get(name) is not None}
        return [
            entry
            for entry in self._entries(run["project"])
            if entry["kind"] == kind and all(entry.get(name) == value for name, value in wanted.items())
        ]

    def _entries(self, project: str) -> list[Entry]:
        file = self._file(project)
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def _file(self, project: str) -> Path:
        return self._folder / f"{quote(project, safe='')}.jsonl"

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*.jsonl"))


def _points(metrics: Metrics, asked: Entry) -> list[Entry]:
    """Return the entries of a run with the step that Trackio counts where a run names none."""
    points = metrics.of(asked)
    return [
        {"step": index if entry.get("step") is None else entry["step"], "timestamp": entry["received_at"], **entry}
        for index, entry in enumerate(points)
    ]


def _runs(metrics: Metrics, asked: Entry) -> list[Entry]:
    found: dict[str, Entry] = {}
    for kind in ("log", "system"):
        for entry in metrics.of({"project": asked["project"]}, kind):
            run = {"id": entry.get("run_id"), "name": entry["run"], "created_at": entry["received_at"]}
            found.setdefault(str(entry.get("run_id")), run)
    return list(found.values())


def _summary(metrics: Metrics, asked: Entry) -> Entry:
    points = _points(metrics, asked)
    names = sorted({name for point in points for name in point["metrics"]})
    config = next((point["config"] for point in points if point.get("config")), None)
    last = max((point["step"] for point in points), default=None)
    return {**asked, "num_logs": len(points), "metrics": names, "config": config, "last_step": last}


def _logs(metrics: Metrics, asked: Entry) -> list[Entry]:
    return [
        {**point["metrics"], "step": point["step"], "timestamp": point["timestamp"]}
        for point in _points(metrics, asked)
    ]


def _values(metrics: Metrics, asked: Entry) -> list[Entry]:
    name = asked["metric_name"]
    return [
        {"step": point["step"], "timestamp": point["timestamp"], "value": point["metrics"][name]}
        for point in _points(metrics, asked)
        if name in point["metrics"]
    ]


READS: dict[str, Callable[[Metrics, Entry], object]] = {
    "get_all_projects": lambda metrics, _: metrics.projects(),
    "get_runs_for_project": _runs,
    "get_run_summary": _summary,
    "get_logs": _logs,
    "get_metric_values": _values,
    "get_system_logs": lambda metrics, asked: [entry["metrics"] for entry in metrics.of(asked, "system")],
    "get_alerts": lambda metrics, asked: metrics.of(asked, "alert"),
}
WRITES = {"bulk_log": ("log", "logs"), "bulk_log_system": ("system", "logs"), "bulk_alert": ("alert", "alerts")}


def _space(request: Request) -> Repo:
    """Return the Space whose app is asked. Raises HubError where the caller may not see it or it does not run."""
    repo = state(request).repos.visible("space", full_id(request), caller(request))
    if repo.space is None or repo.space.stage != "RUNNING":
        raise HubError(503, "Your space is in error, check its status on hf.co")
    if repo.space.sdk == "static" or b"trackio.show" not in _app(request, repo):
        raise HubError(404, "The Space has no Trackio app")
    return repo


def _app(request: Request, repo: Repo) -> bytes:
    file = repo.head.files.get("app.py")
    return state(request).blobs.read(file.sha256) if file else b""


def _metrics(request: Request, repo: Repo) -> Metrics:
    assert repo.space is not None, repo.id
    mounted = [str(volume["source"]) for volume in repo.space.volumes if volume.get("mountPath") == "/data"]
    if not mounted:
        raise HubError(500, "The emulated app keeps metrics in a bucket mounted at /data only")
    return Metrics(state(request).buckets.buckets[mounted[0]].root / "trackio")


async def version(request: Request) -> Response:
    """Tell which API the app has."""
    _space(request)
    return JSONResponse({"version": "0.43.0", "api_version": API_VERSION, "api_transport": "http"})


async def call(request: Request) -> Response:
    """Answer one call of the API; writing needs a token that may change the Space."""
    repo, name = _space(request), str(request.path_params["api"])
    asked: Entry = (await body(request)).get("kwargs") or {}
    metrics = _metrics(request, repo)
    if name in READS:
        return JSONResponse({"data": READS[name](metrics, asked)})
    if name not in WRITES:
        return JSONResponse({"error": f"Unknown API: {name}"}, status_code=404)
    token = state(request).accounts.authenticate(f"Bearer {asked.get('hf_token')}")
    state(request).repos.writable("space", repo.id, token)
    kind, parameter = WRITES[name]
    metrics.add(kind, asked[parameter])
    return JSONResponse({"data": None})


async def page(request: Request) -> Response:
    """Show the runs that the address names."""
    repo = _space(request)
    project = request.query_params.get("project", "")
    wanted = request.query_params.get("runs", "").split(",")
    runs = [str(run["name"]) for run in _runs(_metrics(request, repo), {"project": project})]
    return JSONResponse({"project": project, "runs": [run for run in runs if wanted == [""] or run in wanted]})


APP = "/spaces/{ns}/{name}"
ROUTES = [
    Route(f"{APP}/", page),
    Route(f"{APP}/version", version),
    Route(f"{APP}/api/{{api}}", call, methods=["POST"]),
]
