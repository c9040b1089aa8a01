"""Hardware and timeout left open, the whole way: planned, agreed, run for real, pushed, and paid for below the ceiling."""

import json
import os
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import INHERITED, without_counting
from tests.estimate.stored_models import stored_files
from tests.hub import EmulatedHub, Fault, RunOptions, mounts_supported
from tests.paid.desk import PaidDesk
from tests.story import conftest as story
from tests.story.agent import HUB_TRAINING, Agent, write_questions
from tests.story.test_training import ask

pytestmark = pytest.mark.anyio

story_environ, tiny_model, job_env = story.story_environ, story.tiny_model, story.job_env


def environ_of(hub: EmulatedHub, home: Path) -> dict[str, str]:
    without_counting(home)
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "TRL_MCP_HOME": str(home)}
    return kept | own | {"HF_TOKEN": hub.tokens["alice"]}


def first_flavor(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best option that is not this machine, which a plan takes only where it is named."""
    return next(option for option in told["options"] if option["hardware"] != "local")


class TestOnAChangingOffer:
    """Nothing runs: prices and flavors change between the plan and its start."""

    AUTO: Mapping[str, Any] = {"model": "alice/qwen3-0.6b", "hardware": None, "timeout": None}

    @pytest.fixture(autouse=True)
    def model(self, hub: EmulatedHub) -> None:
        hub.add_repo("alice/qwen3-0.6b", stored_files("qwen3-0.6b"))

    async def chosen(self, desk: PaidDesk, **changes: Any) -> str:
        plan = (await desk.submit(**{**self.AUTO, "tuning": "full", **changes})).result
        return plan["where"].partition("in alice: ")[2].partition(" ")[0]

    async def test_the_plan_takes_what_the_estimate_calls_cheapest(self, desk: PaidDesk) -> None:
        given = {"method": "sft", "model": "alice/qwen3-0.6b", "dataset": "alice/sums", "tuning": "full"}
        told = (await desk.ask("estimate_cost", **given)).result
        plan = (await desk.submit(**self.AUTO, tuning="full")).result
        option = first_flavor(told)
        assert f"in alice: {option['hardware']} at " in plan["where"]
        assert told["cheapest"] in (f"full on {option['hardware']}", "full on local")
        same = ("usd_expected", "timeout_s", "peak_gb", "verdict")
        assert {name: plan[name] for name in same} == {name: option[name] for name in same}

    async def test_a_flavor_that_is_withdrawn_is_chosen_no_more_and_its_plan_not_started(self, desk: PaidDesk) -> None:
        plan = (await desk.submit(**self.AUTO, tuning="full")).result
        first = await self.chosen(desk)
        desk.hub.withdraw_flavor(first)
        desk.check_refusal(await desk.ask("start_job", id=plan["plan_id"]), first, "Nothing was started")
        second = await self.chosen(desk)
        assert second not in ("", first)
        assert desk.hub.jobs() == []

    async def test_without_a_list_of_prices_nothing_is_planned(self, desk: PaidDesk) -> None:
        desk.hub.faults.add(Fault("GET", "/api/jobs/hardware", status=503, times=99, message="maintenance"))
        await desk.refused("list the hardware of Hugging Face Jobs", "maintenance", **self.AUTO)

    async def test_a_cap_below_everything_names_what_would_do_and_that_does(self, desk: PaidDesk) -> None:
        answer = await desk.refused(
            "money.cap", "fewer rows or epochs", **self.AUTO, tuning="full", max_cost_usd=0.0001
        )
        (finding,) = answer.result["findings"]
        needed, hardware = re.findall(r'At least \$([\d.]+) is needed, with hardware="([^"]+)"', finding["fix"])[0]
        named = {**self.AUTO, "tuning": "full", "hardware": hardware, "max_cost_usd": float(needed), "dry_run": True}
        assert (await desk.submit(**named)).result["status"] == "planned"

    async def test_a_timeout_that_would_cut_the_run_is_no_way_below_the_cap(self, desk: PaidDesk) -> None:
        """A minute on a t4-small is paid for with less than a cent, and takes no training anywhere."""
        named = {**self.AUTO, "tuning": "full", "hardware": "a10g-small", "max_cost_usd": 0.03}
        answer = await desk.refused("money.cap", **named)
        assert "a timeout of at most" not in answer.text

    async def test_the_cap_holds_for_the_whole_timeout_of_every_attempt(self, desk: PaidDesk) -> None:
        plan = (await desk.submit(**self.AUTO)).result
        twice = desk.with_settings(TRL_MCP_ATTEMPTS="2")
        cap = plan["usd_ceiling"] * 1.01
        assert (await desk.submit(**self.AUTO, max_cost_usd=cap, dry_run=True)).result["status"] == "planned"
        await twice.refused("money.cap", **self.AUTO, max_cost_usd=cap)


@pytest.mark.training
@pytest.mark.timeout(600)
@pytest.mark.skipif(mounts_supported() is not None, reason="jobs of the emulated Hub need their own mounts")
class TestRunForReal:
    """A training whose job runs on the machine that the plan has chosen."""

    @pytest.fixture
    def hub(self, tmp_path: Path, job_env: dict[str, str]) -> Generator[EmulatedHub]:
        with EmulatedHub.start(tmp_path / "hub", options=RunOptions(job_env=job_env)) as running:
            yield running

    @pytest.fixture
    def desk(self, hub: EmulatedHub, tiny_model: str, home: Path, tmp_path: Path) -> PaidDesk:
        hub.add_repo("alice/tiny", {path.name: path.read_bytes() for path in Path(tiny_model).iterdir()})
        data = write_questions(tmp_path / "questions.jsonl").read_bytes()
        hub.add_repo("alice/questions", {"train.jsonl": data}, repo_type="dataset")
        return PaidDesk(hub, environ_of(hub, home))

    async def test_the_chosen_machine_trains_pushes_and_costs_less_than_agreed(
        self, desk: PaidDesk, training_python: str, story_environ: Mapping[str, str]
    ) -> None:
        hub = desk.hub
        told = first_flavor((await desk.ask("estimate_cost", **HUB_TRAINING)).result)
        plan = (await desk.submit(**HUB_TRAINING, hardware=None, timeout=None)).result
        assert (plan["status"], plan["verdict"]) == ("planned", "fits")
        assert plan["timeout_s"] % 900 == 0
        assert plan["hours_low"] <= plan["hours_high"] < plan["timeout_s"] / 3600
        assert hub.jobs() == []
        async with desk.client() as client:
            agent = Agent(client)
            started = await agent.call("start_job", id=plan["plan_id"])
            status = await agent.follow(started["job_id"], 500)
            losses = await agent.losses(started["job_id"])
        (job,) = hub.jobs("alice")
        assert (job["flavor"], job["timeout"]) == (told["hardware"], plan["timeout_s"])
        assert f"{job['flavor']} at " in plan["where"]
        assert status["stage"] == "COMPLETED", hub.job_log(started["job_id"])
        first, *_, last = (float(loss.split()[1]) for loss in losses.values())
        assert last < first / 10
        assert 0 < status["usd_so_far"] <= plan["usd_ceiling"] == started["usd_ceiling"]
        assert status["running_s"] < plan["timeout_s"]
        record = json.loads(hub.read_file(status["output_repo"], "trl-mcp.json"))
        assert record["job"]["plan"] == plan["plan_id"]
        online = {**story_environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "HF_HUB_OFFLINE": "0"}
        answer = ask(training_python, status["output_repo"], "What is the code of box 3?", online)
        assert answer.strip() == "The code is 11."
