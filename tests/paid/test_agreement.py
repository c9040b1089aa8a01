"""A plan is started as it was agreed: what has changed since is named, and what would be overwritten is agreed to."""

import pytest

from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio


async def start(desk: PaidDesk, plan_id: str, *words: str) -> None:
    """Start a plan that must be refused in these words."""
    desk.check_refusal(await desk.ask("start_job", id=plan_id), *words)


async def test_a_plan_whose_price_has_changed_names_the_old_and_the_new(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    desk.hub.set_price("cpu-basic", 999)
    await start(desk, plan_id, "price per minute", "from 167 to 999", "Repeat the dry run. Nothing was started.")
    assert desk.hub.jobs() == []


@pytest.mark.parametrize(("repo", "kind"), [("alice/sums", "dataset"), ("alice/tiny", "model")])
async def test_a_plan_whose_data_or_model_has_a_new_commit_names_both(desk: PaidDesk, repo: str, kind: str) -> None:
    before = desk.hub.commit_files(repo, {"note": "1"}, repo_type=kind)
    plan_id = (await desk.submit()).result["plan_id"]
    after = desk.hub.commit_files(repo, {"note": "2"}, repo_type=kind)
    await start(desk, plan_id, f"the {kind} has changed from {repo}@{before} to {repo}@{after}")
    assert desk.hub.jobs() == []


async def test_a_plan_whose_flavor_was_withdrawn_names_what_is_on_offer(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    desk.hub.withdraw_flavor("cpu-basic")
    await start(desk, plan_id, 'hardware cannot be "cpu-basic"', "cpu-upgrade $")
    assert desk.hub.jobs() == []


async def test_a_plan_whose_attempts_the_operator_has_changed_is_refused(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    await start(desk.with_settings(TRL_MCP_ATTEMPTS="2"), plan_id, "attempts were 1 and are 2")
    assert desk.hub.jobs() == []


async def test_a_pinned_revision_makes_a_plan_that_a_later_commit_does_not_change(desk: PaidDesk) -> None:
    commit = desk.hub.commit_files("alice/sums", {"note": "1"}, repo_type="dataset")
    plan_id = (await desk.submit(dataset=f"alice/sums@{commit}")).result["plan_id"]
    desk.hub.commit_files("alice/sums", {"note": "2"}, repo_type="dataset")
    assert (await desk.ask("start_job", id=plan_id)).result["status"] == "submitted"


async def test_a_plan_takes_no_other_values(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    answer = await desk.ask("start_job", id=plan_id, hardware="t4-small")
    desk.check_refusal(answer, "A plan is started as it was agreed", "Nothing was started.")


async def test_an_output_repo_of_others_is_overwritten_only_when_its_plan_is_started(desk: PaidDesk) -> None:
    desk.hub.add_repo("alice/precious", {"model.safetensors": "mine"})
    plan = await desk.submit(output_repo="precious", max_cost_usd=1)
    (finding,) = plan.result["findings"]
    assert (plan.result["status"], finding["severity"], finding["code"]) == ("planned", "warning", "output.overwrite")
    assert "alice/precious exists and was not made by this server" in finding["message"]
    assert desk.hub.jobs() == []
    started = await desk.ask("start_job", id=plan.result["plan_id"])
    assert (started.result["status"], started.result["output_repo"]) == ("submitted", "alice/precious")
    async with desk.client() as client:
        (content,) = (await client.read_resource(started.result["script_uri"])).contents
    assert read_run(getattr(content, "text", ""))["overwrite"] is True


async def test_the_model_of_another_run_is_named(desk: PaidDesk) -> None:
    desk.hub.add_repo("alice/taken", {"trl-mcp.json": '{"run_key": "0123456789ab"}', "model.safetensors": "mine"})
    plan = await desk.submit(output_repo="alice/taken", max_cost_usd=1)
    assert "holds the model of run 0123456789ab; this run would overwrite it" in plan.text
    assert desk.hub.jobs() == []


async def test_a_repo_that_appears_after_the_plan_is_not_overwritten(desk: PaidDesk) -> None:
    plan_id = (await desk.submit(output_repo="late")).result["plan_id"]
    desk.hub.add_repo("alice/late", {"model.safetensors": "mine"})
    await start(desk, plan_id, "the output repository has changed", "to one of another owner")
    assert desk.hub.jobs() == []


async def test_a_plan_that_has_claimed_its_repo_is_found_running(desk: PaidDesk) -> None:
    desk.hub.add_repo("alice/precious", {"model.safetensors": "mine"})
    plan_id = (await desk.submit(output_repo="precious")).result["plan_id"]
    started = await desk.ask("start_job", id=plan_id)
    run = desk.hub.jobs()[0]["labels"]["run"]
    desk.hub.commit_files("alice/precious", {"trl-mcp.json": f'{{"run_key": "{run}"}}'})
    again = await desk.ask("start_job", id=plan_id)
    assert again.result["status"] == "already_submitted"
    assert again.result["job_id"] == started.result["job_id"]


async def test_a_plan_belongs_to_the_token_that_made_it(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    await start(desk.as_user("bob"), plan_id, "There is no plan")
    assert desk.hub.jobs() == []
