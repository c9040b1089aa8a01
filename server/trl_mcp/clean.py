"""What jobs, environments, plans and checkpoints hold on disk and in the bucket, and the freeing of it."""

import json
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console
from rich.table import Table

from trl_mcp.backends.base import Job
from trl_mcp.backends.dashboard import close_dashboard, metrics_folder
from trl_mcp.backends.hf import HfBackend
from trl_mcp.backends.local import LocalBackend
from trl_mcp.errors import HubError, NotPossible, TrlMcpError
from trl_mcp.hub.hub import Hub
from trl_mcp.settings import Settings

_ALL_JOBS = 100_000
KINDS = ("jobs", "checkpoints", "environments", "plans", "metrics", "bucket")
# What the dashboard of this machine runs in, and what it shows.
_OF_DASHBOARD = ("environments", "metrics")


@dataclass(frozen=True, slots=True)
class Holding:
    """What one kind of thing holds: how many there are, their bytes, and the way to free them."""

    kind: str
    count: int
    size: int
    free: Callable[[], Awaitable[None]]
    note: str = ""


def run_clean(kinds: list[str]) -> int:
    """Show what is held, free the kinds that are named, and return the exit code."""
    console = Console()
    try:
        return anyio.run(_clean, console, Settings.from_environ(os.environ), kinds)
    except TrlMcpError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


async def _clean(console: Console, settings: Settings, kinds: list[str]) -> int:
    async with Hub(settings.hub_endpoint) as hub:
        held = await holdings(settings, hub)
        if any(holding.kind in kinds and holding.count for holding in held if holding.kind in _OF_DASHBOARD):
            await anyio.to_thread.run_sync(_end_dashboard, settings.home)
        table = Table("kind", "number", "size", "")
        for holding in held:
            if holding.kind in kinds:
                await holding.free()
            table.add_row(
                holding.kind,
                str(holding.count),
                _size(holding.size),
                "freed" if holding.kind in kinds else holding.note,
            )
    console.print(table)
    if not kinds:
        console.print("To free some of it: trl-mcp clean " + " ".join(KINDS), highlight=False)
    return 0


async def holdings(settings: Settings, hub: Hub) -> list[Holding]:
    """Return what is held. Jobs that are not over, and what they need, are never counted."""
    jobs = await LocalBackend(settings.home, environ=settings.environ).list(_ALL_JOBS)
    active = [job for job in jobs if not job.stage.is_terminal]
    over = [settings.home / "jobs" / job.id for job in jobs if job.stage.is_terminal]
    busy = {job.run for job in active}
    runs = [path for path in _children(settings.home / "runs") if path.name not in busy]
    environments = [] if active else _children(settings.home / "envs")
    plans = [path for caller in _children(settings.home / "plans") for path in _children(caller)]
    metrics = [] if active else _children(metrics_folder(settings.home))
    found = [
        await _on_disk("jobs", over, "their output folders hold the models"),
        await _on_disk("checkpoints", runs, "of runs that are not finished"),
        await _on_disk("environments", environments, "made again when they are needed", _environment),
        await _on_disk("plans", plans),
        await _on_disk("metrics", metrics, "what the dashboard of this machine shows"),
    ]
    return [*found, *await _in_bucket(settings, hub)]


def _end_dashboard(home: Path) -> None:
    """End the dashboard, which comes back when somebody looks. Raises NotPossible."""
    if not close_dashboard(home):
        raise NotPossible("The Trackio dashboard of this machine does not end.", next_step="Call again in a minute.")


def _alone(path: Path) -> list[Path]:
    return [path]


async def _on_disk(
    kind: str, things: list[Path], note: str = "", paths_of: Callable[[Path], list[Path]] = _alone
) -> Holding:
    paths = [path for thing in things for path in paths_of(thing)]

    async def free() -> None:
        for path in paths:
            await anyio.to_thread.run_sync(_remove, path)

    size = await anyio.to_thread.run_sync(lambda: sum(map(_bytes, paths)))
    return Holding(kind, len(things), size, free, note)


async def _in_bucket(settings: Settings, hub: Hub) -> list[Holding]:
    """Return what the caller's bucket keeps for runs that may be continued; nothing without a token.

    A Hub that does not answer keeps nobody from freeing the rest: it is said, and raised where the bucket is freed.
    """
    token = settings.environ.get("HF_TOKEN")
    if settings.is_offline or not token:
        return []
    try:
        name = (await hub.identity(token)).name
        busy = {job.run for job in await _jobs(hub, token, name, settings) if not job.stage.is_terminal}
        held = [run for run in await hub.held_runs(token, name) if run.run not in busy]
    except HubError as error:
        return [_unseen(f"The bucket could not be looked at: {error.what}", error.next_step)]

    async def free() -> None:
        for run in held:
            await hub.free_checkpoints(token, name, run.run)

    return [Holding("bucket", len(held), sum(run.size for run in held), free, f"checkpoints in {name}/trl-mcp")]


async def _jobs(hub: Hub, token: str, namespace: str, settings: Settings) -> list[Job]:
    return await HfBackend(hub, token, namespace, locks=settings.home / "locks").list(_ALL_JOBS)


def _unseen(why: str, next_step: str) -> Holding:
    async def free() -> None:
        raise NotPossible(why, next_step=next_step)

    return Holding("bucket", 0, 0, free, why)


def _environment(folder: Path) -> list[Path]:
    """Return an environment's folder, and the one that uv made for it, which its marker names."""
    try:
        python = Path(json.loads((folder / "ready.json").read_bytes())["python"])
    except (OSError, ValueError, KeyError):
        return [folder]
    made = python.parents[1]
    return [folder, made] if made.name.startswith("header-") else [folder]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
