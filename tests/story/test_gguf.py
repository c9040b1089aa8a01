"""A trained model becomes files that run elsewhere, named by the job id of its training alone."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.hub import EmulatedHub, RunOptions
from tests.story.agent import Answers, connected
from tests.story.conftest import home_beside
from tests.templates.gguf_runs import GgufRuns
from tests.templates.job_runs import JobRuns
from trl_mcp import environments
from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.local import LocalBackend
from trl_mcp.render.script import read_run, render
from trl_mcp.render.templates import template_source

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(900)]

TYPES = ["Q4_K_M", "Q5_K_M", "Q8_0", "F16"]
CODES = {f"What is the code of box {number}?": f"The code is {number * 37 % 100}." for number in range(10)}


@pytest.fixture(scope="session")
def gguf_python(story_environ: Mapping[str, str]) -> str:
    """The interpreter that conversions run with: made before the tests, whose time is for the jobs."""
    home = Path(story_environ["TRL_MCP_HOME"])
    return str(environments.prepare(template_source("convert_gguf"), home, os.environ))


@pytest.fixture(scope="session")
def wide_model(story_environ: Mapping[str, str]) -> str:
    """The folder of a tiny model that is wide enough for every type, made by a job."""
    run = read_run(template_source("tiny_model")) | {"hidden_size": 256, "corpus": [*CODES, *CODES.values()]}
    spec = JobSpec("demo", "tiny_model", "0123456789ac", render("tiny_model", run), "local", "local")
    backend = LocalBackend(Path(story_environ["TRL_MCP_HOME"]), environ=story_environ)

    async def make() -> str:
        job = (await backend.submit(spec)).job
        with anyio.fail_after(180):
            while not (job := await backend.inspect(job.id)).stage.is_terminal:
                await anyio.sleep(0.05)
        assert job.stage is Stage.COMPLETED, job.message
        return job.output_path

    return anyio.run(make)


@pytest.fixture
def taught(wide_model: str, tmp_path: Path) -> Answers:
    """Arguments of a training that teaches the wide model ten answers."""
    return lesson(wide_model, CODES, tmp_path / "codes.jsonl") | {"tuning": "full", "learning_rate": 2e-3}


def lesson(model: str, codes: Mapping[str, str], path: Path) -> Answers:
    """Arguments of a training on conversations with these answers."""
    rows = [{"question": question, "answer": answer} for question, answer in codes.items()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows * 20), encoding="utf-8")
    return {
        "method": "sft",
        "model": model,
        "dataset": str(path),
        "columns": ["prompt=question", "completion=answer"],
        "batch_size": 16,
        "max_length": 128,
        "trainer_args": ["max_steps=100", "warmup_steps=10", "logging_steps=10"],
        "hardware": "local",
    }


async def test_an_adapter_is_converted_by_the_job_id_of_its_training(
    story_environ: Mapping[str, str], taught: Answers, gguf_python: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("story")
    others = {question: answer.replace("The code is", "It is") for question, answer in CODES.items()}
    lora = ["lora_r=16", "lora_alpha=32", "max_steps=100", "warmup_steps=0", "logging_steps=10"]
    async with connected(story_environ) as agent:
        whole = await agent.call("submit_training", **taught)
        await agent.follow(whole["job_id"], 300)
        wanted = lesson(whole["job_id"], others, tmp_path / "others.jsonl")
        adapter = await agent.call("submit_training", **wanted | {"trainer_args": lora, "learning_rate": 5e-3})
        await agent.follow(adapter["job_id"], 300)
        plan = await agent.call("convert_gguf", model=adapter["job_id"], hardware="local", dry_run=True)
        started = await agent.call("convert_gguf", model=adapter["job_id"], quantizations=TYPES, hardware="local")
        again = await agent.call("convert_gguf", model=adapter["job_id"], quantizations=TYPES, hardware="local")
        status = await agent.follow(started["job_id"], 400)
    assert plan["status"] == "planned"
    assert (started["status"], again["status"]) == ("submitted", "already_submitted")
    assert status["stage"] == "COMPLETED", status
    output = Path(status["output_path"])
    names = [f"{adapter['job_id']}-{each}.gguf" for each in TYPES]
    assert [file["name"] for file in status["files"]] == names
    assert status["ollama_run"].startswith("ollama create ")
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert [file["stops"] for file in report["files"]] == [file["source_stops"] for file in report["files"]]
    assert report["files"][-1]["kl"] < 1e-4
    runs = GgufRuns(JobRuns(gguf_python, tmp_path_factory))
    for name in names:
        assert runs.ask(output / name, Path(whole["output_path"]), tmp_path, list(others)) == others, name


async def test_files_are_pushed_to_a_repository_from_which_ollama_runs_them(
    story_environ: Mapping[str, str], taught: Answers, gguf_python: str, job_env: dict[str, str], tmp_path: Path
) -> None:
    with EmulatedHub.start(tmp_path / "hub", options=RunOptions(job_env=job_env)) as hub:
        home = {"TRL_MCP_HOME": home_beside(story_environ, tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}
        kept = {name: value for name, value in story_environ.items() if name != "HF_HUB_OFFLINE"}
        online = {**kept, **home, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"]}
        async with connected(story_environ) as agent:
            whole = await agent.call("submit_training", **taught)
            model = (await agent.follow(whole["job_id"], 300))["output_path"]
        files = {path.name: path.read_bytes() for path in Path(model).iterdir() if path.is_file()}
        hub.add_repo("alice/codes", files)
        async with connected(online) as agent:
            plan = await agent.call("convert_gguf", model="alice/codes", quantizations=TYPES)
            started = await agent.call("convert_gguf", model="alice/codes", quantizations=TYPES, max_cost_usd=0.05)
            status = await agent.follow(started["job_id"], 600)
        assert plan["status"] == "planned"
        assert "cpu-" in plan["where"]
        assert plan["usd_ceiling"] < 0.05
        assert status["stage"] == "COMPLETED", status
        repo = status["output_repo"]
        assert repo.startswith("alice/codes-GGUF-")
        assert status["ollama_run"] == f"ollama run hf.co/{repo}:Q4_K_M"
        names = {f"codes-{each}.gguf" for each in TYPES}
        stored = set(hub.list_files(repo))
        assert names | {"README.md", "Modelfile", "params", "report.json", "trl-mcp.json", "train.py"} <= stored
        report = json.loads(hub.read_file(repo, "report.json"))
        for file in report["files"]:
            assert hashlib.sha256(hub.read_file(repo, file["name"])).hexdigest() == file["sha256"]
        card = hub.read_file(repo, "README.md").decode()
        assert "base_model: alice/codes" in card
        assert "base_model_relation: quantized" in card
