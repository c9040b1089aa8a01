"""What would break, before it does: the machine, uv, the token, the Hub. What can be made ahead is made."""

import os
import platform
import shutil
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import anyio
from rich.console import Console
from rich.markup import escape

from trl_mcp.data.token_worker import make_environment
from trl_mcp.errors import NotPossible, TrlMcpError
from trl_mcp.estimate.money import ceiling, in_usd
from trl_mcp.gpus import visible_gpus
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import Identity
from trl_mcp.settings import Settings
from trl_mcp.values import Flavor

_LEAST_DISK_GB = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, what was found, and the mend where it is not."""

    name: str
    is_well: bool
    found: str
    mend: str = ""


def run_doctor() -> int:
    """Print every check and return 0 where nothing would break a local job or, with a token, a paid one."""
    console = Console()
    try:
        settings = Settings.from_environ(os.environ)
    except TrlMcpError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    return anyio.run(_print_checks, console, settings)


async def _print_checks(console: Console, settings: Settings) -> int:
    failed = 0
    async for check in checks(settings):
        failed += not check.is_well
        mark = "[green]ok[/green]" if check.is_well else "[red]!![/red]"
        console.print(f"{mark}  [bold]{check.name}[/bold]  {escape(check.found)}", highlight=False)
        if check.mend and not check.is_well:
            console.print(f"    {check.mend}", markup=False, highlight=False)
    return 1 if failed else 0


async def checks(settings: Settings) -> AsyncGenerator[Check]:
    """Return the checks one by one, as soon as each is known."""
    yield _system()
    yield await anyio.to_thread.run_sync(_home, settings.home)
    yield _uv()
    gpus = visible_gpus(settings.environ)
    yield Check("device", is_well=True, found=f"{len(gpus)} NVIDIA GPU" if gpus else "CPU or Apple GPU")
    yield await _token_counting(settings)
    async with Hub(settings.hub_endpoint) as hub:
        async for check in _hub_checks(hub, settings):
            yield check


def _system() -> Check:
    name = f"{platform.system()} with Python {platform.python_version()}"
    return Check("system", sys.platform != "win32", name, "Local jobs need Linux or macOS: run the server inside WSL.")


def _home(home: Path) -> Check:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Check(
            "home", is_well=False, found=f"{home}: {error.strerror}", mend="Set TRL_MCP_HOME to a folder of yours."
        )
    free = shutil.disk_usage(home).free / 1e9
    return Check("home", free >= _LEAST_DISK_GB, f"{home}, {free:.0f} GB free", "An environment alone needs 2 GB.")


def _uv() -> Check:
    import uv

    try:
        return Check("uv", is_well=True, found=uv.find_uv_bin())
    except FileNotFoundError:
        return Check("uv", is_well=False, found="not there", mend="Install the package uv beside trl-mcp.")


async def _token_counting(settings: Settings) -> Check:
    """Make the environment that tokens are counted in, so that no tool call waits for it."""
    mend = "Let uv reach a package index, and run trl-mcp doctor again. Until then no tokens are counted."
    try:
        await make_environment(settings.home, settings.environ)
    except NotPossible as error:
        return Check("token counting", is_well=False, found=error.what, mend=mend)
    return Check("token counting", is_well=True, found="its environment is made")


async def _hub_checks(hub: Hub, settings: Settings) -> AsyncGenerator[Check]:
    token = settings.environ.get("HF_TOKEN")
    if settings.is_offline or not token:
        why = "HF_HUB_OFFLINE is set" if settings.is_offline else "HF_TOKEN is not set"
        yield Check("Hugging Face Jobs", is_well=True, found=f"not used: {why}; local jobs only")
        return
    try:
        identity = await hub.identity(token)
        yield Check("token", is_well=True, found=f"{identity.access}, of {identity.name}")
        for namespace in (identity.name, *identity.organisations):
            yield _may_run(identity, namespace)
        flavors, _ = await hub.flavors(token)
        yield Check("hardware", is_well=bool(flavors), found=_cheapest(flavors))
    except TrlMcpError as error:
        yield Check("Hub", is_well=False, found=error.what, mend=error.next_step)


def _may_run(identity: Identity, namespace: str) -> Check:
    reason = identity.why_no_jobs(namespace) or identity.why_no_write(namespace)
    # An organisation one may only read in breaks nothing: jobs run elsewhere.
    is_own = namespace == identity.name
    return Check(f"jobs in {namespace}", reason is None or not is_own, reason or "may run jobs and keep models")


def _cheapest(flavors: list[Flavor]) -> str:
    hourly = sorted((ceiling(each.micro_usd_per_minute, 3600, 1), each.name) for each in flavors)
    return f"{len(hourly)} flavors, from {hourly[0][1]} at {in_usd(hourly[0][0])}/h" if hourly else "none on offer"
