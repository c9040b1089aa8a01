import os
from collections.abc import Generator, Mapping
from pathlib import Path

import anyio
import pytest
from uv import find_uv_bin

from tests.hub import mounts_supported, spaces_address
from tests.story.agent import Answers, write_questions
from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.dashboard import close_dashboard
from trl_mcp.backends.local import LocalBackend
from trl_mcp.render.script import read_run, render
from trl_mcp.render.templates import template_source
from trl_mcp.wheel_folders import find_wheels, write_index

CORPUS = "What is the code of box 0 1 2 3 4 5 6 7 8 9? The code is 37 74 11 48 85 22 59 96 33 70."


@pytest.fixture(scope="session")
def story_environ(tmp_path_factory: pytest.TempPathFactory, training_home: Path) -> Generator[Mapping[str, str]]:
    """The environment of a server whose home has the environment that trains."""
    home = tmp_path_factory.mktemp("story")
    (home / "envs").symlink_to(training_home / "envs")
    yield {**os.environ, "TRL_MCP_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    close_dashboard(home)


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


def home_beside(story_environ: Mapping[str, str], folder: Path) -> str:
    """Make a home of its own with the environments that are there already, and return its path."""
    folder.mkdir()
    (folder / "envs").symlink_to(Path(story_environ["TRL_MCP_HOME"]) / "envs")
    return str(folder)


@pytest.fixture(scope="session")
def job_env(pytestconfig: pytest.Config) -> dict[str, str]:
    """What jobs of the emulated Hub need here beside their own environment: uv, npm, and CPU wheels of torch."""
    if (reason := mounts_supported()) is not None:
        pytest.skip(f"jobs of the emulated Hub need their own mounts: {reason}")
    wheels = [wheel for wheel in find_wheels(os.environ) if wheel.name == "torch"]
    if not wheels:
        pytest.skip("no wheel folder of pip holds torch: the jobs would download it with CUDA")
    kept = pytestconfig.rootpath / ".pytest_cache" / "jobs"
    url = write_index(wheels, kept)
    inherited = {name: os.environ[name] for name in ("SSL_CERT_FILE", "UV_CACHE_DIR", "HOME") if name in os.environ}
    return {
        **inherited,
        "PATH": f"{Path(find_uv_bin()).parent}:/usr/bin:/bin",
        # The conversion takes torch from the index of that name, trainings from any.
        "UV_INDEX": f"pytorch-cpu={url} {url}",
        "UV_PYTHON": "3.11",
        # Where uv locks an environment that several jobs share; each job has a /tmp of its own.
        "TMPDIR": str(kept),
        "OMP_NUM_THREADS": "1",
        # What the name service is to them: trainings report to a Space unless they are told not to.
        "PYTHONPATH": str(Path(spaces_address.__file__).parent),
    }


@pytest.fixture
def training(tiny_model: str, tmp_path: Path, request: pytest.FixtureRequest) -> Answers:
    """Arguments of a training that learns ten answers by heart in some seconds; each test's is a run of its own."""
    return {
        "method": "sft",
        "model": tiny_model,
        "dataset": str(write_questions(tmp_path / "questions.jsonl")),
        "columns": ["prompt=question", "completion=answer"],
        "tuning": "full",
        "learning_rate": 5e-3,
        "batch_size": 16,
        "max_length": 128,
        "trainer_args": ["max_steps=150", "warmup_steps=10", "logging_steps=1", f"run_name={request.node.name}"],
    }
