"""Where a job runs, for how long, at what price, and where its model goes."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trl_mcp.concurrency import both
from trl_mcp.data.scan_memory import ScanMemory
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.data.tokens import MeasurementMemory
from trl_mcp.errors import HubUnreachable, InvalidArguments
from trl_mcp.estimate.money import ceiling, in_usd
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import Identity
from trl_mcp.plan.timeouts import timeout_seconds
from trl_mcp.schema import did_you_mean
from trl_mcp.values import Flavor

LOCAL = "local"
AUTO = "auto"

Progress = Callable[[float, float | None, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the caller wants a job to run, as it was said.

    `agreed` is what a plan has made of it: hardware, timeout_s and the split of the batch, which then stay.
    """

    hardware: str = "auto"
    timeout: str = "auto"
    namespace: str | None = None
    output_repo: str | None = None
    private: bool = True
    agreed: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs: `timeout_s` in seconds per attempt (None: no limit), the price in millionths of a USD a minute.

    `hardware_asked` is "auto" where the caller said so. A place that is still open has `candidates` and no flavor, or
    no timeout yet.
    """

    hardware: str
    namespace: str
    timeout_s: int | None = None
    attempts: int = 1
    hardware_asked: str = ""
    flavor: Flavor | None = None
    candidates: tuple[Flavor, ...] = ()
    output_repo: str | None = None
    private: bool = True
    identity: Identity | None = None

    @property
    def is_local(self) -> bool:
        """Whether the job runs on this machine."""
        return self.hardware == LOCAL

    @property
    def price_fact(self) -> dict[str, str]:
        """The price as one of the facts that a plan is made on; nothing where it costs nothing."""
        return {"price per minute in micro-USD": str(self.flavor.micro_usd_per_minute)} if self.flavor else {}


async def no_progress(_done: float, _total: float | None, _message: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """Who asks, whether the Hub may be asked at all, what counts tokens (None: nothing), and who is told of progress.

    `environ`, `home` and `secrets` are the operator's: which GPUs jobs may use, on which disk they lie, and the names
    of the secrets that they can be given; `private_hosts` are those of this machine and its network that https
    addresses may lead to (None: all of them).
    """

    hub: Hub
    token: str | None
    is_offline: bool = False
    tokens: TokenWorker | None = None
    scans: ScanMemory = field(default_factory=ScanMemory)
    measurements: MeasurementMemory = field(default_factory=MeasurementMemory)
    report_progress: Progress = no_progress
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    home: Path = field(default_factory=Path.home)
    secrets: frozenset[str] = frozenset()
    private_hosts: frozenset[str] | None = frozenset()

    def check_online(self) -> None:
        """Raise HubUnreachable where the Hub may not be asked."""
        if self.is_offline:
            raise HubUnreachable("The server is set to stay offline.")


async def find_place(wish: Wish, gathering: Gathering, attempts: int, *, may_be_open: bool = False) -> Place:
    """Return where a job runs; "auto" is this machine where there is no token or no network.

    Only where it may be open does a paid place leave hardware or timeout to the estimate. Raises InvalidArguments,
    naming today's flavors, for hardware that is not on offer.
    """
    timeout_s = wish.agreed["timeout_s"] if wish.agreed else timeout_seconds(wish.timeout)
    hardware = wish.agreed["hardware"] if wish.agreed else wish.hardware
    token = gathering.token
    if hardware == LOCAL or (hardware == AUTO and (not token or gathering.is_offline)):
        return await _local_place(wish, timeout_s, gathering, attempts)
    if not token:
        raise InvalidArguments(
            f'hardware "{hardware}" needs a token of the Hugging Face Hub, and the server has none.',
            next_step='Set HF_TOKEN for the server, or use hardware="local". Nothing was started.',
        )
    if gathering.is_offline:
        raise InvalidArguments(
            f'hardware "{hardware}" needs the Hugging Face Hub, and the server is set to stay offline.',
            next_step='Unset HF_HUB_OFFLINE for the server, or use hardware="local". Nothing was started.',
        )
    place = await _paid_place(replace(wish, hardware=hardware), timeout_s, gathering.hub, token, attempts)
    return replace(place if may_be_open else closed(place), hardware_asked=wish.hardware)


async def _local_place(wish: Wish, timeout_s: int | None, gathering: Gathering, attempts: int) -> Place:
    """Return this machine; its job pushes only where a repository is named."""
    if wish.namespace:
        raise InvalidArguments(
            "namespace says who pays for a job on Hugging Face Jobs; a local job is free.",
            next_step="Leave it out, or name a flavor as hardware. Nothing was started.",
        )
    place = Place(LOCAL, LOCAL, timeout_s, attempts, wish.hardware)
    if wish.output_repo is None:
        return place
    if not gathering.token or gathering.is_offline:
        raise InvalidArguments(
            "output_repo needs the Hugging Face Hub, and the server has no token or is set to stay offline.",
            next_step="Leave it out: the model lies at output_path. Nothing was started.",
        )
    identity = await gathering.hub.identity(gathering.token)
    repo = _full_name(wish.output_repo, identity.name)
    return replace(place, output_repo=repo, private=wish.private, identity=identity)


def _meant(hardware: str, flavors: list[Flavor]) -> str:
    """Return which flavor was meant: of those whose names begin so the cheapest, else the one named most alike."""
    begun = [each for each in flavors if hardware and each.name.startswith(hardware.lower())]
    if begun:
        return f' Did you mean "{min(begun, key=lambda each: each.micro_usd_per_minute).name}"?'
    return did_you_mean(hardware, [each.name for each in flavors])


async def _paid_place(wish: Wish, timeout_s: int | None, hub: Hub, token: str, attempts: int) -> Place:
    identity, (flavors, _) = await both(lambda: hub.identity(token), lambda: hub.flavors(token))
    flavor = next((each for each in flavors if each.name == wish.hardware), None)
    if flavor is None and wish.hardware != AUTO:
        raise no_hardware(wish.hardware, flavors, _meant(wish.hardware, flavors))
    namespace = wish.namespace or identity.name
    return Place(
        hardware=wish.hardware,
        namespace=namespace,
        timeout_s=timeout_s,
        attempts=attempts,
        flavor=flavor,
        candidates=tuple(flavors),
        output_repo=_full_name(wish.output_repo, namespace),
        private=wish.private,
        identity=identity,
    )


def closed(place: Place, why: str = "") -> Place:
    """Return a place that a job can start in. Raises InvalidArguments where hardware or timeout are still open."""
    if place.is_local:
        return place
    if place.flavor is None:
        raise no_hardware(place.hardware, list(place.candidates), f" {why}" if why else "")
    if place.timeout_s is None:
        hourly = in_usd(ceiling(place.flavor.micro_usd_per_minute, 3600, 1))
        raise InvalidArguments(
            f"A paid job needs a timeout; it is stopped then, and its ceiling is price x timeout.{f' {why}' if why else ''}",
            allowed=f"{place.hardware} costs {hourly} an hour.",
            next_step='For example timeout="2h". Nothing was started.',
        )
    return place


def no_hardware(name: str, flavors: list[Flavor], why: str) -> InvalidArguments:
    """Return the error for hardware that cannot be used, with what there is today."""
    return InvalidArguments(
        f'hardware cannot be "{name}" here.{why}',
        allowed=f"It is local (this machine, free), or a flavor: {price_list(flavors)}.",
        next_step="Nothing was started.",
    )


def price_list(flavors: list[Flavor]) -> str:
    """Return the flavors with their price an hour, the cheapest first."""
    by_price = sorted(flavors, key=lambda flavor: flavor.micro_usd_per_minute)
    return ", ".join(f"{each.name} {in_usd(ceiling(each.micro_usd_per_minute, 3600, 1))}/h" for each in by_price)


def _full_name(repo: str | None, namespace: str) -> str | None:
    if repo is None or "/" in repo:
        return repo
    return f"{namespace}/{repo}"
