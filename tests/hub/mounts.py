"""Whether volumes can be mounted here, and how a process gets its own mount namespace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

SANDBOX = Path(__file__).with_name("sandbox.py")
WAYS = (("--mount",), ("--mount", "--map-root-user"))


@cache
def _probe() -> tuple[tuple[str, ...], str]:
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None:
        return (), "mounting volumes needs Linux and the unshare command"
    reason = ""
    for way in WAYS:
        check = [unshare, *way, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        result = subprocess.run(check, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return (unshare, *way), ""
        reason = result.stderr.strip() or f"unshare ended with {result.returncode}"
    return (), f"this machine allows no private mount namespace: {reason}"


def mounts_supported() -> str | None:
    """Return None where volumes can be mounted, otherwise the reason why not."""
    return _probe()[1] or None


def sandbox_command() -> list[str]:
    """Return the command that runs the sandbox in a new mount namespace."""
    return [*_probe()[0], "--", sys.executable, "-I", "-S", str(SANDBOX)]
