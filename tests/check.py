"""Everything that must hold: `uv run -m tests.check`. Formats in place, except in CI."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ENVIRONMENTS
from trl_mcp.environments import prepare
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
# One template for each set of pins; its file in tests/templates/types says which others share them.
PINS = ("sft", "ppo", "prm")


def steps(fast: bool) -> dict[str, list[str]]:
    """Return every step by name, in the order they run."""
    python = sys.executable
    # A file's tests share what they have made. Their order is tests/conftest.py's, and part of their time is waiting.
    workers = str((os.cpu_count() or 1) + 1)
    pytest = [python, "-m", "pytest", "-q", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    formatting = ["ruff", "format", *(["--check"] if "CI" in os.environ else []), "."]
    checks = {
        "format": formatting,
        "lint": ["ruff", "check", "."],
        "imports": ["lint-imports"],
        "types": ["pyright", "--pythonpath", python],
        "documents": [python, "docs/generate", "--check"],
    }
    if fast:
        return checks | {"tests": [*pytest, "-m", "not training"]}
    for template, variable in ENVIRONMENTS.items():
        os.environ[variable] = str(interpreter_of(template))  # the tests need no second one
    return checks | {
        **{f"types of templates like {template}": types_of(template) for template in PINS},
        "tests": pytest,
    }


def interpreter_of(template: str) -> Path:
    """Return the interpreter of the environment that a template pins."""
    return prepare(template_source(template), Settings.from_environ(os.environ).home, os.environ)


def types_of(template: str) -> list[str]:
    """Return the check of the types of the templates that share their pins with this one."""
    project = f"tests/templates/types/{template}.json"
    return ["pyright", "--pythonpath", str(interpreter_of(template)), "--project", project]


def main() -> int:
    """Run the steps until one fails and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="leave out what trains a model")
    for name, command in steps(parser.parse_args().fast).items():
        began = time.monotonic()
        print(f"== {name}", flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        print(f"== {name}: {'ok' if code == 0 else 'failed'} in {time.monotonic() - began:.0f} s", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
