"""The machines on offer with their prices, as a resource."""

from trl_mcp.context import CallContext
from trl_mcp.errors import NotFound, TokenMissing
from trl_mcp.estimate.money import ceiling, in_usd
from trl_mcp.values import Flavor

_KINDS = ("all", "gpu", "cpu")


async def hardware_table(context: CallContext, kind: str) -> str:
    """Return a table of today's flavors, the cheapest first, with the age of the prices.

    Raises NotFound for another kind than all, gpu or cpu, TokenMissing, HubError.
    """
    if kind not in _KINDS:
        raise NotFound(f'There is no kind of hardware "{kind}".', allowed=f"There are: {', '.join(_KINDS)}.")
    if not context.token:
        raise TokenMissing("Prices need a token of the Hugging Face Hub, and the server has none.")
    flavors, age_s = await context.server.hub.flavors(context.token)
    chosen = [flavor for flavor in flavors if kind == "all" or (flavor.gpu_count > 0) == (kind == "gpu")]
    rows = [_row(flavor) for flavor in sorted(chosen, key=lambda flavor: flavor.micro_usd_per_minute)]
    heading = ["| hardware | GPU | GPU memory | vCPU | RAM | USD an hour |", "|---|---|---|---|---|---|"]
    return "\n".join([*heading, *rows, "", f"Prices are {age_s:.0f} s old. local is this machine and free."])


def _row(flavor: Flavor) -> str:
    gpu = f"{flavor.gpu_count} x {flavor.accelerator}" if flavor.gpu_count else "-"
    memory = f"{flavor.vram_gb:.0f} GB" if flavor.vram_gb else "-"
    hourly = in_usd(ceiling(flavor.micro_usd_per_minute, 3600, 1))
    return f"| {flavor.name} | {gpu} | {memory} | {flavor.vcpu} | {flavor.ram_gb:.0f} GB | {hourly} |"
