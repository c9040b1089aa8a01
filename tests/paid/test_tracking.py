"""Where a paid training reports to: Trackio unless something else is said, and what a tracker of others needs."""

import json
from collections.abc import Mapping
from typing import cast

import pytest

from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio
KEY = "0123456789" * 4
GIVEN = {"WANDB_API_KEY": KEY, "TRL_MCP_SECRETS": "HF_TOKEN,WANDB_API_KEY"}
WANDB = ["report_to=wandb"]


def config_of(script: str) -> Mapping[str, object]:
    return cast(Mapping[str, object], read_run(script)["config"])


async def script_of(desk: PaidDesk, job_id: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(f"job://alice/{job_id}/script")).contents
    return getattr(content, "text", "")


async def test_a_training_reports_to_a_space_of_who_pays_and_says_where(desk_of_each_era: PaidDesk) -> None:
    desk = desk_of_each_era
    started = (await desk.submit(max_cost_usd=1)).result
    (job,) = desk.hub.jobs()
    config = config_of(await script_of(desk, started["job_id"]))
    assert (config["report_to"], config["trackio_space_id"]) == (["trackio"], "alice/trackio")
    page = f"{desk.hub.endpoint}/spaces/alice/trackio/?project=tiny-sft&runs={job['labels']['run']}-1"
    assert started["dashboard_url"] == page
    assert (await desk.ask("job_status", job_id=started["job_id"])).result["dashboard_url"] == page


async def test_whoever_wants_no_tracker_gets_the_page_of_the_job(desk: PaidDesk) -> None:
    started = (await desk.submit(max_cost_usd=1, trainer_args=["report_to=none"])).result
    assert "report_to" not in config_of(await script_of(desk, started["job_id"]))
    assert started["dashboard_url"] == started["job_url"]


async def test_the_tracker_does_not_make_another_run(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    for trackers in ("none", "trackio", "tensorboard"):
        again = await desk.submit(max_cost_usd=1, trainer_args=[f"report_to={trackers}"])
        assert (again.result["status"], again.result["job_id"]) == ("already_submitted", job_id)


@pytest.mark.parametrize("changes", [{}, {"WANDB_API_KEY": KEY}, {"TRL_MCP_SECRETS": "HF_TOKEN,WANDB_API_KEY"}])
async def test_wandb_without_a_key_that_jobs_may_have_is_refused(desk: PaidDesk, changes: dict[str, str]) -> None:
    answer = await desk.with_settings(**changes).refused("WANDB_API_KEY", "TRL_MCP_SECRETS", trainer_args=WANDB)
    assert [finding["code"] for finding in answer.result["findings"]] == ["tracking.secret"]


async def test_the_key_of_wandb_travels_as_a_secret_and_nowhere_else(desk: PaidDesk) -> None:
    allowing = desk.with_settings(**GIVEN)
    job_id = await allowing.submitted(trainer_args=WANDB)
    other = await allowing.submitted(epochs=2)
    jobs = {job["id"]: job for job in desk.hub.jobs()}
    assert sorted(jobs[job_id]["secrets"]) == ["HF_TOKEN", "WANDB_API_KEY"]
    assert desk.hub.job_spec(job_id)["secrets"]["WANDB_API_KEY"] == KEY
    assert sorted(jobs[other]["secrets"]) == ["HF_TOKEN"]
    assert KEY not in json.dumps([*jobs.values()]) + await script_of(allowing, job_id)
