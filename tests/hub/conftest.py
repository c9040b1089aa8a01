"""Fixtures of the emulated Hub's own tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

# The client libraries read these when they are imported, which happens below.
if "HF_HOME" not in os.environ:
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")
    atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub
from tests.hub.support import Clients


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[EmulatedHub]:
    """Run a Hub of its own for a test."""
    with EmulatedHub.start(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def api(hub: EmulatedHub) -> HfApi:
    """Return the real client, signed in as alice."""
    return HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])


@pytest.fixture
def clients(hub: EmulatedHub, tmp_path: Path) -> Clients:
    """Return a runner of client programs in their own processes."""
    return Clients(hub.endpoint, hub.tokens["alice"], tmp_path / "home")
