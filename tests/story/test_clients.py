"""Ways in which the server is reached: the wheel, a client of another make, the demo, a container's steps."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.story.agent import Answers, write_questions

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
IN_ANOTHER_ENVIRONMENT = """
import asyncio, json, sys
import os
from tests.story.agent import connected
async def main():
    async with connected(os.environ) as agent:
        job = await agent.call("submit_training", **json.loads(sys.argv[1]))
        print(json.dumps(await agent.follow(job["job_id"])))
asyncio.run(main())
"""


def run(command: list[str], environ: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", env=environ, cwd=cwd)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "uv", "build", "--wheel", "--out-dir", str(folder)])
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an empty environment into which pip has put the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "venv", str(folder)])
    run([str(folder / "bin/python"), "-m", "pip", "install", "-q", str(wheel)])
    return folder / "bin/python"


def quick(tiny_model: str, folder: Path, seed: int) -> Answers:
    return {
        "method": "sft",
        "model": tiny_model,
        "dataset": str(write_questions(folder / "questions.jsonl")),
        "columns": ["prompt=question", "completion=answer"],
        "tuning": "lora",
        "trainer_args": ["max_steps=3", f"seed={seed}"],
    }


def test_the_wheel_holds_every_template_and_nothing_else_from_outside_the_package(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "templates").rglob("*.py")}
    assert {name.removeprefix("trl_mcp/") for name in names if "/templates/" in name} == templates
    assert {name.split("/")[0] for name in names} == {"trl_mcp"}


def test_the_wheel_installed_by_pip_serves_and_trains(
    installed: Path, story_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    # The test's own folder is copied, so that nothing of the checkout can be imported.
    shutil.copytree(ROOT / "tests/story", tmp_path / "tests/story")
    (tmp_path / "tests/__init__.py").touch()
    run([str(installed), "-m", "pip", "install", "-q", "psutil"])
    environ = {name: value for name, value in story_environ.items() if name != "PYTHONPATH"}
    arguments = json.dumps(quick(tiny_model, tmp_path, seed=11))
    printed = run([str(installed), "-c", IN_ANOTHER_ENVIRONMENT, arguments], environ, tmp_path)
    assert json.loads(printed)["stage"] == "COMPLETED"
    where = run(
        [str(installed), "-c", "from trl_mcp.render.templates import templates_folder as f; print(f())"],
        environ,
        tmp_path,
    )
    assert str(installed.parents[1]) in where


@pytest.mark.skipif(shutil.which("npx") is None, reason="the Inspector needs npx")
def test_the_inspector_lists_trains_and_reads_logs(
    story_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    def inspect(*options: str) -> str:
        server = [sys.executable, "-m", "trl_mcp", "-e", f"TRL_MCP_HOME={story_environ['TRL_MCP_HOME']}"]
        return run(["npx", "--yes", INSPECTOR, "--cli", *server, *options], dict(story_environ), tmp_path)

    def call(tool: str, **arguments: object) -> Answers:
        options = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        return json.loads(inspect(*options))["structuredContent"]

    tools = json.loads(inspect("--method", "tools/list", "--strict"))["tools"]
    started = call("submit_training", **quick(tiny_model, tmp_path, seed=12))
    status: Answers = {"stage": ""}
    for _ in range(30):
        status = call("job_status", job_id=started["job_id"], wait_seconds=20)
        if status["stage"] not in ("SCHEDULING", "RUNNING"):
            break
    lines = call("job_logs", job_id=started["job_id"])["lines"]
    assert [tool["name"] for tool in tools][:2] == ["submit_training", "start_job"]
    assert status["stage"] == "COMPLETED"
    assert any(line.startswith("step 3/3") for line in lines)


def test_the_demo_ends_well_only_because_the_model_has_learned(story_environ: Mapping[str, str]) -> None:
    printed = run([sys.executable, "-m", "trl_mcp", "demo"], {**story_environ, "COLUMNS": "120"})
    assert "10 of 10 answers right: learned" in printed
    assert re.search(r"loss by step", printed)
    assert printed.count(" right ") >= 10


def test_the_dockerfile_does_what_the_readme_does() -> None:
    """No container engine is at hand: its steps are those of the wheel's test, and its files are there."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())
    assert re.search(r"^USER trl$", text, re.MULTILINE)
    assert "--compile" in text
