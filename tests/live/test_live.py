"""The whole run on the real Hub, for anyone with a token: under one cent, and nothing is left behind.

    TRL_MCP_LIVE=1 HF_TOKEN=... pytest tests/live

Raw answers of the Jobs API are written to tests/live/recorded/, so that the emulated Hub can be corrected from them.
HF_ENDPOINT names another Hub, the emulated one too where it has the model and the data.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from mcp import Client

from tests.live.recorder import recording
from tests.story.agent import OVER, Agent, Answers
from trl_mcp.app import TrainingServer
from trl_mcp.errors import TrlMcpError
from trl_mcp.hub.hub import Hub
from trl_mcp.settings import Settings

RECORDED = Path(__file__).with_name("recorded")
CENT = 0.01
TRAINING: Answers = {
    "method": "sft",
    "model": "trl-internal-testing/tiny-Qwen3ForCausalLM",
    "dataset": "trl-lib/Capybara",
    "dataset_split": "train[:32]",
    "tuning": "full",
    "batch_size": 4,
    "max_length": 256,
    "trainer_args": ["max_steps=4", "logging_steps=1", "save_steps=2"],
    "hardware": "cpu-basic",
    "timeout": "40m",
}
REASON = "spends money on the real Hub: set TRL_MCP_LIVE=1 and HF_TOKEN"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.environ.get("TRL_MCP_LIVE") != "1" or not os.environ.get("HF_TOKEN"), reason=REASON),
]


@dataclass
class Visit:
    """An agent at the real Hub, and what it has made there."""

    agent: Agent
    hub: Hub
    endpoint: str
    token: str
    jobs: list[str] = field(default_factory=list[str])
    repos: set[str] = field(default_factory=set[str])

    async def submit(self, **changes: object) -> Answers:
        """Submit a training and remember what it makes."""
        return self.remember(await self.agent.call("submit_training", **TRAINING | changes))

    def remember(self, answer: Answers) -> Answers:
        """Note the job and the repository of an answer, to be cleaned up."""
        if "job_id" in answer:
            self.jobs.append(answer["job_id"])
        self.repos.add(answer["output_repo"])
        return answer

    async def ended(self, job_id: str) -> Answers:
        """Follow a job to its end."""
        while (status := await self.agent.call("job_status", job_id=job_id, wait_seconds=20))["stage"] not in OVER:
            await self.agent.call("job_logs", job_id=job_id, lines=20)
        return status

    async def leave(self) -> None:
        """Stop every job and remove repositories and checkpoints."""
        from huggingface_hub import HfApi

        for job_id in self.jobs:
            with suppress(AssertionError):  # the rest is to be removed all the same
                await self.agent.call("cancel_job", job_id=job_id)
        api = HfApi(endpoint=self.endpoint, token=self.token)
        for repo in self.repos:
            await anyio.to_thread.run_sync(lambda repo=repo: api.delete_repo(repo, missing_ok=True))
            namespace, _, name = repo.partition("/")
            with suppress(TrlMcpError):  # there may be no bucket
                await self.hub.free_checkpoints(self.token, namespace, name.rpartition("-")[2])


@pytest.fixture
async def visit(tmp_path: Path) -> AsyncGenerator[Visit]:
    endpoint, token = os.environ.get("HF_ENDPOINT") or "https://huggingface.co", os.environ["HF_TOKEN"]
    RECORDED.mkdir(exist_ok=True)
    path = RECORDED / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    async with recording(endpoint, path) as door:
        environ = {**os.environ, "HF_ENDPOINT": door, "TRL_MCP_HOME": str(tmp_path), "TRL_MCP_MAX_USD_PER_JOB": "0.01"}
        environ.pop("HF_HUB_OFFLINE", None)
        async with Hub(endpoint) as hub, Client(TrainingServer(Settings.from_environ(environ))) as client:
            made = Visit(Agent(client), hub, endpoint, token)
            try:
                yield made
            finally:
                with anyio.CancelScope(shield=True):
                    await made.leave()


async def test_a_paid_run_on_the_real_hub_is_pushed_and_costs_less_than_a_cent(visit: Visit) -> None:
    from huggingface_hub import HfApi

    plan = await visit.submit()
    assert plan["status"] == "planned"
    assert plan["usd_ceiling"] <= CENT
    started = visit.remember(await visit.agent.call("start_job", id=plan["plan_id"], max_cost_usd=CENT))
    again = await visit.submit(max_cost_usd=CENT)
    assert (started["status"], again["status"]) == ("submitted", "already_submitted")
    assert started["job_id"] == again["job_id"]
    status = await visit.ended(started["job_id"])
    assert status["stage"] == "COMPLETED", status
    assert 0 < status["usd_so_far"] <= plan["usd_ceiling"]
    metrics = await visit.agent.call("job_logs", job_id=started["job_id"], show="metrics")
    assert any(line.startswith("step 4/4") for line in metrics["lines"])
    api = HfApi(endpoint=visit.endpoint, token=visit.token)
    files = await anyio.to_thread.run_sync(lambda: api.list_repo_files(started["output_repo"]))
    assert {"model.safetensors", "tokenizer.json", "train.py", "trl-mcp.json"} <= set(files)


async def test_a_job_on_the_real_hub_is_cancelled_and_could_go_on(visit: Visit) -> None:
    started = await visit.submit(learning_rate=1e-4, max_cost_usd=CENT)
    cancelled = await visit.agent.call("cancel_job", job_id=started["job_url"])
    assert cancelled["stage"] == "CANCELED", cancelled
    plan = await visit.agent.call("start_job", id=started["job_id"])
    assert plan["status"] == "planned"
    status = await visit.agent.call("job_status", job_id=started["job_id"])
    assert status["usd_so_far"] <= CENT


async def test_the_real_hub_refuses_a_token_it_does_not_know_in_words_that_are_understood(visit: Visit) -> None:
    stranger = "hf_" + "x" * 34
    with pytest.raises(TrlMcpError, match="does not accept the token"):
        await visit.hub.identity(stranger)
