"""One Python environment per script header (PEP 723), made once by uv and then used with no uv in between.

`python -m trl_mcp.environments SCRIPT HOME` prints the interpreter's path, or what prevents it and exits with 1.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name

from trl_mcp.errors import NotPossible
from trl_mcp.gpus import visible_gpus
from trl_mcp.wheel_folders import Wheel, find_wheels, usable, write_index

Header = dict[str, Any]

_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_CPU_INDEX = {"name": "pytorch-cpu", "url": "https://download.pytorch.org/whl/cpu", "explicit": True}
_CPU_PACKAGES = ("torch", "torchvision", "torchaudio")
# Of the environment the server runs in, and no business of the one that is made.
_NOT_FOR_UV = ("CONDA_PREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
_LONGEST_REASON = 600
_FAILED = "The environment could not be made:"


def prepare(script: str, home: Path, environ: Mapping[str, str]) -> Path:
    """Return the interpreter of the environment that the script's header asks for, made now if it is not there.

    Raises NotPossible, with what uv said as a note.
    """
    header = read_header(script)
    folder = _folder_of(header, home)
    there = _made(folder, environ)
    if there is not None:
        return there
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        return _made(folder, environ) or _Maker(home.absolute(), folder, environ).make(header)


def made(script: str, home: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the interpreter of the environment that the script's header asks for, None where it is not there yet."""
    return _made(_folder_of(read_header(script), home), environ)


