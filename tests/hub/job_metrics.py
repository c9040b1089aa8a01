"""What the processes of a job use, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from tests.hub.hardware import Flavor

SESSION, UTIME, STIME, RSS = 3, 11, 12, 21


@dataclass(frozen=True)
class Usage:
    """CPU seconds and resident bytes of a session at one moment."""

    cpu_s: float
    memory: int
    moment: float


@dataclass
class GpuSample:
    """What jobs on GPU flavors report; there is no GPU behind them, so tests choose the numbers."""

    utilization: int = 0
    memory_used_bytes: int = 0


def usage_of(session: int | None) -> Usage:
    """Add up what all processes of a session use."""
    ticks, pages = 0, 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[SESSION]) == session:
            ticks += int(fields[UTIME]) + int(fields[STIME])
            pages += int(fields[RSS])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"), monotonic())


def sample(before: Usage, now: Usage, flavor: Flavor, gpu: GpuSample) -> dict[str, Any]:
    """Return one event of the metrics stream."""
    cores = float(flavor.cpu_cores)
    busy = (now.cpu_s - before.cpu_s) / max(0.001, now.moment - before.moment)
    return {
        "cpu_usage_pct": round(100 * max(0.0, busy) / cores, 1),
        "cpu_millicores": int(cores * 1000),
        "memory_used_bytes": now.memory,
        "memory_total_bytes": int(float(flavor.memory_gb) * 10**9),
        "rx_bps": 0,
        "tx_bps": 0,
        "gpus": {
            f"{index:08x}": {
                "utilization": gpu.utilization,
                "memory_used_bytes": gpu.memory_used_bytes,
                "memory_total_bytes": flavor.gpu_bytes,
            }
            for index in range(flavor.gpus)
        },
        "replica": "emulated",
    }
