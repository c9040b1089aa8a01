"""Where metrics can be watched: the dashboard of this machine, a Space on the Hub, and trackers of other makers."""

import json
import os
import subprocess
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.hub import EmulatedHub, mounts_supported, spaces_address
from tests.hub.faults import Fault
from tests.story import test_hub
from tests.story.agent import Answers, connected, write_questions
from tests.story.lessons import asked_only, in_steps, preferred, write_rows
from trl_mcp.backends.dashboard import close_dashboard
from trl_mcp.render.script import read_run, render
from trl_mcp.render.templates import template_source

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(600)]

RUN_KEY = "0123456789ab"
STEPS = 12
# What the name service is to the jobs of an emulated Hub.
ADDRESSES = {"PYTHONPATH": str(Path(spaces_address.__file__).parent)}
NEEDS_MOUNTS = pytest.mark.skipif(mounts_supported() is not None, reason="jobs of the emulated Hub need own mounts")
hub, hub_environ, paid = test_hub.hub, test_hub.hub_environ, test_hub.paid


@pytest.fixture
def spaces() -> Generator[EmulatedHub]:
    """A Hub that runs no jobs."""
    with EmulatedHub.start() as running:
        yield running


RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_script(tmp_path: Path, training_python: str, tiny_model: str) -> RunScript:
    """Run a short training as a job does, with fields of its config and variables of its environment."""
    data = write_questions(tmp_path / "questions.jsonl")

    def run(config: Mapping[str, object], private: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        recipe = read_run(template_source("sft"))
        fixed = {"max_steps": STEPS, "logging_steps": 1, "per_device_train_batch_size": 4, "max_length": 64}
        changes = {"run_key": RUN_KEY, "model": tiny_model, "dataset": str(data), "dataset_split": "train"}
        tuned = {"columns": {"prompt": "question", "completion": "answer"}, "tuning": "full", "lora": None}
        recipe |= changes | tuned | {"config": fixed | dict(config), "private": private}
        script = tmp_path / "script.py"
        script.write_text(render("sft", recipe), encoding="utf-8")
        own = {"TRL_MCP_OUTPUT": str(tmp_path / "output"), "TRL_MCP_PART": "1", "TRL_MCP_RUN_TAG": "tag"}
        place = {"HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "trackio")}
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}
        environ = {name: value for name, value in (quiet | own | place | variables).items() if value}
        return subprocess.run(
            [training_python, str(script)], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def online(hub: EmulatedHub) -> dict[str, str]:
    """Return the variables that lead a job to a Hub, as alice."""
    return ADDRESSES | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "HF_HUB_OFFLINE": ""}


def ask(address: str, name: str, token: str = "", **arguments: object) -> Any:
    """Call the API of a dashboard or a Space."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx2.post(f"{address}/api/{name}", json={"args": [], "kwargs": arguments}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def losses(points: list[dict[str, Any]]) -> dict[int, float]:
    """Return the logged loss at each step of the training."""
    return {point["train/global_step"]: point["train/loss"] for point in points if "train/loss" in point}


def progress(done: subprocess.CompletedProcess[str], kind: str) -> list[dict[str, Any]]:
    """Return the progress lines of one kind."""
    lines = [line.removeprefix("TRL_MCP tag ") for line in done.stdout.splitlines() if line.startswith("TRL_MCP tag ")]
    return [read for read in map(json.loads, lines) if read["kind"] == kind]


async def test_a_training_is_watched_on_a_dashboard_that_outlives_the_server(
    story_environ: Mapping[str, str], training: Answers
) -> None:
    home = Path(story_environ["TRL_MCP_HOME"])
    settings = ["max_steps=30", "logging_steps=1", "project=boxes"]
    try:
        async with connected(story_environ) as agent:
            started = await agent.call("submit_training", **training | {"trainer_args": settings})
            status = await agent.follow(started["job_id"])
            log = (await agent.call("job_logs", job_id=started["job_id"], lines=1000))["lines"]
        async with connected(story_environ) as agent:
            later = await agent.call("job_status", job_id=started["job_id"])
        address = urlsplit(str(started["dashboard_url"]))
        points = ask(f"http://{address.netloc}", "get_logs", project="boxes", run=run_of(started))
    finally:
        assert close_dashboard(home)
    assert status["stage"] == "COMPLETED", status
    assert (address.hostname, parse_qs(address.query)) == ("127.0.0.1", {"project": ["boxes"]})
    assert status["dashboard_url"] == later["dashboard_url"] == started["dashboard_url"]
    assert sorted(losses(points)) == list(range(1, 31))
    assert losses(points)[1] > losses(points)[30] * 2
    assert "write_token" not in json.dumps([started, status, later, log])


async def test_methods_that_pin_an_older_trl_are_watched_too(
    story_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    steps = {"method": "prm", "dataset": write_rows(tmp_path / "steps.jsonl", in_steps())}
    pairs = {"method": "reward", "dataset": write_rows(tmp_path / "pairs.jsonl", preferred())}
    prompts = {"method": "ppo", "dataset": write_rows(tmp_path / "prompts.jsonl", asked_only())}
    common = {"model": tiny_model, "tuning": "full", "batch_size": 4}
    short = ["max_steps=2", "logging_steps=1", "project=older"]
    async with connected(story_environ) as agent:
        judge = await agent.call("submit_training", **pairs, **common, trainer_args=["max_steps=1", "report_to=none"])
        taught = [
            await agent.call("submit_training", **steps, **common, trainer_args=short),
            await agent.call(
                "submit_training",
                **prompts,
                **common,
                rewards=[judge["job_id"]],
                trainer_args=[*short, "response_length=4"],
            ),
        ]
        ends = [await agent.follow(started["job_id"]) for started in taught]
    address = urlsplit(str(taught[0]["dashboard_url"]))
    try:
        logged = [ask(f"http://{address.netloc}", "get_logs", project="older", run=run_of(each)) for each in taught]
    finally:
        assert close_dashboard(Path(story_environ["TRL_MCP_HOME"]))
    assert [end["stage"] for end in ends] == ["COMPLETED"] * 2, ends
    assert "metrics are in this log" not in str(ends)
    assert {max(point["train/global_step"] for point in points) for points in logged} == {2}
    assert "train/loss" in logged[0][0]
    assert any("objective/scores" in name for name in logged[1][0])


def run_of(started: Answers) -> str:
    """Return the name of a local job's run: its run key and its part."""
    return started["job_id"].partition("-")[2]


@NEEDS_MOUNTS
async def test_a_paid_training_shows_its_metrics_in_one_private_space(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers
) -> None:
    tracked = paid | {"trainer_args": [f"max_steps={STEPS}", "logging_steps=1"]}
    async with connected(hub_environ) as agent:
        started = await agent.call("submit_training", **tracked, max_cost_usd=1)
        status = await agent.follow(started["job_id"], 400)
    assert status["stage"] == "COMPLETED", (status, hub.job_log(started["job_id"]))
    token = hub.tokens["alice"]
    app = f"{hub.endpoint}/spaces/alice/trackio"
    (run,) = ask(app, "get_runs_for_project", token, project="tiny-sft")
    assert sorted(losses(ask(app, "get_logs", token, project="tiny-sft", run=run["name"]))) == list(range(1, STEPS + 1))
    assert hub.repo_ids("space") == ["alice/trackio"]
    assert httpx2.get(f"{hub.endpoint}/api/spaces/alice/trackio").status_code == 401
    assert httpx2.get(f"{hub.endpoint}/api/buckets/alice/trackio-bucket").status_code == 401
    assert started["dashboard_url"] == status["dashboard_url"]
    page = httpx2.get(started["dashboard_url"], headers={"Authorization": f"Bearer {token}"})
    assert page.json() == {"project": "tiny-sft", "runs": [run["name"]]}


def test_each_job_of_a_run_is_a_run_of_its_own_in_the_space(spaces: EmulatedHub, run_script: RunScript) -> None:
    config = {"report_to": ["trackio"], "project": "boxes", "trackio_space_id": "alice/trackio"}
    for part in ("1", "2"):
        done = run_script(config, **online(spaces), TRL_MCP_PART=part)
        assert done.returncode == 0, done.stderr[-3000:]
        assert progress(done, "warning") == []
    app, token = f"{spaces.endpoint}/spaces/alice/trackio", spaces.tokens["alice"]
    names = [run["name"] for run in ask(app, "get_runs_for_project", token, project="boxes")]
    assert names == [f"{RUN_KEY}-1", f"{RUN_KEY}-2"]
    counts = [len(losses(ask(app, "get_logs", token, project="boxes", run=name))) for name in names]
    assert counts == [STEPS, STEPS]
    assert spaces.repo_ids("space") == ["alice/trackio"]


def test_metrics_of_a_private_model_do_not_go_to_a_public_space(spaces: EmulatedHub, run_script: RunScript) -> None:
    spaces.add_repo("alice/trackio", {"app.py": "import trackio\ntrackio.show()\n"}, repo_type="space")
    done = run_script({"report_to": ["trackio"], "trackio_space_id": "alice/trackio"}, **online(spaces))
    assert done.returncode == 0, done.stderr[-3000:]
    (warning,) = progress(done, "warning")
    assert "alice/trackio: it is public, and the model is private" in warning["message"]
    assert [request for request in spaces.requests() if "/spaces/alice/trackio/api/" in request.path] == []


@pytest.mark.parametrize(
    ("status", "path"), [(500, "/api/spaces/*"), (403, "/api/repos/create"), (500, "/api/bucket*")]
)
def test_a_space_that_cannot_be_made_does_not_stop_the_training(
    spaces: EmulatedHub, run_script: RunScript, status: int, path: str
) -> None:
    spaces.faults.add(Fault(path=path, status=status, times=1000))
    done = run_script({"report_to": ["trackio"], "trackio_space_id": "alice/trackio"}, **online(spaces))
    assert done.returncode == 0, done.stderr[-3000:]
    assert progress(done, "end")[0]["steps"] == STEPS
    assert len([line for line in progress(done, "log") if "loss" in line]) == STEPS


def test_wandb_without_its_key_stops_the_job_before_the_model_is_loaded(run_script: RunScript) -> None:
    done = run_script({"report_to": ["wandb"]})
    assert done.returncode != 0
    (error,) = progress(done, "error")
    assert (error["where"], "WANDB_API_KEY is not set" in error["message"]) == ("access", True)
