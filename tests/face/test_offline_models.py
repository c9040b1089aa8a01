"""Models of the Hub where the server is set to stay offline: what lies on this machine already is all there is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.face.conftest import Ask, Refuses
from trl_mcp.values import ToolName

pytestmark = pytest.mark.anyio


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub-cache"


@pytest.fixture
def environ(environ: Mapping[str, str], cache: Path) -> Mapping[str, str]:
    return {**environ, "HF_HUB_CACHE": str(cache)}


def download(cache: Path, config: str) -> str:
    """Put a model into the cache as huggingface_hub does, and return its id."""
    folder, commit = cache / "models--owner--name", "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(config)
    return "owner/name"


async def test_a_model_that_no_job_could_load_is_refused(refuses_training: Refuses) -> None:
    await refuses_training("owner/name is not on this machine", "model folder", "HF_HUB_OFFLINE", model="owner/name")


async def test_a_model_that_was_downloaded_before_is_taken(ask: Ask, training: dict[str, Any], cache: Path) -> None:
    model = download(cache, '{"model_type": "qwen3"}')
    answer = await ask(ToolName.SUBMIT_TRAINING, **training | {"model": model}, dry_run=True)
    assert answer.result["status"] == "planned", answer.text


async def test_another_revision_than_the_one_downloaded_is_not_there(refuses_training: Refuses, cache: Path) -> None:
    model = download(cache, '{"model_type": "qwen3"}')
    await refuses_training("owner/name is not on this machine", model=f"{model}@v2")


async def test_a_downloaded_model_that_cannot_be_trained_is_refused(refuses_training: Refuses, cache: Path) -> None:
    model = download(cache, '{"model_type": "t5"}')
    await refuses_training("sequence-to-sequence", "templates/seq2seq.py", model=model)
