import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

# The client library reads these when it is imported.
if "HF_HOME" not in os.environ:
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")
    atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from tests.hf.desk import Desk, open_hub, run_options
from tests.hub import EmulatedHub


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def hub(tmp_path: Path, uv_cache: Path) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub", options=run_options(uv_cache)) as running:
        yield running


@pytest.fixture
async def desk(hub: EmulatedHub, tmp_path: Path) -> AsyncGenerator[Desk]:
    async with open_hub(hub) as opened:
        yield Desk(hub, opened, tmp_path / "locks")
