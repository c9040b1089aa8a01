"""Who the caller is, and what machines are on offer."""

from trl_mcp.hub.client import Ask, HubClient
from trl_mcp.hub.fields import amount, dig, items, text, texts, whole
from trl_mcp.hub.values import Identity, TokenScope
from trl_mcp.values import Flavor

_ROUND_UP = 0.999_999


async def fetch_identity(client: HubClient, token: str) -> Identity:
    """Ask who a token belongs to. The Hub limits this question strictly. Raises HubError."""
    raw = await client.json(token, Ask("tell who the token belongs to", "/api/whoami-v2"))
    granted = dig(raw, "auth", "accessToken")
    return Identity(
        name=text(raw, "name"),
        organisations={text(org, "name"): text(org, "roleInOrg") or "write" for org in items(raw, "orgs")},
        access=text(granted, "role") or text(raw, "auth", "type"),
        scopes=tuple(_scope(entry) for entry in items(granted, "fineGrained", "scoped")),
        tokens_page=f"{client.endpoint}/settings/tokens",
    )


async def fetch_flavors(client: HubClient, token: str) -> list[Flavor]:
    """Ask for the machines on offer with today's prices; one without a price per minute is left out. Raises HubError."""
    raw = await client.json(token, Ask("list the hardware of Hugging Face Jobs", "/api/jobs/hardware"))
    return [flavor for entry in items({"page": raw}, "page") if (flavor := _flavor(entry)) is not None]


def _scope(raw: object) -> TokenScope:
    permissions = frozenset(texts(raw, "permissions"))
    return TokenScope(text(raw, "entity", "type"), text(raw, "entity", "name"), permissions)


def _flavor(raw: object) -> Flavor | None:
    price = _micro_usd(raw)
    if price is None or text(raw, "unitLabel") not in {"", "minute"} or not text(raw, "name"):
        return None
    gpu = dig(raw, "accelerator")
    return Flavor(
        name=text(raw, "name"),
        pretty_name=text(raw, "prettyName") or text(raw, "name"),
        vcpu=int(amount(raw, "cpu")),
        ram_gb=amount(raw, "ram"),
        disk_gb=amount(raw, "ephemeralStorage"),
        accelerator=text(gpu, "model"),
        gpu_count=(whole(gpu, "quantity") or 1) if gpu else 0,
        vram_gb=amount(gpu, "vram"),
        micro_usd_per_minute=price,
    )


def _micro_usd(raw: object) -> int | None:
    price = whole(raw, "unitCostMicroUSD")
    if price is None and (usd := amount(raw, "unitCostUSD")):
        price = int(usd * 1_000_000 + _ROUND_UP)
    return price if price is not None and price >= 0 else None
