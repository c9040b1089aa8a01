"""The tables of trainer arguments, read from the TRL that each method's template pins."""

import os
import re
import subprocess
from pathlib import Path

from trl_mcp.environments import prepare
from trl_mcp.recipes.methods import METHODS
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings

_PIN = re.compile(r'"trl==([\d.]+)"')


def argument_tables(root: Path) -> dict[Path, str]:
    """Return a table file per version of TRL that a template pins, with the config of each such method."""
    settings = Settings.from_environ(os.environ)
    configs: dict[str, list[str]] = {}
    interpreters: dict[str, Path] = {}
    for name, method in METHODS.items():
        source = template_source(name)
        pin = _PIN.search(source)
        if pin is None or pin.group(1) != method.trl:
            raise ValueError(f"templates/{name}.py does not pin trl {method.trl}, as its recipe says")
        configs.setdefault(method.trl, []).append(method.config)
        interpreters[method.trl] = prepare(source, settings.home, os.environ)
    return {
        root / "server/trl_mcp/recipes/tables" / f"trl-{version}.json": _fields(interpreters[version], names)
        for version, names in configs.items()
    }


def _fields(interpreter: Path, configs: list[str]) -> str:
    script = Path(__file__).with_name("trl_fields.py")
    quiet = os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1"}
    command = [interpreter, script, *configs]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=quiet).stdout
