import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.story.agent import (
    Answers,
    connected,
    kill,
    script_process,
    server_processes,
    step_of,
    supervisor_process,
)

pytestmark = [pytest.mark.anyio, pytest.mark.training]
GSM8K = Path(__file__).resolve().parents[3] / "shared/data/datasets/gsm8k_train.jsonl"
ANSWER = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
turns = [{"role": "user", "content": sys.argv[2]}]
ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids, max_new_tokens=16, do_sample=False)
print(json.dumps(tokenizer.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


def slower(training: Answers, **changes: str) -> Answers:
    """Return a training with time to be disturbed in: more steps, a checkpoint at every tenth."""
    settings = {"max_steps": "150", "warmup_steps": "10", "logging_steps": "1", "save_steps": "10"} | changes
    return training | {"trainer_args": [f"{name}={value}" for name, value in settings.items()]}


def ask(python: str, model: str, question: str, environ: Mapping[str, str]) -> str:
    """Return what a saved model answers, loaded by transformers alone."""
    command = [python, "-c", ANSWER, model, question]
    answer = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=dict(environ)).stdout
    return json.loads(answer.splitlines()[-1])


async def test_an_agent_fine_tunes_a_model_that_then_answers_right(
    story_environ: Mapping[str, str], training: Answers, training_python: str
) -> None:
    async with connected(story_environ) as agent:
        started = await agent.call("submit_training", **training)
        again = await agent.call("submit_training", **training)
        status = await agent.follow(started["job_id"])
        losses = await agent.losses(started["job_id"])
        samples = await agent.samples(started["job_id"])
    assert (started["status"], again["status"]) == ("submitted", "already_submitted")
    assert again["job_id"] == started["job_id"]
    assert status["stage"] == "COMPLETED"
    assert status["trend"] in ("falling", "flat")
    assert float(losses[1].split()[1]) > 4
    assert float(losses[150].split()[1]) < 0.3
    assert len(samples) == 10
    assert all(sample["before"].strip() != sample["expected"] for sample in samples)
    assert all(sample["after"].strip() == sample["expected"] for sample in samples)
    answer = ask(training_python, status["output_path"], "What is the code of box 3?", story_environ)
    assert answer.strip() == "The code is 11."


async def test_a_job_outlives_its_server_and_a_new_one_sees_it(
    story_environ: Mapping[str, str], training: Answers
) -> None:
    before = set(server_processes())
    async with connected(story_environ) as agent:
        job_id = (await agent.call("submit_training", **training | {"system_prompt": "Be short."}))["job_id"]
        (server,) = set(server_processes()) - before
        kill(server)
    async with connected(story_environ) as agent:
        status = await agent.follow(job_id)
    assert status["stage"] == "COMPLETED"
    assert step_of(status) == 150


async def test_a_killed_job_continues_with_the_losses_of_an_unbroken_run(
    story_environ: Mapping[str, str], training: Answers
) -> None:
    async with connected(story_environ) as agent:
        broken = slower(training)
        unbroken = slower(training, save_steps="20")
        whole_id = (await agent.call("submit_training", **unbroken))["job_id"]
        await agent.follow(whole_id)
        job_id = (await agent.call("submit_training", **broken))["job_id"]
        await agent.until(job_id, lambda status: status.get("resume_step", 0) >= 20)
        kill(script_process(job_id))
        failed = await agent.follow(job_id)
        async with asyncio.TaskGroup() as both:
            calls = [both.create_task(agent.call("start_job", id=job_id)) for _ in range(2)]
        first, second = (call.result() for call in calls)
        status = await agent.follow(first["job_id"])
        losses, expected = await agent.loss_numbers(first["job_id"]), await agent.loss_numbers(whole_id)
    assert failed["stage"] == "ERROR"
    assert failed["exit_code"] == 137
    assert failed["diagnosis"]["code"] == "killed"
    assert first["job_id"] == second["job_id"] != job_id
    assert sorted([first["status"], second["status"]]) == ["already_submitted", "submitted"]
    assert status["stage"] == "COMPLETED"
    assert min(losses) > 20
    assert losses == pytest.approx({step: loss for step, loss in expected.items() if step >= min(losses)}, rel=0.02)


async def test_a_job_whose_supervisor_is_killed_ends_in_error_and_can_be_continued(
    story_environ: Mapping[str, str], training: Answers
) -> None:
    async with connected(story_environ) as agent:
        job_id = (await agent.call("submit_training", **slower(training, seed="1")))["job_id"]
        await agent.until(job_id, lambda status: status.get("resume_step", 0) >= 10)
        script = script_process(job_id)
        kill(supervisor_process(job_id))
        failed = await agent.follow(job_id)
        with anyio.fail_after(10):
            while script.is_running() and script.status() != "zombie":
                await anyio.sleep(0.01)
        continued = await agent.call("start_job", id=job_id)
        status = await agent.follow(continued["job_id"])
    assert failed["stage"] == "ERROR"
    assert failed["diagnosis"]["code"] == "supervisor_lost"
    assert failed["diagnosis"]["fix"] == f'start_job(id="{job_id}")'
    assert status["stage"] == "COMPLETED"
    assert step_of(status) == 150


async def test_a_cancelled_job_saves_a_checkpoint_and_continues_from_it(
    story_environ: Mapping[str, str], training: Answers
) -> None:
    async with connected(story_environ) as agent:
        rare = slower(training, save_steps="1000", max_steps="3000", seed="2")
        job_id = (await agent.call("submit_training", **rare))["job_id"]
        await agent.until(job_id, lambda status: step_of(status) >= 5)
        cancelled = await agent.call("cancel_job", job_id=job_id)
        fewer = await agent.call("start_job", id=job_id, trainer_args=["save_steps=2000"], dry_run=True)
        continued = await agent.call("start_job", id=job_id)
        status = await agent.until(continued["job_id"], lambda status: step_of(status) > cancelled["resume_step"])
        await agent.call("cancel_job", job_id=continued["job_id"])
        steps = await agent.losses(continued["job_id"])
    assert cancelled["stage"] == "CANCELED"
    assert cancelled["resume_step"] >= 5
    assert fewer["status"] == "planned"
    assert status["stage"] == "RUNNING"
    assert min(steps) == cancelled["resume_step"] + 1


@pytest.mark.skipif(not GSM8K.is_file(), reason="the data set GSM8K is not beside the checkout")
async def test_gsm8k_is_learned_from_and_the_model_can_be_loaded(
    story_environ: Mapping[str, str], tiny_model: str, training_python: str
) -> None:
    arguments: Answers = {
        "method": "sft",
        "model": tiny_model,
        "dataset": str(GSM8K),
        "columns": {"prompt": "question", "completion": "answer"},
        "tuning": "full",
        "learning_rate": 3e-3,
        "batch_size": 8,
        "max_length": 256,
        "trainer_args": {"max_steps": 200, "save_steps": 50, "logging_steps": 5, "save_total_limit": 4},
    }
    async with connected(story_environ) as agent:
        started = await agent.call("submit_training", **arguments)
        saved = await agent.until(started["job_id"], lambda status: status.get("resume_step", 0) >= 50, 300)
        status = await agent.follow(started["job_id"], 300)
        losses = [float(text.split()[1]) for text in (await agent.losses(started["job_id"])).values()]
    assert "7473 of 7473 rows kept" in started["data"]
    assert saved["stage"] == "RUNNING"
    assert status["stage"] == "COMPLETED"
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 1
    assert ask(training_python, status["output_path"], "How many?", {**os.environ, "OMP_NUM_THREADS": "1"})
