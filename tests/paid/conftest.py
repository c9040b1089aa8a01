import os
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from tests.conftest import INHERITED, Era, without_counting
from tests.hub import EmulatedHub
from tests.paid.desk import MODEL_FILES, ROWS, PaidDesk


@pytest.fixture
def hub(tmp_path: Path) -> Generator[EmulatedHub]:
    """A Hub with a model and a data set of alice's, whose jobs all stay in SCHEDULING."""
    with EmulatedHub.start(tmp_path / "hub") as running:
        running.add_repo("alice/tiny", MODEL_FILES)
        running.add_repo("alice/sums", {"train.jsonl": ROWS}, repo_type="dataset")
        running.hold_jobs()
        yield running


@pytest.fixture
def hub_environ(hub: EmulatedHub, home: Path, tmp_path: Path) -> Mapping[str, str]:
    without_counting(home)
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": hub.tokens["alice"],
        "TRL_MCP_HOME": str(home),
    }


@pytest.fixture
def desk(hub: EmulatedHub, hub_environ: Mapping[str, str]) -> PaidDesk:
    return PaidDesk(hub, hub_environ)


@pytest.fixture
def desk_of_each_era(hub: EmulatedHub, hub_environ: Mapping[str, str], era: Era) -> PaidDesk:
    return PaidDesk(hub, hub_environ, era)
