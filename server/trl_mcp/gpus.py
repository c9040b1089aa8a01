"""The NVIDIA devices of this machine, as its driver lists them."""

import re
import subprocess
from collections.abc import Mapping

_DEVICE = re.compile(r"^(\s*)(?:GPU|MIG) .*\(UUID: (\S+?)\)")
_TIMEOUT_S = 60


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """Return the UUIDs of the devices a job may use, in the driver's order; CUDA_VISIBLE_DEVICES narrows them."""
    return _narrow(parse_devices(_listing(environ)), environ.get("CUDA_VISIBLE_DEVICES"))


def parse_devices(listing: str) -> list[str]:
    """Return the UUIDs in the output of `nvidia-smi -L`; a GPU that is cut into MIG slices counts as those slices."""
    devices: list[str] = []
    whole = ""
    for indent, uuid in (match.groups() for line in listing.splitlines() if (match := _DEVICE.match(line))):
        if not indent:
            whole = uuid
        elif whole in devices:
            devices.remove(whole)
        devices.append(uuid)
    return devices


def _listing(environ: Mapping[str, str]) -> str:
    command = ["nvidia-smi", "-L"]
    try:
        done = subprocess.run(
            command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")


def _narrow(devices: list[str], visible: str | None) -> list[str]:
    if visible is None:
        return devices
    chosen: list[str] = []
    for token in (part.strip() for part in visible.split(",")):
        found = [devices[int(token)]] if token.isdigit() and int(token) < len(devices) else []
        found = found or [uuid for uuid in devices if token and uuid.startswith(token)][:1]
        if not found:  # as CUDA itself: the first unknown device hides all that follow
            break
        chosen += found
    return chosen
