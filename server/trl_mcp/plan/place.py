"""Where a job runs, for how long, at what price, and where its model goes."""

from dataclasses import dataclass, replace

from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.money import ceiling, in_usd
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.timeouts import timeout_seconds
from trl_mcp.schema import did_you_mean
from trl_mcp.values import Flavor, Identity

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the caller wants a job to run, as it was said."""

    hardware: str = "auto"
    timeout: str = "auto"
    namespace: str | None = None
    output_repo: str | None = None
    private: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs: `timeout_s` in seconds per attempt (None: no limit), the price in millionths of a USD a minute.

    `hardware_asked` is "auto" where the caller said so. A place without a flavor is this machine.
    """

    hardware: str
    namespace: str
    timeout_s: int | None = None
    attempts: int = 1
    hardware_asked: str = ""
    flavor: Flavor | None = None
    output_repo: str | None = None
    private: bool = True
    identity: Identity | None = None

    @property
    def is_local(self) -> bool:
        """Whether the job runs on this machine."""
        return self.flavor is None

    @property
    def price_fact(self) -> dict[str, str]:
        """The price as one of the facts that a plan is made on; nothing where it costs nothing."""
        return {"price per minute in micro-USD": str(self.flavor.micro_usd_per_minute)} if self.flavor else {}


@dataclass(frozen=True, slots=True)
class Gathering:
    """Who asks, and whether the Hub may be asked at all."""

    hub: Hub
    token: str | None
    is_offline: bool = False


async def find_place(wish: Wish, gathering: Gathering, attempts: int) -> Place:
    """Return where a job runs; "auto" is this machine where there is no token or no network.

    Raises InvalidArguments, naming today's flavors, for hardware that is not on offer.
    """
    timeout_s = timeout_seconds(wish.timeout)
    token = gathering.token
    if wish.hardware == LOCAL or (wish.hardware == "auto" and (not token or gathering.is_offline)):
        return await _local_place(wish, timeout_s, gathering, attempts)
    if not token:
        raise InvalidArguments(
            f'hardware "{wish.hardware}" needs a token of the Hugging Face Hub, and the server has none.',
            next_step='Set HF_TOKEN for the server, or use hardware="local". Nothing was started.',
        )
    if gathering.is_offline:
        raise InvalidArguments(
            f'hardware "{wish.hardware}" needs the Hugging Face Hub, and the server is set to stay offline.',
            next_step='Unset HF_HUB_OFFLINE for the server, or use hardware="local". Nothing was started.',
        )
    return await _paid_place(wish, timeout_s, gathering.hub, token, attempts)


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


async def _paid_place(wish: Wish, timeout_s: int | None, hub: Hub, token: str, attempts: int) -> Place:
    identity = await hub.identity(token)
    flavors, _ = await hub.flavors(token)
    flavor = next((each for each in flavors if each.name == wish.hardware), None)
    if flavor is None:
        raise InvalidArguments(
            f'hardware cannot be "{wish.hardware}" here.{did_you_mean(wish.hardware, [each.name for each in flavors])}',
            allowed=f"It is local (this machine, free), or a flavor: {price_list(flavors)}.",
            next_step="Nothing was started.",
        )
    if timeout_s is None:
        raise InvalidArguments(
            "A paid job needs a timeout; it is stopped then, and its ceiling is price x timeout.",
            allowed=f"{flavor.name} costs {in_usd(ceiling(flavor.micro_usd_per_minute, 3600, 1))} an hour.",
            next_step='For example timeout="2h". Nothing was started.',
        )
    namespace = wish.namespace or identity.name
    return Place(
        hardware=flavor.name,
        namespace=namespace,
        timeout_s=timeout_s,
        attempts=attempts,
        hardware_asked=wish.hardware,
        flavor=flavor,
        output_repo=_full_name(wish.output_repo, namespace),
        private=wish.private,
        identity=identity,
    )


def price_list(flavors: list[Flavor]) -> str:
    """Return the flavors with their price an hour, the cheapest first."""
    by_price = sorted(flavors, key=lambda flavor: flavor.micro_usd_per_minute)
    return ", ".join(f"{each.name} {in_usd(ceiling(each.micro_usd_per_minute, 3600, 1))}/h" for each in by_price)


def _full_name(repo: str | None, namespace: str) -> str | None:
    if repo is None or "/" in repo:
        return repo
    return f"{namespace}/{repo}"
