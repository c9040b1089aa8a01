"""The local machine as hardware: its GPUs or its memory, its disk. It is free."""

import os
import shutil
import sys
from pathlib import Path

from trl_mcp.gpus import described_gpus
from trl_mcp.plan.place import LOCAL, Gathering
from trl_mcp.values import Flavor

_GB = 1e9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def this_machine(gathering: Gathering, strategy: str | None = None) -> Flavor:
    """Return this machine as a job sees it: one of its GPUs, all of one kind where the strategy asks for several."""
    visible = described_gpus(gathering.environ)
    gpus = [gpu for gpu in visible if gpu.size_gb]
    used = [gpu for gpu in gpus if gpu == gpus[0]] if strategy not in (None, "single_gpu") else gpus[:1]
    home = next(folder for folder in (gathering.home, *gathering.home.parents) if folder.exists())
    return Flavor(
        name=LOCAL,
        pretty_name="this machine",
        # How fast the GPU of a Mac is, or one that shares the host's memory, is not known: hours are left open.
        vcpu=0 if sys.platform == "darwin" or len(gpus) < len(visible) else os.cpu_count() or 1,
        ram_gb=_memory() / _GB,
        disk_gb=shutil.disk_usage(home).free / _GB,
        accelerator=used[0].name if used else "",
        gpu_count=len(used),
        vram_gb=sum(gpu.size_gb for gpu in used),
        micro_usd_per_minute=0,
    )


def _memory() -> float:
    """Return the memory in bytes that processes here may use; 0 where the system does not tell."""
    try:
        own = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0.0
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return own
    return min(own, float(limit)) if limit.isdigit() else own
