"""Judges over the tools: what they cost beside the job is said, and one that cannot be asked is refused before it."""

import json
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import INHERITED, Connect, WriteRows
from tests.estimate.stored_models import stored_files
from tests.face.answer import Answer, answer_of
from tests.face.conftest import Ask
from tests.hub import EmulatedHub, Fault
from trl_mcp.errors import HubUnreachable
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import Gathering, Wish
from trl_mcp.plan.training import plan_training
from trl_mcp.recipes.judges import rubric_columns
from trl_mcp.recipes.recipe import Asked
from trl_mcp.render.script import read_run
from trl_mcp.values import Severity

pytestmark = pytest.mark.anyio

ROWS = [{"prompt": f"What is {number} + 1?", "answer": f"{number + 1}"} for number in range(12)]
JUDGE = "judge:acme/judge"
CALLS = {"trainer_args": ["max_steps=10", "num_generations=4"], "batch_size": 2}


@pytest.fixture
def hub(tmp_path: Path) -> Generator[EmulatedHub]:
    """A Hub on which a provider serves one model for conversations, and another model for something else."""
    with EmulatedHub.start(tmp_path / "hub") as running:
        running.serve_model("acme/judge", lambda _: '{"score": 1}', providers=("novita", "together"))
        running.serve_model("acme/embedder", lambda _: "", task="feature-extraction")
        running.add_repo("acme/unserved")
        yield running


