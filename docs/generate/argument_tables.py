"""The tables of trainer arguments, read from the TRL that each template pins."""

import os
import re
import subprocess
from pathlib import Path

from trl_mcp.environments import prepare
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings

CONFIGS = {"sft": "SFTConfig"}
_PIN = re.compile(r'"trl==([\d.]+)"')


def argument_tables(root: Path) -> dict[Path, str]:
    """Return a table file per version of TRL that a template pins, with the config of each such method."""
    settings = Settings.from_environ(os.environ)
    configs: dict[str, list[str]] = {}
    interpreters: dict[str, Path] = {}
    for method, config in CONFIGS.items():
        source = template_source(method)
        pin = _PIN.search(source)
        if pin is None:
            raise ValueError(f"templates/{method}.py pins no version of trl")
        configs.setdefault(pin.group(1), []).append(config)
        interpreters[pin.group(1)] = prepare(source, settings.home, os.environ)
    return {
        root / "server/trl_mcp/recipes/tables" / f"trl-{version}.json": _fields(interpreters[version], names)
        for version, names in configs.items()
    }


def _fields(interpreter: Path, configs: list[str]) -> str:
    script = Path(__file__).with_name("trl_fields.py")
    return subprocess.run([interpreter, script, *configs], check=True, capture_output=True, encoding="utf-8").stdout
