"""A package index in a folder, with wheels that are nothing but their metadata."""

import zipfile
from collections.abc import Sequence
from pathlib import Path


class FakeIndex:
    """A simple repository (PEP 503) that takes wheels as they are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where uv finds it."""
        return self.folder.as_uri()

    def add(self, name: str, version: str, requires: Sequence[str] = ()) -> None:
        """Add a package whose one module tells its version."""
        package = self.folder / name
        package.mkdir(exist_ok=True)
        make_wheel(package, name, version, requires)
        links = "".join(
            f'<a href="{wheel.name.replace("+", "%2B")}">{wheel.name}</a>' for wheel in package.glob("*.whl")
        )
        (package / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")


def make_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = (), tag: str = "py3-none-any") -> Path:
    """Write a wheel into the folder and return its path."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, content)
    return path
