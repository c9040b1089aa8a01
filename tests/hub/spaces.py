"""Spaces as far as Trackio needs them: secrets, variables, volumes, runtime, and the app itself."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub import spaces_trackio
from tests.hub.clock import isoformat, utcnow
from tests.hub.errors import HubError
from tests.hub.repo_store import SpaceSettings
from tests.hub.web import body, caller, full_id, state


def _settings(request: Request, *, write: bool = True) -> SpaceSettings:
    repos, token = state(request).repos, caller(request)
    find = repos.writable if write else repos.visible
    space = find("space", full_id(request), token).space
    assert space is not None, full_id(request)
    return space


async def _set(request: Request, values: dict[str, dict[str, str]]) -> None:
    wanted = await body(request)
    if not isinstance(wanted.get("key"), str) or not isinstance(wanted.get("value"), str):
        raise HubError(400, "Expected a key and a value")
    values[wanted["key"]] = {**wanted, "updatedAt": isoformat(utcnow())}


async def _unset(request: Request, values: dict[str, dict[str, str]]) -> None:
    if values.pop(str((await body(request)).get("key")), None) is None:
        raise HubError(404, "No such key")


def _listing(values: dict[str, dict[str, str]], *, hide_values: bool) -> Response:
    hidden = {"value"} if hide_values else set[str]()
    return JSONResponse(
        {key: {name: text for name, text in entry.items() if name not in hidden} for key, entry in values.items()}
    )


async def secrets(request: Request) -> Response:
    """Read, set or delete secrets; their values never come back."""
    values = _settings(request).secrets
    if request.method == "POST":
        await _set(request, values)
    elif request.method == "DELETE":
        await _unset(request, values)
    return _listing(values, hide_values=True)


async def variables(request: Request) -> Response:
    """Read, set or delete public variables."""
    values = _settings(request, write=request.method != "GET").variables
    if request.method == "POST":
        await _set(request, values)
    elif request.method == "DELETE":
        await _unset(request, values)
    return _listing(values, hide_values=False)


def _runtime_view(space: SpaceSettings) -> dict[str, Any]:
    hardware = {"current": space.hardware, "requested": space.hardware}
    view: dict[str, Any] = {"stage": space.stage, "hardware": hardware, "gcTimeout": space.sleep_time, "storage": None}
    return view | ({"volumes": space.volumes} if space.volumes else {})


async def runtime(request: Request) -> Response:
    """Show in what state a Space is and on what hardware."""
    return JSONResponse(_runtime_view(_settings(request, write=False)))


async def restart(request: Request) -> Response:
    """Start a Space again."""
    space = _settings(request)
    space.stage = "RUNNING"
    return JSONResponse(_runtime_view(space))


async def pause(request: Request) -> Response:
    """Stop a Space until it is started again."""
    space = _settings(request)
    space.stage = "PAUSED"
    return JSONResponse(_runtime_view(space))


async def hardware(request: Request) -> Response:
    """Move a Space to other hardware."""
    space, wanted = _settings(request), await body(request)
    if wanted.get("flavor") not in state(request).hardware.flavors:
        raise HubError(400, f"Invalid flavor: {wanted.get('flavor')}")
    space.hardware = str(wanted["flavor"])
    space.sleep_time = wanted.get("sleepTimeSeconds", space.sleep_time)
    return JSONResponse(_runtime_view(space))


async def volumes(request: Request) -> Response:
    """Replace the volumes of a Space, or remove them."""
    space = _settings(request)
    if request.method == "DELETE" and not space.volumes:
        raise HubError(400, "The Space has no volumes")
    space.volumes = [] if request.method == "DELETE" else list((await body(request)).get("volumes") or [])
    return JSONResponse(_runtime_view(space))


async def hardware_list(request: Request) -> Response:
    """List the hardware that Spaces may run on."""
    return JSONResponse(state(request).hardware.listing())


SPACE = "/api/spaces/{ns}/{name}"
ROUTES = [
    Route("/api/spaces/hardware", hardware_list),
    Route(f"{SPACE}/secrets", secrets, methods=["GET", "POST", "DELETE"]),
    Route(f"{SPACE}/variables", variables, methods=["GET", "POST", "DELETE"]),
    Route(f"{SPACE}/runtime", runtime),
    Route(f"{SPACE}/restart", restart, methods=["POST"]),
    Route(f"{SPACE}/pause", pause, methods=["POST"]),
    Route(f"{SPACE}/hardware", hardware, methods=["POST"]),
    Route(f"{SPACE}/volumes", volumes, methods=["PUT", "DELETE"]),
    *spaces_trackio.ROUTES,
]
