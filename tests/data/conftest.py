"""Fixtures of the tests of data: an emulated Hub, and the server's client of it."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.hf.desk import open_hub
from tests.hub import EmulatedHub
from trl_mcp.hub.hub import Hub


@pytest.fixture
def emulated(tmp_path: Path) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub") as running:
        yield running


@pytest.fixture
async def hub(emulated: EmulatedHub) -> AsyncGenerator[Hub]:
    async with open_hub(emulated) as opened:
        yield opened
