import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from tests.conftest import INHERITED
from tests.hub import EmulatedHub

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub(tmp_path: Path) -> Generator[EmulatedHub]:
    """A Hub whose jobs all stay in SCHEDULING."""
    with EmulatedHub.start(tmp_path / "hub") as running:
        running.hold_jobs()
        yield running


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Mapping[str, str]:
    """What an operator's shell holds: no token, a home and a cache of its own, no network for uv."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"TRL_MCP_HOME": str(home), "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_OFFLINE": "1", "HOME": str(tmp_path)}
    return kept | own | {"COLUMNS": "200", "PYTHONWARNINGS": "error"}


@pytest.fixture
def trl_mcp(shell: Mapping[str, str]) -> Run:
    """Run the command in that shell, with changes, and see that no token is told."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environ = {**shell, **changes}
        command = [sys.executable, "-m", "trl_mcp", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", env=environ, timeout=60)
        told = done.stdout + done.stderr
        assert "Traceback (most" not in told, told
        assert not environ.get("HF_TOKEN") or environ["HF_TOKEN"] not in told
        return done

    return run
