"""TRL's own training scripts, as its wheel ships them, run as they are: on this machine and over the emulated Hub."""

import hashlib
import json
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hub import EmulatedHub
from tests.story import test_hub
from tests.story.agent import Answers, connected
from tests.templates.lessons import CODES, write_rows
from tests.templates.test_seq2seq import MAKE_T5, QUESTIONS
from trl_mcp import environments
from trl_mcp.recipes.script_header import complete_header

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(900)]
hub, hub_environ = test_hub.hub, test_hub.hub_environ
STEPS = 30


def rows(method: str) -> list[dict[str, str]]:
    """Return rows from which a tiny model learns something within some steps."""
    if method == "dpo":
        return [{"prompt": f"Box {n}?", "chosen": f"The code is {n}.", "rejected": "What 7 7 7"} for n in range(10)] * 8
    return [{"prompt": f"What is the code of box {n}?", "completion": f" The code is {n}."} for n in range(10)] * 8


def arguments(model: str, data: str, *others: str) -> list[str]:
    """Return the arguments of a short run on a CPU."""
    plain = {
        "model_name_or_path": model,
        "dataset_name": data,
        "output_dir": "trained",
        "max_steps": STEPS,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "report_to": "none",
        "bf16": False,
    }
    named = [text for name, value in plain.items() for text in (f"--{name}", str(value))]
    return [*named, "--use_cpu", *others]


@pytest.fixture(scope="session")
def trl_scripts(training_python: str) -> Path:
    """The folder of the scripts that the pinned TRL ships."""
    find = "import importlib.util; print(importlib.util.find_spec('trl').submodule_search_locations[0])"
    done = subprocess.run([training_python, "-c", find], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()) / "scripts"


@pytest.fixture
def open_environ(story_environ: Mapping[str, str], trl_scripts: Path, training_python: str) -> Mapping[str, str]:
    """What a server has whose operator lets callers run their code; the packages of TRL's scripts are there already."""
    text = (trl_scripts / "sft.py").read_text(encoding="utf-8")
    header = environments.write_header(environments.read_header(complete_header(text, [])))
    folder = Path(story_environ["TRL_MCP_HOME"], "envs", hashlib.sha256(header.encode()).hexdigest()[:16])
    folder.mkdir(exist_ok=True)
    (folder / "ready.json").write_text(json.dumps({"python": training_python, "cpu_only": False}), encoding="utf-8")
    return {**story_environ, "TRL_MCP_ALLOW_LOCAL_CODE": "1"}


def check_learned(status: Answers, losses: Mapping[int, str]) -> None:
    """Fail unless every step was told of, and the loss has fallen by a third."""
    assert status["stage"] == "COMPLETED", status
    assert (status["progress"]["step"], status["progress"]["max_steps"]) == (STEPS, STEPS)
    numbers = [float(text.split()[1]) for _, text in sorted(losses.items())]
    assert len(numbers) >= STEPS - 1, losses
    assert sum(numbers[-5:]) < 0.67 * sum(numbers[:5]), numbers


@pytest.mark.parametrize("method", ["sft", "dpo"])
async def test_a_script_of_trl_runs_on_this_machine(
    method: str, open_environ: Mapping[str, str], trl_scripts: Path, tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    lines = "".join(f"{json.dumps(row)}\n" for row in rows(method))
    (tmp_path / "data" / "train.jsonl").write_text(lines, encoding="utf-8")
    script = (trl_scripts / f"{method}.py").read_text(encoding="utf-8")
    given = {"script_args": arguments(tiny_model, str(tmp_path / "data")), "hardware": "local", "timeout": "10m"}
    async with connected(open_environ) as agent:
        started = await agent.call("submit_script", script=script, name=f"trl-{method}", **given)
        assert started["status"] == "submitted", started
        status = await agent.follow(started["job_id"], 300)
        losses = await agent.losses(started["job_id"])
        tail = (await agent.call("job_logs", job_id=started["job_id"], lines=200))["lines"]
    assert status["stage"] == "COMPLETED", tail[-40:]
    check_learned(status, losses)
    assert f"script trl-{method}" in started["recipe"]
    assert (Path(status["output_path"]) / "trained" / "model.safetensors").is_file()


@pytest.mark.parametrize("method", ["sft", "dpo"])
async def test_a_script_of_trl_runs_as_a_paid_job_and_pushes_its_model(
    method: str, hub: EmulatedHub, hub_environ: Mapping[str, str], trl_scripts: Path, tiny_model: str
) -> None:
    hub.add_repo("alice/tiny", {path.name: path.read_bytes() for path in Path(tiny_model).iterdir() if path.is_file()})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows(method))
    hub.add_repo("alice/rows", {"train.jsonl": lines}, repo_type="dataset", private=True)
    pushing = ("--push_to_hub", "--hub_model_id", f"alice/learned-{method}")
    asked: dict[str, Any] = {
        "script": (trl_scripts / f"{method}.py").read_text(encoding="utf-8"),
        "script_args": arguments("alice/tiny", "alice/rows", *pushing),
        "hardware": "cpu-basic",
        "timeout": "30m",
        "secrets": ["HF_TOKEN"],
    }
    async with connected(hub_environ) as agent:
        plan = await agent.call("submit_script", **asked)
        started = await agent.call("start_job", id=plan["plan_id"])
        again = await agent.call("submit_script", **asked, max_cost_usd=1)
        status = await agent.follow(started["job_id"], 600)
        losses = await agent.losses(started["job_id"])
    assert status["stage"] == "COMPLETED", hub.job_log(started["job_id"])[-40:]
    check_learned(status, losses)
    assert (plan["status"], plan["findings"]) == ("planned", [])
    assert (again["status"], again["job_id"]) == ("already_submitted", started["job_id"])
    assert "model.safetensors" in hub.list_files(f"alice/learned-{method}")
    assert 0 < status["usd_so_far"] <= plan["usd_ceiling"]


async def test_the_template_for_t5_is_taken_by_its_name_and_learns(
    open_environ: Mapping[str, str], training_python: str, tmp_path: Path
) -> None:
    model = tmp_path / "t5"
    words = json.dumps([*CODES, *CODES.values()])
    command = [training_python, "-c", textwrap.dedent(MAKE_T5), str(model), words]
    subprocess.run(command, check=True, capture_output=True, env={**open_environ})
    data = write_rows(tmp_path / "questions.jsonl", QUESTIONS)
    named = {"model": model, "dataset": data, "dataset_split": "train", "learning_rate": 3e-3, "max_steps": 150}
    given = [text for name, value in named.items() for text in (f"--{name}", str(value))]
    asked = {"script": "templates/seq2seq.py", "script_args": given, "hardware": "local", "timeout": "10m"}
    async with connected(open_environ) as agent:
        started = await agent.call("submit_script", **asked)
        status = await agent.follow(started["job_id"], 300)
        losses = await agent.losses(started["job_id"])
        tail = (await agent.call("job_logs", job_id=started["job_id"], lines=200))["lines"]
    assert status["stage"] == "COMPLETED", tail[-40:]
    assert status["progress"]["step"] == status["progress"]["max_steps"] == 150
    numbers = [float(text.split()[1]) for _, text in sorted(losses.items())]
    assert numbers[-1] < 0.3 * numbers[0]
    assert (Path(status["output_path"]) / "model.safetensors").is_file()
