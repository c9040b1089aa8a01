"""The flavors on offer, with their prices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICE_LIST = Path(__file__).with_name("hardware.json")


@dataclass(frozen=True)
class Flavor:
    """A kind of machine."""

    name: str
    raw: dict[str, Any]

    @property
    def micro_usd_per_minute(self) -> int:
        """The price of a started minute."""
        return int(self.raw["unitCostMicroUSD"])

    @property
    def gpus(self) -> int:
        """How many GPUs the machine has."""
        accelerator = self.raw["accelerator"]
        return int(accelerator["quantity"]) if accelerator else 0

    @property
    def gpu_bytes(self) -> int:
        """The memory of each GPU."""
        total = int(self.raw["accelerator"]["vram"].split()[0]) if self.gpus else 0
        return total * 10**9 // max(1, self.gpus)

    @property
    def cpu_cores(self) -> str:
        """The number of virtual CPUs."""
        return str(self.raw["cpu"]).split()[0]

    @property
    def memory_gb(self) -> str:
        """The main memory in GB."""
        return str(self.raw["ram"]).split()[0]


class Hardware:
    """The price list of one emulated Hub, which may change while it runs."""

    def __init__(self) -> None:
        raw = json.loads(PRICE_LIST.read_text(encoding="utf-8"))["hardware"]
        self.flavors = {entry["name"]: Flavor(entry["name"], entry) for entry in raw}

    def listing(self) -> list[dict[str, Any]]:
        """Return the list as the API answers it."""
        return [flavor.raw for flavor in self.flavors.values()]

    def set_price(self, name: str, micro_usd_per_minute: int) -> None:
        """Change what a started minute of a flavor costs."""
        price = {"unitCostMicroUSD": micro_usd_per_minute, "unitCostUSD": micro_usd_per_minute / 1_000_000}
        self.flavors[name] = Flavor(name, {**self.flavors[name].raw, **price})

    def withdraw(self, name: str) -> None:
        """Take a flavor off the list."""
        del self.flavors[name]
