"""Everything that must hold: `uv run -m tests.check`. Formats in place, except in CI."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from trl_mcp.environments import prepare
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def steps(fast: bool) -> dict[str, list[str]]:
    """Return every step by name, in the order they run."""
    python = sys.executable
    formatting = ["ruff", "format", *(["--check"] if "CI" in os.environ else []), "."]
    checks = {
        "format": formatting,
        "lint": ["ruff", "check", "."],
        "imports": ["lint-imports"],
        "types": ["pyright", "--pythonpath", python],
        "documents": [python, "docs/generate", "--check"],
    }
    if fast:
        return checks | {"tests": [python, "-m", "pytest", "-q", "-m", "not training"]}
    interpreter = str(training_interpreter())
    os.environ["TRAINING_PYTHON"] = interpreter  # the tests need no second one
    return checks | {
        "types of templates": ["pyright", "--pythonpath", interpreter, "--project", "tests/templates"],
        "tests": [python, "-m", "pytest", "-q"],
    }


def training_interpreter() -> Path:
    """Return the interpreter of the environment that the templates pin."""
    return prepare(template_source("sft"), Settings.from_environ(os.environ).home, os.environ)


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
