"""The folders of wheels that the operator gave to pip, made usable by uv, which does not read pip's configuration.

uv takes a package from the first index that has it, so what lies in such a folder wins over the package index,
and everything else still comes from there.
"""

import ast
import hashlib
import html
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.tags import Tag, platform_tags
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

_FIND_LINKS = re.compile(r"^(?:global|install|:env:)\.find-links=(.+)$", re.MULTILINE)
_CPYTHON = re.compile(r"cp(\d)(\d+)")


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel file, as its name describes it."""

    path: Path
    name: NormalizedName
    version: Version
    tags: frozenset[Tag]

    def pythons(self) -> set[str]:
        """Return the versions of CPython this wheel is made for on this platform; empty where any Python 3 will do."""
        here = {"any", *platform_tags()}
        matches = (_CPYTHON.fullmatch(tag.interpreter) for tag in self.tags if tag.platform in here)
        return {f"{match[1]}.{match[2]}" for match in matches if match}


def find_wheels(environ: Mapping[str, str]) -> list[Wheel]:
    """Return the wheels in the folders of pip's find-links."""
    folders = dict.fromkeys(Path(folder) for folder in _find_links(environ))
    wheels = (_wheel(path) for folder in folders for path in sorted(folder.glob("*.whl")))
    return [wheel for wheel in wheels if wheel is not None]


def usable(wheels: Iterable[Wheel], requirements: Iterable[Requirement]) -> list[Wheel]:
    """Return the wheels of packages that no requirement asks for in a version the folders lack."""
    kept = list(wheels)
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        versions = {wheel.version for wheel in kept if wheel.name == name}
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            kept = [wheel for wheel in kept if wheel.name != name]
    return kept


def write_index(wheels: Iterable[Wheel], parent: Path) -> str:
    """Write the wheels as a simple repository (PEP 503) in a folder under `parent` and return its URL.

    The same wheels have the same URL: uv unpacks a wheel once for each index that it comes from.
    """
    ordered = sorted(wheels, key=lambda wheel: (wheel.name, wheel.path))
    paths = "\n".join(str(wheel.path) for wheel in ordered)
    folder = parent / hashlib.sha256(paths.encode()).hexdigest()[:16]
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(parent / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=parent) as unfinished:
                _write_pages(ordered, Path(unfinished) / folder.name).rename(folder)
    return folder.as_uri()


def _write_pages(ordered: Iterable[Wheel], folder: Path) -> Path:
    for name, of_name in groupby(ordered, key=lambda wheel: wheel.name):
        page = folder / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f"<!DOCTYPE html><html><body>{''.join(map(_link, of_name))}</body></html>", encoding="utf-8")
    return folder


def _link(wheel: Wheel) -> str:
    return f'<a href="{html.escape(wheel.path.as_uri())}">{html.escape(wheel.path.name)}</a>\n'


def _wheel(path: Path) -> Wheel | None:
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return None
    return Wheel(path, name, version, tags)


def _find_links(environ: Mapping[str, str]) -> list[str]:
    values = [str(ast.literal_eval(value)) for value in _FIND_LINKS.findall(_pip_configuration(environ))]
    values.append(environ.get("PIP_FIND_LINKS", ""))
    found = (_local_path(entry) for value in values for entry in value.split())
    return [path for path in found if path and Path(path).is_dir()]


def _local_path(entry: str) -> str:
    parts = urlsplit(entry)
    return unquote(parts.path) if parts.scheme == "file" else "" if "://" in entry else entry


def _pip_configuration(environ: Mapping[str, str]) -> str:
    """Return what `pip config list` prints; the interpreter's own pip is asked first, then the one on PATH."""
    for pip in ([sys.executable, "-m", "pip"], ["pip"]):
        try:
            command = [*pip, "--disable-pip-version-check", "config", "list"]
            done = subprocess.run(command, env=dict(environ), capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return done.stdout.decode(errors="replace")
    return ""