def read_header(script: str) -> Header:
    """Return what the script's header says, without what is meant for `hf jobs`. Raises NotPossible."""
    blocks = list(_BLOCK.finditer(script.replace("\r\n", "\n")))
    if len(blocks) > 1:
        raise NotPossible(f"{_FAILED} the script has two headers.")
    lines = blocks[0]["content"].rstrip("\n").split("\n") if blocks else []
    try:
        header: Header = tomllib.loads("\n".join(line[2:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        raise NotPossible(f"{_FAILED} the script's header is no valid TOML: {error}.") from None
    if not isinstance(header.get("tool", {}), dict) or not isinstance(header.get("dependencies", []), list):
        raise NotPossible(f"{_FAILED} in the script's header `tool` is no table, or `dependencies` no list.")
    tools: Header = header.pop("tool", {})
    kept = {name: table for name, table in tools.items() if name != "hf-jobs"}
    empty: Header = {"dependencies": []}
    return empty | header | ({"tool": kept} if kept else {})


def write_header(header: Header) -> str:
    """Return a script that is nothing but this header; equal headers give equal texts."""
    lines = [f"# {_toml_key(name)} = {_toml(value)}" for name, value in sorted(header.items())]
    return "\n".join(["# /// script", *lines, "# ///", ""])


def with_cpu_torch(header: Header) -> Header:
    """Return the header with torch taken from the index of its CPU builds, unless it names a source itself."""
    changed = deepcopy(header)
    tables = changed.setdefault("tool", {}).setdefault("uv", {})
    sources = tables.setdefault("sources", {})
    if "torch" not in _names(changed):
        changed["dependencies"] = [*changed["dependencies"], "torch"]  # a source counts for direct dependencies only
    for name in _CPU_PACKAGES:
        if name in _names(changed):
            sources.setdefault(name, {"index": _CPU_INDEX["name"]})
    indexes = tables.setdefault("index", [])
    if all(index.get("name") != _CPU_INDEX["name"] for index in indexes):
        indexes.append(dict(_CPU_INDEX))
    return changed


def _names_cpu_index(header: Header) -> bool:
    """Whether the header itself takes torch from the index of its CPU builds."""
    source = header.get("tool", {}).get("uv", {}).get("sources", {}).get("torch", {})
    return isinstance(source, dict) and cast(Header, source).get("index") == _CPU_INDEX["name"]


def _folder_of(header: Header, home: Path) -> Path:
    return home.absolute() / "envs" / hashlib.sha256(write_header(header).encode()).hexdigest()[:16]


def _made(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the interpreter of an environment that is complete and still right for this machine."""
    try:
        ready = json.loads((folder / "ready.json").read_bytes())
        python = Path(ready["python"])
        cpu_only = bool(ready["cpu_only"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not python.exists() or (cpu_only and visible_gpus(environ)):
        return None
    return python


@dataclass(frozen=True, slots=True)
class _Choice:
    """What an environment is made from: the Python for uv (empty: its own choice) and pip's wheels."""

    python: str
    wheels: list[Wheel]


class _Maker:
    def __init__(self, home: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._indexes = home / "wheels"
        self._script = folder / "header.py"
        self._ready = folder / "ready.json"
        self._begun = folder / "begun"
        self._given = environ
        self._environ = {name: value for name, value in environ.items() if name not in _NOT_FOR_UV}
        self._environ |= {"UV_COMPILE_BYTECODE": "1", "UV_NO_PROGRESS": "1"}

    def make(self, header: Header) -> Path:
        """Make the environment and return its interpreter. Raises NotPossible."""
        if self._ready.exists():  # of an environment that is no longer right
            self._ready.replace(self._begun)
        choice = _choose(
            header, find_wheels(self._given) if header["dependencies"] else [], self._given.get("UV_PYTHON", "")
        )
        if choice.wheels:
            url = write_index(choice.wheels, self._indexes)
            # A source that the header names is looked at alone: there the wheels stand in for it, by its name.
            has_torch = any(wheel.name == "torch" for wheel in choice.wheels)
            named = f"{_CPU_INDEX['name']}={url}" if has_torch and _names_cpu_index(header) else ""
            self._environ["UV_INDEX"] = f"{named} {url} {self._given.get('UV_INDEX', '')}".strip()
        python = ["--python", choice.python] if choice.python else []
        self._script.write_text(write_header(header), encoding="utf-8")
        cpu_only = self._needs_cpu_torch(header, choice, python)
        if cpu_only:
            self._script.write_text(write_header(with_cpu_torch(header)), encoding="utf-8")
        self._sync(python)
        interpreter = self._uv("python", "find", "--script", str(self._script)).stdout.strip()
        self._ready.write_text(json.dumps({"python": interpreter, "cpu_only": cpu_only}), encoding="utf-8")
        return Path(interpreter)

    def _needs_cpu_torch(self, header: Header, choice: _Choice, python: list[str]) -> bool:
        """Whether uv would fetch CUDA for a machine that has no use for it."""
        if not sys.platform.startswith("linux") or not header["dependencies"]:
            return False
        if any(wheel.name == "torch" for wheel in choice.wheels) or visible_gpus(self._given):
            return False
        if "torch" in _names(header):
            return True
        return "nvidia" in self._uv("sync", "--dry-run", "--script", str(self._script), *python).stderr

    def _sync(self, python: list[str]) -> None:
        # A sync that was killed may have left half a package that looks whole, an earlier one what it is to replace.
        again = ["--reinstall"] if self._begun.exists() else []
        self._begun.touch()
        self._uv("sync", "--script", str(self._script), *python, *again)
        self._begun.unlink()

    def _uv(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        import uv

        try:
            return subprocess.run(
                [uv.find_uv_bin(), *arguments],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=True,
            )
        except subprocess.CalledProcessError as error:
            said = str(error.stderr)
            failure = NotPossible(f"{_FAILED} {_reason(said)}")
            failure.add_note(said)
            raise failure from None


def _choose(header: Header, wheels: list[Wheel], operators_python: str) -> _Choice:
    """Choose a Python that the header allows and torch's wheels fit; without such a one these wheels are left out."""
    wheels = usable(wheels, _requirements(header))
    allowed = _allowed_pythons(header)
    torch = [wheel for wheel in wheels if wheel.name == "torch"]
    own_tags = set(sys_tags())
    if operators_python:
        return _Choice("", wheels)
    if _version() in allowed and (not torch or any(wheel.tags & own_tags for wheel in torch)):
        return _Choice(_base_interpreter(), wheels)
    fitting = sorted(
        (python for wheel in torch for python in wheel.pythons() if f"{python}.99" in allowed), key=_version_key
    )
    if fitting:
        return _Choice(fitting[-1], wheels)
    wheels = [wheel for wheel in wheels if wheel.name != "torch"]
    return _Choice(_base_interpreter() if _version() in allowed else "", wheels)


def _requirements(header: Header) -> list[Requirement]:
    """Return the direct requirements; what is none by the standard is uv's to refuse."""
    found: list[Requirement] = []
    for text in header["dependencies"]:
        with suppress(InvalidRequirement):
            found.append(Requirement(str(text)))
    return found


def _names(header: Header) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in _requirements(header)}


def _allowed_pythons(header: Header) -> SpecifierSet:
    try:
        return SpecifierSet(str(header.get("requires-python", "")))
    except InvalidSpecifier:
        return SpecifierSet()


def _base_interpreter() -> str:
    """Return the interpreter that the server's own environment was made from."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _version_key(python: str) -> tuple[int, ...]:
    return tuple(int(part) for part in python.split("."))


def _reason(said: str) -> str:
    """Return uv's message on one line, without its drawing and without folders of this machine."""
    message = re.split(r"(?m)^\s*hint:", said)[0]
    begin = re.search(r"(?m)^\s*(error:|\u00d7)", message)
    text = message[begin.start() :] if begin else message
    text = re.sub(r"(?m)^[\s\u00d7│├╰─▶]*(?:(?:error|cause):)?\s*", " ", text)
    text = re.sub(r"(?<![\w:/.])(?:file://)?/(?:[\w.+@~%-]+/)+(?=[\w.+@~%-])", "", text)
    return " ".join(text.split())[:_LONGEST_REASON] or "uv gave no reason."


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case list():
            return f"[{', '.join(map(_toml, cast(list[Any], value)))}]"
        case dict():
            pairs = cast(Header, value).items()
            return f"{{{', '.join(f'{_toml_key(name)} = {_toml(item)}' for name, item in pairs)}}}"
        case _:
            return str(value).replace(" ", "T")  # dates and times


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def main(script: Path, home: Path) -> int:
    """Print the interpreter for the script as the last line; where there is none the reason, and return 1."""
    try:
        print(prepare(script.read_text(encoding="utf-8"), home, os.environ))
    except NotPossible as error:
        print(*getattr(error, "__notes__", []), file=sys.stderr)
        print(error.what)
        return 1
    except OSError as error:
        print(f"{_FAILED} {error.strerror or type(error).__name__}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
