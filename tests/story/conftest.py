import os
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.story.agent import Answers, write_questions
from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.local import LocalBackend
from trl_mcp.render.script import read_run, render
from trl_mcp.render.templates import template_source

CORPUS = "What is the code of box 0 1 2 3 4 5 6 7 8 9? The code is 37 74 11 48 85 22 59 96 33 70."


@pytest.fixture(scope="session")
def story_environ(tmp_path_factory: pytest.TempPathFactory, training_home: Path) -> Mapping[str, str]:
    """The environment of a server whose home has the environment that trains."""
    home = tmp_path_factory.mktemp("story")
    (home / "envs").symlink_to(training_home / "envs")
    return {**os.environ, "TRL_MCP_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def tiny_model(story_environ: Mapping[str, str]) -> str:
    """The folder of a tiny model, made by a job."""
    backend = LocalBackend(Path(story_environ["TRL_MCP_HOME"]), environ=story_environ)
    run = read_run(template_source("tiny_model")) | {"corpus": [CORPUS] * 20}
    spec = JobSpec("demo", "tiny_model", "0123456789ab", render("tiny_model", run), "local", "local")

    async def make() -> str:
        job = (await backend.submit(spec)).job
        with anyio.fail_after(120):
            while not (job := await backend.inspect(job.id)).stage.is_terminal:
                await anyio.sleep(0.05)
        assert job.stage is Stage.COMPLETED, job.message
        return job.output_path

    return anyio.run(make)


@pytest.fixture
def training(tiny_model: str, tmp_path: Path) -> Answers:
    """Arguments of a training that learns ten answers by heart in some seconds."""
    return {
        "method": "sft",
        "model": tiny_model,
        "dataset": str(write_questions(tmp_path / "questions.jsonl")),
        "columns": ["prompt=question", "completion=answer"],
        "tuning": "full",
        "learning_rate": 5e-3,
        "batch_size": 16,
        "max_length": 128,
        "trainer_args": ["max_steps=150", "warmup_steps=10", "logging_steps=1"],
    }
