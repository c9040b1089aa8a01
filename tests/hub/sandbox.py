"""Run a command in its own file tree: volumes at their mount paths, a private /tmp, the rest as on the host.

Started in a new mount namespace with a JSON plan on standard input. The new tree shows the host's directories
by bind mounts and is built so that making a mount point never writes to the host.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 0x1, 0x20, 0x1000, 0x4000
# nosuid, nodev, noexec, noatime, nodiratime: without privileges a remount must not drop them.
LOCKED_FLAGS = 0x2 | 0x4 | 0x8 | 0x400 | 0x800
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, flags: int) -> None:
    """Mount something, raising OSError where the kernel refuses."""
    if LIBC.mount(source.encode(), bytes(target), kind.encode(), flags, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def show(host: Path, inside: Path) -> None:
    """Make one entry of the host visible in the new tree."""
    if host.is_symlink():
        inside.symlink_to(host.readlink())
    elif host.is_dir():
        inside.mkdir()
        mount(str(host), inside, "", MS_BIND | MS_REC)
    elif host.is_file():
        inside.touch()
        mount(str(host), inside, "", MS_BIND)


def is_mounted(path: Path) -> bool:
    """Whether a directory of the new tree is a view of the host."""
    return path.is_dir() and os.path.ismount(path)


def open_up(host: Path, inside: Path, keep: str) -> None:
    """Turn a directory of the new tree into a fresh one that shows the host's entries one by one."""
    if is_mounted(inside):
        LIBC.umount2(bytes(inside), 2)
    inside.mkdir(exist_ok=True)
    if host.is_dir():
        for entry in host.iterdir():
            if entry.name != keep:
                show(entry, inside / entry.name)


def mount_point(root: Path, path: str) -> Path:
    """Create an empty directory at a path of the new tree."""
    inside, host = root, Path("/")
    parts = [part for part in path.split("/") if part]
    for index, part in enumerate(parts):
        inside, host = inside / part, host / part
        following = parts[index + 1] if index + 1 < len(parts) else None
        if following is None:
            if is_mounted(inside):
                LIBC.umount2(bytes(inside), 2)
            inside.mkdir(exist_ok=True)
        elif not inside.exists() or is_mounted(inside):
            open_up(host, inside, following)
    return inside


def private_tmp(root: Path) -> None:
    """Give the tree its own /tmp in which only the host's directories show through."""
    tmp = root / "tmp"
    tmp.mkdir(exist_ok=True)
    tmp.chmod(0o1777)
    for entry in Path("/tmp").iterdir():
        if entry.is_dir() and not entry.is_symlink():
            show(entry, tmp / entry.name)


def build(root: Path, volumes: list[dict[str, str]]) -> None:
    """Assemble the tree below an empty directory."""
    mount("tmpfs", root, "tmpfs", 0)
    for entry in Path("/").iterdir():
        if entry.name != "tmp":
            show(entry, root / entry.name)
    private_tmp(root)
    for volume in volumes:
        target = mount_point(root, volume["target"])
        mount(volume["source"], target, "", MS_BIND | MS_REC)
        if volume["mode"] == "ro":
            kept = os.statvfs(target).f_flag & LOCKED_FLAGS
            mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def main() -> None:
    """Build the tree of the plan, enter it, and become the command."""
    plan = json.load(sys.stdin)
    root = Path(plan["root"])
    build(root, plan["volumes"])
    os.chroot(root)
    os.chdir(plan["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvpe(plan["command"][0], plan["command"], plan["env"])
    except OSError as error:
        os.write(2, f"exec: {plan['command'][0]}: {error.strerror}\n".encode())
        sys.exit(127)


if __name__ == "__main__":
    main()
