"""Trainings that build on each other, named by their job ids alone."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.story.agent import Agent, Answers, connected

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(600)]

QUESTIONS = [f"What is the code of box {number}?" for number in range(10)]
RIGHT = [f"The code is {37 * (number + 1) % 100}." for number in range(10)]


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Pairs in which the right answer of the training before is the worse one."""
    rows = [
        {"prompt": ask, "chosen": say.replace("The code is", "It is"), "rejected": say}
        for ask, say in zip(QUESTIONS, RIGHT, strict=True)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows * 10), encoding="utf-8")
    return str(path)


def preference(model: str, pairs: str, **changes: object) -> Answers:
    """Arguments of a preference training of an adapter that takes some seconds."""
    steps = ["max_steps=40", "warmup_steps=0", "logging_steps=1"]
    base: Answers = {"method": "dpo", "model": model, "dataset": pairs, "learning_rate": 2e-3, "batch_size": 8}
    return base | {"max_length": 128, "trainer_args": steps} | changes


async def figures(agent: Agent, job_id: str, name: str) -> list[float]:
    """Return what the log of a job says of one metric, step by step."""
    lines = (await agent.call("job_logs", job_id=job_id, show="metrics", lines=1000))["lines"]
    parts = [part.split() for line in lines for part in line.split("  ")]
    return [float(part[1]) for part in parts if len(part) == 2 and part[0] == name]


async def test_preferences_build_on_a_training_that_still_runs(
    story_environ: Mapping[str, str], training: Answers, pairs: str
) -> None:
    async with connected(story_environ) as agent:
        taught = await agent.call("submit_training", **training | {"system_prompt": "Answer."})
        queued = await agent.call("submit_training", **preference(taught["job_id"], pairs))
        again = await agent.call("submit_training", **preference(taught["job_id"], pairs))
        first = await agent.follow(taught["job_id"])
        status = await agent.follow(queued["job_id"])
        later = await agent.call("submit_training", **preference(taught["job_id"], pairs))
        margins = await figures(agent, queued["job_id"], "rewards/margins")
    assert first["stage"] == status["stage"] == "COMPLETED", status
    assert {again["job_id"], later["job_id"]} == {queued["job_id"]}
    assert margins[-1] > 1 > margins[0]
    adapter = json.loads((Path(status["output_path"]) / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"] == taught["output_path"]


async def test_an_adapter_is_trained_further_as_the_same_adapter(
    story_environ: Mapping[str, str], training: Answers, pairs: str
) -> None:
    async with connected(story_environ) as agent:
        whole = await agent.call("submit_training", **training)
        await agent.follow(whole["job_id"])
        adapter = await agent.call("submit_training", **preference(whole["job_id"], pairs))
        await agent.follow(adapter["job_id"])
        seed = ["max_steps=10", "logging_steps=1", "seed=7"]
        further = await agent.call("submit_training", **preference(adapter["job_id"], pairs, trainer_args=seed))
        status = await agent.follow(further["job_id"])
    assert status["stage"] == "COMPLETED", status
    output = Path(status["output_path"])
    config = json.loads((output / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == whole["output_path"]
    assert not (output / "ref").exists()


async def test_a_reward_model_made_here_teaches_by_ppo(
    story_environ: Mapping[str, str], training: Answers, pairs: str
) -> None:
    async with connected(story_environ) as agent:
        taught = await agent.call("submit_training", **training)
        judge = await agent.call(
            "submit_training",
            **preference(
                taught["job_id"],
                pairs,
                method="reward",
                tuning="full",
                learning_rate=1e-3,
                trainer_args=["max_steps=30", "logging_steps=1"],
            ),
        )
        learner = await agent.call(
            "submit_training",
            method="ppo",
            model=taught["job_id"],
            rewards=[judge["job_id"]],
            dataset=training["dataset"],
            tuning="full",
            batch_size=8,
            trainer_args=["max_steps=6", "response_length=8", "logging_steps=1"],
        )
        judged = await agent.follow(judge["job_id"])
        status = await agent.follow(learner["job_id"], 300)
        accuracy = await figures(agent, judge["job_id"], "accuracy")
    assert judged["stage"] == "COMPLETED", judged
    assert accuracy[-1] >= 0.9
    assert status["stage"] == "COMPLETED", status


async def test_a_failed_job_has_no_model_to_build_on(
    story_environ: Mapping[str, str], training: Answers, pairs: str
) -> None:
    async with connected(story_environ) as agent:
        job = await agent.call("submit_training", **training | {"trainer_args": ["max_steps=3000", "seed=11"]})
        await agent.call("cancel_job", job_id=job["job_id"])
        status = await agent.follow(job["job_id"])
        assert status["stage"] == "CANCELED"
        with pytest.raises(AssertionError, match="ended as CANCELED; its model is not finished"):
            await agent.call("submit_training", **preference(job["job_id"], pairs))
        with pytest.raises(AssertionError, match="ended as CANCELED; its model is not finished"):
            await agent.call("validate_dataset", dataset=pairs, model=job["job_id"])
