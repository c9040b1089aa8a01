"""A language model as judge, served by the emulated Hub's Inference Providers, teaches a model over the tools."""

import json
import shlex
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from tests.hub import EmulatedHub, Fault, RunOptions, spaces_address
from tests.story.agent import Agent, Answers, connected
from tests.story.lessons import asked_only, write_rows
from tests.templates.judge_replies import scoring, share_of_digits

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(600)]

ROUTER = "/v1/chat/completions"
# What the name service is to the jobs: it takes the router's address to the emulated Hub.
ADDRESSES = str(Path(spaces_address.__file__).parent)
STEPS = 40


@pytest.fixture
def hub(tmp_path: Path, job_env: dict[str, str]) -> Generator[EmulatedHub]:
    """A Hub that runs jobs, on which a judge is served."""
    with EmulatedHub.start(tmp_path / "hub", options=RunOptions(job_env=job_env | {"PYTHONPATH": ADDRESSES})) as hub:
        hub.serve_model("acme/judge", scoring(share_of_digits))
        yield hub


@pytest.fixture
def hub_environ(hub: EmulatedHub, story_environ: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    """The environment of a server of alice's, with a home of its own whose Pythons find the router too."""
    home = tmp_path / "home"
    for ready in (Path(story_environ["TRL_MCP_HOME"]) / "envs").glob("*/ready.json"):
        known = json.loads(ready.read_text(encoding="utf-8"))
        folder = home / "envs" / ready.parent.name
        folder.mkdir(parents=True)
        program = folder / "python"
        command = f'PYTHONPATH={shlex.quote(ADDRESSES)} exec {shlex.quote(known["python"])} "$@"'
        program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        program.chmod(0o755)
        (folder / "ready.json").write_text(json.dumps(known | {"python": str(program)}), encoding="utf-8")
    kept = {name: value for name, value in story_environ.items() if name != "HF_HUB_OFFLINE"}
    places = {"TRL_MCP_HOME": str(home), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.endpoint}
    return kept | places | {"HF_TOKEN": hub.tokens["alice"]}


@pytest.fixture
def judged(tiny_model: str, tmp_path: Path) -> Answers:
    """Arguments of a training on this machine that only a judge tells what is good."""
    settings = [f"max_steps={STEPS}", "num_generations=8", "max_completion_length=8", "per_device_train_batch_size=32"]
    return {
        "method": "grpo",
        "model": tiny_model,
        "dataset": write_rows(tmp_path / "prompts.jsonl", asked_only()),
        "rewards": ["judge:acme/judge"],
        "tuning": "full",
        "learning_rate": 5e-3,
        "batch_size": 4,
        "trainer_args": [*settings, "logging_steps=1", "report_to=none", "judge_rubric=1: all digits. 0: no digit."],
        "hardware": "local",
    }


@pytest.fixture
def paid(hub: EmulatedHub, judged: Answers) -> Answers:
    """Arguments of the same training as a paid job, with model and data on the Hub."""
    files = {path.name: path.read_bytes() for path in Path(judged["model"]).iterdir() if path.is_file()}
    hub.add_repo("alice/tiny", files, private=True)
    hub.add_repo("alice/prompts", {"train.jsonl": Path(judged["dataset"]).read_bytes()}, repo_type="dataset")
    place = {"hardware": "cpu-basic", "timeout": "30m", "max_cost_usd": 0.01}
    return judged | place | {"model": "alice/tiny", "dataset": "alice/prompts"}


async def rewards_of(agent: Agent, job_id: str) -> list[float]:
    """Return the reward at each step, as the log tells it."""
    lines = (await agent.call("job_logs", job_id=job_id, show="metrics", lines=1000))["lines"]
    parts = (part.split() for line in lines for part in line.split("  "))
    return [float(words[1]) for words in parts if len(words) == 2 and words[0] == "reward"]


async def test_a_judge_drives_a_paid_run_whose_reward_rises(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers
) -> None:
    await assert_its_reward_rises(hub, hub_environ, paid)


async def test_a_judge_drives_a_local_run_whose_reward_rises(
    hub: EmulatedHub, hub_environ: Mapping[str, str], judged: Answers
) -> None:
    await assert_its_reward_rises(hub, hub_environ, judged)


async def assert_its_reward_rises(hub: EmulatedHub, environ: Mapping[str, str], asked_for: Answers) -> None:
    """Run a training and fail unless its reward rises, by a judge that was asked as often as was said."""
    async with connected(environ) as agent:
        started = await agent.call("submit_training", **asked_for)
        status = await agent.follow(started["job_id"], 400)
        course = await rewards_of(agent, started["job_id"])
    assert started["status"] == "submitted", started
    assert status["stage"] == "COMPLETED", status
    assert len(course) == STEPS
    assert sum(course[-5:]) / 5 > sum(course[:5]) / 5 + 0.3, course
    (cost,) = [found["message"] for found in started["findings"] if found["code"] == "reward.judge_cost"]
    assert f"about {STEPS * 32:,} calls in all" in cost
    # The trial, the samples before and after, and each answer once.
    asked = hub.requests(ROUTER)
    assert STEPS * 32 < len(asked) < STEPS * 32 + 25
    assert {(entry.user, entry.status) for entry in asked} == {("alice", 200)}
    metrics = dict(metric.split("=") for metric in status["metrics"])
    assert STEPS * 32 <= float(metrics["judge_calls"]) <= len(asked)
    assert float(metrics["judge_failures"]) == 0


async def test_a_judge_without_credits_stops_the_job_in_seconds_and_says_so(
    hub: EmulatedHub, hub_environ: Mapping[str, str], judged: Answers
) -> None:
    hub.set_credits("alice", 0)
    async with connected(hub_environ) as agent:
        started = await agent.call("submit_training", **judged)
        status = await agent.follow(started["job_id"], 240)
    assert status["stage"] == "ERROR"
    assert "no credits left for Inference Providers (402)" in status["diagnosis"]["evidence"]
    assert len(hub.requests(ROUTER)) == 1


async def test_a_judge_that_breaks_down_on_the_way_is_what_the_status_names(
    hub: EmulatedHub, hub_environ: Mapping[str, str], judged: Answers
) -> None:
    # The trial, the samples and two steps pass.
    hub.faults.add(Fault(path=ROUTER, status=500, times=100_000, skip=1 + 10 + 2 * 32))
    async with connected(hub_environ) as agent:
        started = await agent.call("submit_training", **judged)
        status = await agent.follow(started["job_id"], 240)
    assert status["stage"] == "ERROR"
    assert "32 of the last 32 answers got no score" in status["diagnosis"]["evidence"], status
    assert status["progress"]["step"] == 2
