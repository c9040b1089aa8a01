"""The NVIDIA devices of this machine, as its driver lists them."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_DEVICE = re.compile(r"^(\s*)(?:GPU|MIG) .*\(UUID: (\S+?)\)")
_SLICE = re.compile(r"MIG \S*?(\d+)gb.*\(UUID: (\S+?)\)")
_TIMEOUT_S = 60
_MIB_PER_GIB = 1024


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a slice of one; `size_gb` is its memory as it is sold, in GiB."""

    name: str
    size_gb: float


def described_gpus(environ: Mapping[str, str]) -> list[Gpu]:
    """Return name and size of the devices that a job may use; a size the driver does not tell is 0."""
    asked = ["--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    listing = _listing(environ)
    visible = _narrow(parse_devices(listing), environ.get("CUDA_VISIBLE_DEVICES"))
    known = {uuid: Gpu("slice of a GPU", float(size)) for size, uuid in _SLICE.findall(listing)}
    for line in _ask_driver(asked, environ).splitlines() if visible else ():
        uuid, name, size = ("", "", *(part.strip() for part in line.split(",")))[-3:]
        known[uuid] = Gpu(name, int(size) / _MIB_PER_GIB if size.isdigit() else 0)
    return [known.get(uuid, Gpu("", 0)) for uuid in visible]


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
    return _ask_driver(["-L"], environ)


def _ask_driver(arguments: list[str], environ: Mapping[str, str]) -> str:
    command = ["nvidia-smi", *arguments]
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
