"""Paid trainings that build on each other, named by their job ids alone, over the emulated Hub."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hub import EmulatedHub, mounts_supported
from tests.story import test_hub
from tests.story.agent import Agent, Answers, connected
from tests.story.lessons import LESSONS, answered, preferred, write_rows
from tests.story.test_pipelines import figures

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(1200)]
if (reason := mounts_supported()) is not None:
    pytestmark.append(pytest.mark.skip(reason=f"jobs of the emulated Hub need their own mounts: {reason}"))
hub, hub_environ, paid = test_hub.hub, test_hub.hub_environ, test_hub.paid
NOT_FINISHED = re.compile(r"(\S+), which makes that model, is not finished: (\w+), about (\d+) s left\.")


def lesson(method: str, data: str, **changes: Any) -> dict[str, Any]:
    """Return arguments of a paid training by a method's lesson."""
    lasts = {"dataset": data, "hardware": "cpu-basic", "timeout": "30m", "max_cost_usd": 1}
    return {"method": method} | LESSONS[method].asked("full") | lasts | changes


async def submitted(agent: Agent, hub: EmulatedHub, **asked: Any) -> Answers:
    """Start a paid training, follow it to its end, and return its status."""
    started = await agent.call("submit_training", **asked)
    assert started["status"] == "submitted", started
    status = await agent.follow(started["job_id"], 600)
    assert status["stage"] == "COMPLETED", (status, hub.job_log(started["job_id"])[-3000:])
    return status


async def test_preferences_wait_for_the_training_they_build_on_and_go_on_with_its_model(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, tmp_path: Path
) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", preferred())
    after = lesson("dpo", pairs, **LESSONS["dpo"].asked("lora"))
    async with connected(hub_environ) as agent:
        taught = await agent.call("submit_training", **paid, max_cost_usd=1)
        with pytest.raises(AssertionError) as early:
            await agent.call("submit_training", **after, model=taught["job_id"])
        finished = await agent.follow(taught["job_id"], 600)
        status = await submitted(agent, hub, **after, model=taught["job_url"])
        margins = await figures(agent, status["job_id"], "rewards/margins")
    said = NOT_FINISHED.search(str(early.value))
    assert said is not None, str(early.value)
    assert taught["job_id"].endswith(said[1])
    assert "Nothing was started." in str(early.value)
    assert finished["stage"] == "COMPLETED", finished
    assert len(hub.jobs("alice")) == 2
    assert margins[-1] > 1 > margins[0]
    adapter = json.loads(hub.read_file(status["output_repo"], "adapter_config.json"))
    assert adapter["base_model_name_or_path"] == finished["output_repo"]


async def test_a_reward_model_of_one_paid_run_teaches_another(
    hub: EmulatedHub, hub_environ: Mapping[str, str], paid: Answers, tmp_path: Path
) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", preferred())
    prompts = write_rows(tmp_path / "prompts.jsonl", answered(["?"] * 10, copies=4))
    async with connected(hub_environ) as agent:
        taught = await submitted(agent, hub, **paid, max_cost_usd=1)
        judge = await submitted(agent, hub, **lesson("reward", pairs, model=taught["job_id"]))
        by_the_judge = {"model": taught["job_id"], "rewards": [judge["job_id"]], "batch_size": 8}
        short = ["max_steps=3", "response_length=8", "logging_steps=1", "report_to=none"]
        learner = await submitted(agent, hub, **lesson("ppo", prompts, **by_the_judge, trainer_args=short))
        losses = await figures(agent, judge["job_id"], "loss")
        scores = await figures(agent, learner["job_id"], "objective/scores")
    assert losses[-1] < losses[0] / 2
    assert len(scores) == 3
    recipe = json.loads(hub.read_file(learner["output_repo"], "trl-mcp.json"))
    assert recipe["run_key"] == learner["output_repo"].rpartition("-")[2]
    assert "model.safetensors" in hub.list_files(learner["output_repo"])