@pytest.fixture
def environ(hub: EmulatedHub, home: Path, tmp_path: Path) -> Mapping[str, str]:
    """The shell of an operator whose token is alice's."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    places = {"HF_HOME": str(tmp_path / "hf"), "TRL_MCP_HOME": str(home), "HF_ENDPOINT": hub.endpoint}
    return kept | places | {"HF_TOKEN": hub.tokens["alice"]}


@pytest.fixture
def training(training: dict[str, Any], write_rows: WriteRows) -> dict[str, Any]:
    """Return arguments of a training by a judge on this machine, which is only checked."""
    data = str(write_rows("data/questions.jsonl", ROWS))
    wanted = {"method": "grpo", "dataset": data, "rewards": [JUDGE], "hardware": "local", "dry_run": True}
    return training | wanted | CALLS


def finding(answer: Answer, code: str) -> dict[str, Any]:
    """Return the one finding of a code."""
    (found,) = [each for each in answer.result["findings"] if each["code"] == code]
    return found


async def test_a_judge_needs_no_leave_for_local_code_and_its_calls_are_named(
    ask: Ask, training: dict[str, Any]
) -> None:
    answer = await ask("submit_training", **training)
    assert answer.result["status"] == "planned", answer.text
    found = finding(answer, "reward.judge_cost")
    assert found["severity"] == "warning"
    assert "about 80 calls in all (10 steps of 8 answers)" in found["message"]
    assert "not in usd_ceiling, and max_cost_usd does not limit it" in found["message"]
    assert f"rewards {JUDGE}" in answer.result["recipe"]
    assert {each["code"] for each in answer.result["findings"]} & {"auth.local_code", "reward.judge_unchecked"} == set()


@pytest.mark.parametrize(("method", "calls"), [("rloo", "80 calls"), ("online_dpo", "40 calls")])
async def test_calls_are_counted_as_the_method_makes_answers(
    ask: Ask, training: dict[str, Any], method: str, calls: str
) -> None:
    settings = ["max_steps=10"] + (["num_generations=4"] if method == "rloo" else [])
    answer = await ask("submit_training", **training | {"method": method, "trainer_args": settings})
    assert f"about {calls} in all" in finding(answer, "reward.judge_cost")["message"], answer.text


async def test_the_rubric_is_written_into_the_script_and_its_columns_are_looked_for(
    ask: Ask, connect_newest: Connect, training: dict[str, Any]
) -> None:
    settings = [*training["trainer_args"], "judge_rubric=1: says {answer}.\n0: does not."]
    async with connect_newest() as client:
        answer = answer_of(await client.call_tool("submit_training", training | {"trainer_args": settings}))
        script = (await client.read_resource(answer.result["script_uri"])).contents[0]
    (reward,) = read_run(getattr(script, "text", ""))["rewards"]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType] - read from a script
    assert reward == {
        "name": JUDGE,
        "kind": "judge",
        "weight": None,
        "revision": None,
        "rubric": "1: says {answer}.\n0: does not.",
    }
    wrong = training | {"trainer_args": ["judge_rubric=Says {solution}?"]}
    refused = await ask("submit_training", **wrong)
    assert refused.result["status"] == "refused"
    assert "The rewards read solution" in refused.text
    looked = await ask(
        "validate_dataset",
        dataset=training["dataset"],
        method="grpo",
        rewards=[JUDGE],
        trainer_args=["judge_rubric=Says {solution}?"],
    )
    assert looked.result["verdict"] == "needs_columns"


async def test_a_judge_that_does_not_exist_is_refused_with_what_may_be_meant(
    ask: Ask, training: dict[str, Any]
) -> None:
    answer = await ask("submit_training", **training | {"rewards": ["judge:acme/jugde"]})
    assert answer.is_error
    assert "There is no model acme/jugde" in answer.text
    assert "Did you mean acme/judge?" in answer.text
    assert "Nothing was started." in answer.text


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ("judge:acme/unserved", ["No provider serves acme/unserved for conversations"]),
        ("judge:acme/embedder", ["No provider serves acme/embedder for conversations"]),
        ("judge:acme/judge:novitas", ["novitas does not serve acme/judge", 'Did you mean "novita"', "together"]),
    ],
)
async def test_a_judge_that_nobody_serves_is_refused(
    ask: Ask, training: dict[str, Any], judge: str, words: list[str]
) -> None:
    answer = await ask("submit_training", **training | {"rewards": [judge]})
    assert answer.result["status"] == "refused", answer.text
    found = finding(answer, "reward.judge_unserved")
    assert [word for word in words if word not in f"{found['message']} {found['fix']}"] == []


@pytest.mark.parametrize("judge", ["judge:acme/judge:together:0.5", "judge:acme/judge:cheapest"])
async def test_a_provider_that_serves_it_or_a_policy_is_taken(ask: Ask, training: dict[str, Any], judge: str) -> None:
    answer = await ask("submit_training", **training | {"rewards": [judge]})
    assert answer.result["status"] == "planned", answer.text


async def test_a_hub_that_does_not_answer_leaves_a_local_judge_unchecked_and_stops_a_paid_one(
    hub: EmulatedHub, training: dict[str, Any], tmp_path: Path
) -> None:
    hub.faults.add(Fault(path="/api/models/acme/judge", status=503, times=100))
    hub.add_repo("alice/tiny", {path.name: path.read_bytes() for path in Path(training["model"]).iterdir()})
    asked = Asked("grpo", training["model"], training["dataset"], rewards=(JUDGE,))
    async with Hub(hub.endpoint, cache=tmp_path / "cache", sleep=at_once) as client:
        gathering = Gathering(client, hub.tokens["alice"])
        plan = await plan_training(asked, Wish("local"), gathering, 1)
        with pytest.raises(HubUnreachable, match="ask who serves the model acme/judge"):
            await plan_training(replace(asked, model="alice/tiny"), Wish("cpu-basic", "1h"), gathering, 1)
    (found,) = [each for each in plan.findings if each.code == "reward.judge_unchecked"]
    assert found.severity is Severity.INFO
    assert "acme/judge was not asked" in found.message


async def at_once(_: float) -> None:
    """Wait for nothing."""


async def test_the_example_of_the_page_on_rewards_is_taken(
    ask: Ask, hub: EmulatedHub, training: dict[str, Any]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    example: dict[str, Any] = json.loads(block)
    hub.add_org("Qwen", {"alice": "read"})
    hub.serve_model("Qwen/Qwen3-32B", lambda _: '{"score": 1}')
    here = {name: training[name] for name in ("model", "dataset", "hardware", "dry_run")}
    for entry in (*example["rewards"], *re.findall(r"`\"?(judge:Qwen[^`\"]+)", page)):
        answer = await ask("submit_training", **example | here | {"rewards": [entry]})
        assert answer.result["status"] == "planned", answer.text
    columns = re.findall(r"`judge_rubric=([^`]+)`", page)
    assert [rubric_columns(text) for text in columns] == [("solution",)]


async def test_an_estimate_takes_the_arguments_of_a_training_by_a_judge(
    ask: Ask, hub: EmulatedHub, training: dict[str, Any]
) -> None:
    hub.add_repo("alice/qwen3-0.6b", stored_files("qwen3-0.6b"))
    settings = [*training["trainer_args"], "judge_rubric=1: good. 0: bad."]
    given = {"method": "grpo", "model": "alice/qwen3-0.6b", "trainer_args": settings}
    answer = await ask("estimate_cost", **given, rows=100, tokens_per_row=50)
    assert answer.result["options"], answer.text


class TestWithoutAWayToTheJudge:
    """Operators whose servers cannot ask a judge."""

    @pytest.fixture(params=[{"HF_TOKEN": ""}, {"HF_HUB_OFFLINE": "1"}], ids=["no token", "offline"])
    def environ(self, environ: Mapping[str, str], request: pytest.FixtureRequest) -> Mapping[str, str]:
        """The shell of such an operator."""
        return {**environ, **request.param}

    async def test_it_is_refused_and_cannot_be_accepted(self, ask: Ask, training: dict[str, Any]) -> None:
        answer = await ask("submit_training", **training, accept=["auth.judge"])
        assert answer.result["status"] == "refused", answer.text
        assert finding(answer, "auth.judge")["severity"] == "error"
        assert "cannot be accepted" in finding(answer, "auth.judge")["fix"]


class TestWithATokenOfFewPermissions:
    """An operator whose fine-grained token may write, but not make calls."""

    @pytest.fixture
    def environ(self, environ: Mapping[str, str], hub: EmulatedHub) -> Mapping[str, str]:
        """The shell of that operator."""
        return {**environ, "HF_TOKEN": hub.add_token("alice", "fineGrained", scopes={"alice": ["repo.write"]})}

    async def test_the_permission_is_named(self, ask: Ask, training: dict[str, Any]) -> None:
        answer = await ask("submit_training", **training, output_repo="codes")
        assert answer.result["status"] == "refused", answer.text
        assert "lacks inference.serverless.write" in finding(answer, "auth.judge")["message"]


async def test_a_rubric_that_holds_a_key_is_refused(ask: Ask, hub: EmulatedHub, training: dict[str, Any]) -> None:
    settings = [*training["trainer_args"], f"judge_rubric=Look with {hub.tokens['bob']}."]
    answer = await ask("submit_training", **training | {"trainer_args": settings})
    assert hub.tokens["bob"] not in answer.text
    assert answer.is_error or finding(answer, "job.secret")["severity"] == "error"
