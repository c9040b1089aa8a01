"""A whole run over the emulated Hub, with the real client libraries: paid, pushed, watched, told what it cost."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from tests.hub import EmulatedHub, RunOptions, mounts_supported
from tests.story.agent import HUB_TRAINING, Agent, Answers, connected, write_questions
from tests.story.conftest import home_beside
from tests.story.test_training import ask
from trl_mcp.backends.dashboard import close_dashboard

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(600)]
if (reason := mounts_supported()) is not None:
    pytestmark.append(pytest.mark.skip(reason=f"jobs of the emulated Hub need their own mounts: {reason}"))


@pytest.fixture
def hub(tmp_path: Path, job_env: dict[str, str]) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub", options=RunOptions(job_env=job_env)) as running:
        yield running


@pytest.fixture
def hub_environ(hub: EmulatedHub, story_environ: Mapping[str, str], tmp_path: Path) -> Generator[Mapping[str, str]]:
    kept = {name: value for name, value in story_environ.items() if name != "HF_HUB_OFFLINE"}
    home = {"TRL_MCP_HOME": home_beside(story_environ, tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}
    yield {**kept, **home, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"]}
    close_dashboard(tmp_path / "home", seconds=0)


@pytest.fixture
def paid(hub: EmulatedHub, tiny_model: str, tmp_path: Path) -> Answers:
    """Arguments of a paid training on a model and data that lie on the Hub."""
    files = {path.name: path.read_bytes() for path in Path(tiny_model).iterdir() if path.is_file()}
    hub.add_repo("alice/tiny", files)
    data = write_questions(tmp_path / "questions.jsonl")
    hub.add_repo("alice/questions", {"train.jsonl": data.read_bytes()}, repo_type="dataset", private=True)
    return HUB_TRAINING | {"hardware": "cpu-basic", "timeout": "30m"}


async def test_a_paid_run_is_pushed_watched_and_told_what_it_cost(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, training_python: str, tmp_path: Path
) -> None:
    async with connected(hub_environ) as agent:
        plan = await agent.call("submit_training", **paid)
        started = await agent.call("submit_training", **paid, max_cost_usd=0.01)
        again = await agent.call("submit_training", **paid, max_cost_usd=0.01)
        status = await agent.follow(started["job_id"], 400)
        logs = await agent.call("job_logs", job_id=started["job_url"], show="samples", lines=100)
    assert plan["status"] == "planned"
    assert plan["usd_ceiling"] == pytest.approx(0.005, abs=0.001)
    assert (started["status"], again["status"]) == ("submitted", "already_submitted")
    assert started["job_id"] == again["job_id"]
    assert len(hub.jobs("alice")) == 1
    assert status["stage"] == "COMPLETED", status
    assert status["output_repo"] == started["output_repo"]
    assert 0 < status["usd_so_far"] <= plan["usd_ceiling"]
    assert status["activity"].startswith(f"the model is pushed: {hub.endpoint}/{started['output_repo']}")
    assert len(logs["lines"]) == 10
    # Only now may the library be pointed elsewhere: the folder is what the Hub has.
    pushed = tmp_path / "pushed"
    for name in hub.list_files(started["output_repo"]):
        (pushed / name).parent.mkdir(parents=True, exist_ok=True)
        (pushed / name).write_bytes(hub.read_file(started["output_repo"], name))
    record = json.loads((pushed / "trl-mcp.json").read_bytes())
    assert record["run_key"] == status["output_repo"].rpartition("-")[2]
    # The plan that was started may differ from the one shown: tokens that took too long then are counted by now.
    assert re.fullmatch(r"plan-[0-9a-f]{12}", record["job"]["plan"])
    assert 0 < record["job"]["usd_so_far"] <= status["usd_so_far"]
    card = (pushed / "README.md").read_text(encoding="utf-8")
    assert f"| plan | {record['job']['plan']} |" in card
    assert f"| usd_ceiling | {plan['usd_ceiling']:.5g} |" in card
    online = {**hub_environ, "OMP_NUM_THREADS": "1"}
    answer = ask(training_python, started["output_repo"], "What is the code of box 3?", online)
    assert answer.strip() == "The code is 11."
    # Everything the run has produced, here and on the Hub; of the submission itself only what others may see.
    token = hub.tokens["alice"]
    kept = [path for folder in ("home", "pushed") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert [path for path in kept if token.encode() in path.read_bytes()] == []
    (job,) = hub.jobs("alice")
    assert token not in json.dumps([plan, started, again, status, logs, job, hub.job_log(started["job_id"])])


async def test_a_local_file_travels_only_when_the_job_starts(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, tmp_path: Path
) -> None:
    local = paid | {"dataset": str(tmp_path / "questions.jsonl"), "trainer_args": ["max_steps=3"]}
    async with connected(hub_environ) as agent:
        plan = await agent.call("submit_training", **local, dry_run=True)
        before = hub.repo_ids("dataset")
        started = await agent.call("start_job", id=plan["plan_id"])
        status = await agent.follow(started["job_id"], 400)
    assert "alice/trl-mcp-data" not in before
    assert started["status"] == "submitted"
    assert status["stage"] == "COMPLETED", status
    (stored,) = [name for name in hub.list_files("alice/trl-mcp-data", repo_type="dataset") if "questions" in name]
    assert re.fullmatch(r"[0-9a-f]{64}/questions\.jsonl", stored)


async def test_a_local_run_pushes_to_a_repository_that_is_named(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers
) -> None:
    local = {name: value for name, value in paid.items() if name != "timeout"}
    local |= {"hardware": "local", "output_repo": "codes", "trainer_args": ["max_steps=3"]}
    async with connected(hub_environ) as agent:
        started = await agent.call("submit_training", **local)
        status = await agent.follow(started["job_id"])
    assert started["status"] == "submitted"
    assert started["output_repo"] == "alice/codes"
    assert status["stage"] == "COMPLETED", status
    assert "model.safetensors" in hub.list_files("alice/codes")
    assert hub.jobs() == []


async def test_a_run_cut_off_by_its_timeout_goes_on_by_itself_and_by_start_job_with_the_losses_of_an_unbroken_one(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, tiny_model: str, tmp_path: Path
) -> None:
    # Eight passes a step, so that there is time to be cut off in.
    paid["batch_size"] = 64
    settings = ["max_steps=400", "save_steps=10", "logging_steps=10", "seed=5"]
    whole = {name: value for name, value in paid.items() if name != "timeout"} | {
        "model": tiny_model,
        "dataset": str(tmp_path / "questions.jsonl"),
        "hardware": "local",
        "trainer_args": settings,
    }
    async with connected({**hub_environ, "TRL_MCP_ATTEMPTS": "2"}) as agent:
        unbroken = await agent.call("submit_training", **whole)
        started = await agent.call("submit_training", **paid | {"trainer_args": settings}, max_cost_usd=1)
        job_id = started["job_id"]
        first = await agent.until(job_id, lambda status: status.get("resume_step", 0) >= 20, 300)
        hub.expire_job(job_id)
        beyond = first["resume_step"] + 20
        second = await agent.until(job_id, lambda status: status.get("resume_step", 0) >= beyond, 300)
        hub.expire_job(job_id)
        failed = await agent.follow(job_id)
        continued = await agent.call("start_job", id=job_id, max_cost_usd=1)
        status = await agent.follow(continued["job_id"], 300)
        pieces = [await agent.loss_numbers(job_id), await agent.loss_numbers(continued["job_id"])]
        await agent.follow(unbroken["job_id"], 300)
        expected = await agent.loss_numbers(unbroken["job_id"])
    assert failed["stage"] == "ERROR"
    assert failed["diagnosis"]["code"] == "timeout"
    assert second["resume_step"] > first["resume_step"]
    assert status["stage"] == "COMPLETED", status
    assert min(pieces[1]) >= second["resume_step"]
    assert {**pieces[0], **pieces[1]} == pytest.approx(expected, rel=0.02)


async def test_the_rendered_script_runs_again_by_the_hubs_own_command(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, tmp_path: Path
) -> None:
    short = paid | {"trainer_args": ["max_steps=3"]}
    async with connected(hub_environ) as agent:
        plan = await agent.call("submit_training", **short, dry_run=True)
        script = await _script(agent, plan["script_uri"])
    (tmp_path / "again.py").write_text(script, encoding="utf-8")
    program = shutil.which("hf", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the command hf is not installed")
    done = subprocess.run(
        [program, "jobs", "uv", "run", "again.py"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=dict(hub_environ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = hub.jobs("alice")
    assert job["status"]["stage"] == "COMPLETED"
    assert "model.safetensors" in hub.list_files(plan["output_repo"])


async def _script(agent: Agent, uri: str) -> str:
    return await agent.read(uri)
