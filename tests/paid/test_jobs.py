"""A paid job is one job however often it is asked for; it is found by any name, watched, stopped and continued."""

from typing import Any

import anyio
import pytest

from tests.conftest import WriteRows
from tests.face.answer import Answer
from tests.hub import Fault
from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio


async def script_of(desk: PaidDesk, uri: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    return getattr(content, "text", "")


async def test_the_same_call_twice_is_one_job(desk_of_each_era: PaidDesk) -> None:
    desk = desk_of_each_era
    first = await desk.submit(max_cost_usd=1)
    again = await desk.submit(max_cost_usd=1)
    assert (first.result["status"], again.result["status"]) == ("submitted", "already_submitted")
    assert first.result["job_id"] == again.result["job_id"]
    assert len(desk.hub.jobs()) == 1


async def test_the_same_call_many_times_at_once_is_one_job(desk: PaidDesk) -> None:
    answers: list[Answer] = []

    async def submit() -> None:
        answers.append(await desk.submit(max_cost_usd=1))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(submit)
    assert sorted(answer.result["status"] for answer in answers) == ["already_submitted"] * 4 + ["submitted"]
    (job,) = desk.hub.jobs()
    assert {answer.result["job_id"] for answer in answers} == {job["id"]}


async def test_a_call_whose_answer_was_lost_finds_its_job_again(desk: PaidDesk) -> None:
    desk.hub.faults.add(Fault("POST", "/api/jobs/alice", kind="drop_after"))
    answer = await desk.submit(max_cost_usd=1)
    (job,) = desk.hub.jobs()
    assert (answer.result["status"], answer.result["job_id"]) == ("submitted", job["id"])


async def test_two_trainings_that_differ_are_two_jobs(desk: PaidDesk) -> None:
    assert await desk.submitted() != await desk.submitted(epochs=2)
    assert len(desk.hub.jobs()) == 2


@pytest.mark.parametrize("form", ["{id}", "{ns}/{id}", "{hub}/jobs/{ns}/{id}", "job://{ns}/{id}/script", " `{id}` "])
@pytest.mark.parametrize("namespace", ["alice", "acme"])
async def test_a_job_is_found_by_any_form_of_its_id(desk: PaidDesk, form: str, namespace: str) -> None:
    job_id = await desk.submitted(namespace=namespace)
    status = await desk.ask("job_status", job_id=form.format(id=job_id, ns=namespace, hub=desk.hub.endpoint))
    assert (status.result["job_id"], status.result["stage"]) == (job_id, "SCHEDULING")


async def test_a_job_that_is_not_there_is_told_with_the_way_to_list_them(desk: PaidDesk) -> None:
    for job_id in ("0" * 24, f"alice/{'0' * 24}", "alice/sft", "carol"):
        answer = await desk.ask("job_status", job_id=job_id)
        desk.check_refusal(answer, "job_status() lists")


async def test_a_job_of_others_is_not_told(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    desk.hub.add_user("carol")
    for form in (job_id, f"alice/{job_id}"):
        for tool in ("job_status", "cancel_job", "job_logs"):
            desk.check_refusal(await desk.as_user("carol").ask(tool, job_id=form), job_id)
    assert desk.hub.jobs()[0]["status"]["stage"] == "SCHEDULING"


async def test_a_job_that_waits_tells_where_it_is_and_where_its_model_goes(desk_of_each_era: PaidDesk) -> None:
    desk = desk_of_each_era
    submitted = await desk.submit(max_cost_usd=1)
    with anyio.fail_after(5):
        status = (await desk.ask("job_status", job_id=submitted.result["job_id"])).result
    assert status["stage"] == "SCHEDULING"
    assert [status[name] for name in ("job_url", "dashboard_url")] == [
        submitted.result[name] for name in ("job_url", "dashboard_url")
    ]
    assert status["output_repo"] == submitted.result["output_repo"]
    assert status["queued_s"] >= 0
    assert "running_s" not in status
    assert status["usd_so_far"] == 0
    assert status["next_check_s"] == 5


async def test_the_newest_jobs_of_this_machine_and_of_all_namespaces_are_listed_together(
    desk: PaidDesk, write_rows: WriteRows, tmp_path: Any
) -> None:
    from tests.conftest import write_model

    local = await desk.submit(
        model=str(write_model(tmp_path / "model")), dataset=str(write_rows()), hardware="local", timeout=None
    )
    own = await desk.submitted()
    others = await desk.submitted(namespace="acme")
    status = (await desk.ask("job_status")).result
    await desk.ask("cancel_job", job_id=local.result["job_id"])
    assert [line.split()[0] for line in status["recent"]] == [others, own, local.result["job_id"]]
    assert status["job_id"] == others


async def test_a_hub_that_is_silent_does_not_hide_the_jobs_of_this_machine(
    desk: PaidDesk, write_rows: WriteRows, tmp_path: Any
) -> None:
    from tests.conftest import write_model

    local = await desk.submit(
        model=str(write_model(tmp_path / "model")), dataset=str(write_rows()), hardware="local", timeout=None
    )
    status = await desk.with_settings(HF_ENDPOINT="http://127.0.0.1:9").ask("job_status")
    await desk.ask("cancel_job", job_id=local.result["job_id"])
    assert status.result["job_id"] == local.result["job_id"]


async def test_a_cancelled_job_goes_on_as_its_next_part_once_the_price_is_agreed(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    cancelled = await desk.ask("cancel_job", job_id=job_id)
    assert (cancelled.result["stage"], cancelled.result["next_call"]) == ("CANCELED", f'start_job(id="{job_id}")')
    plan = await desk.ask("start_job", id=job_id)
    assert plan.result["status"] == "planned"
    assert plan.result["usd_ceiling"] == pytest.approx(0.01503)
    assert len(desk.hub.jobs()) == 1
    started = await desk.ask("start_job", id=plan.result["plan_id"])
    first, second = desk.hub.jobs()
    assert (started.result["status"], started.result["job_id"]) == ("submitted", second["id"])
    assert (first["labels"]["run"], second["labels"]["part"]) == (second["labels"]["run"], "2")
    assert second["environment"]["TRL_MCP_RUN_FOLDER"] == first["environment"]["TRL_MCP_RUN_FOLDER"]
    assert second["timeout"] == first["timeout"]
    again = await desk.ask("start_job", id=plan.result["plan_id"])
    assert (again.result["status"], again.result["job_id"]) == ("already_submitted", second["id"])


async def test_a_continuation_keeps_the_jobs_own_script_but_for_its_place(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    await desk.ask("cancel_job", job_id=job_id)
    plan = await desk.ask("start_job", id=job_id, hardware="t4-small", timeout="30m")
    before, after = [await script_of(desk, uri) for uri in (f"job://alice/{job_id}/script", plan.result["script_uri"])]
    assert 'flavor = "t4-small"' in after
    assert read_run(after) == read_run(before)
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert {line.split(" = ")[0] for line in changed} == {"# flavor", "# timeout"}


async def test_a_continuation_may_use_another_flavor_at_its_own_price(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    await desk.ask("cancel_job", job_id=job_id)
    refused = await desk.ask("start_job", id=job_id, hardware="t4-small", max_cost_usd=0.02)
    desk.check_refusal(refused, "t4-small at $", "max_cost_usd allows $0.0200")
    started = await desk.ask("start_job", id=job_id, hardware="t4-small", timeout="1h", max_cost_usd=2)
    assert started.result["status"] == "submitted"
    job = desk.hub.jobs()[1]
    assert (job["flavor"], job["timeout"], job["labels"]["part"]) == ("t4-small", 3600, "2")


async def test_the_plan_of_a_continuation_whose_price_has_changed_names_the_old_and_the_new(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    await desk.ask("cancel_job", job_id=job_id)
    plan = await desk.ask("start_job", id=job_id)
    desk.hub.set_price("cpu-basic", 999)
    answer = await desk.ask("start_job", id=plan.result["plan_id"])
    desk.check_refusal(answer, "from 167 to 999", "Nothing was started.")
    assert len(desk.hub.jobs()) == 1


async def test_the_operators_limit_holds_for_a_continuation(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    await desk.ask("cancel_job", job_id=job_id)
    limited = desk.with_settings(TRL_MCP_MAX_USD_PER_JOB="0.01")
    answer = await limited.ask("start_job", id=job_id, max_cost_usd=5)
    desk.check_refusal(answer, "TRL_MCP_MAX_USD_PER_JOB allows $0.0100")
    assert len(desk.hub.jobs()) == 1


async def test_a_paid_job_cannot_move_to_this_machine(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    await desk.ask("cancel_job", job_id=job_id)
    answer = await desk.ask("start_job", id=job_id, hardware="local")
    desk.check_refusal(answer, "cannot move to local", "another flavor of the same backend", "Nothing was started.")
    assert len(desk.hub.jobs()) == 1


async def test_starting_a_job_that_waits_returns_it_and_changes_nothing(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    answer = await desk.ask("start_job", id=job_id)
    assert (answer.result["status"], answer.result["job_id"]) == ("already_submitted", job_id)
    refused = await desk.ask("start_job", id=job_id, timeout="3h")
    desk.check_refusal(refused, "SCHEDULING", f'cancel_job(job_id="{job_id}")')
    assert len(desk.hub.jobs()) == 1


async def test_a_read_only_token_sees_jobs_and_can_neither_stop_nor_continue_them(desk: PaidDesk) -> None:
    job_id = await desk.submitted()
    reader = desk.as_user("alice-read")
    for asked in ({"job_id": job_id}, {}):
        assert (await reader.ask("job_status", **asked)).result["job_id"] == job_id
    desk.check_refusal(await reader.ask("cancel_job", job_id=job_id), "may not cancel the job", "job.write")
    await desk.ask("cancel_job", job_id=job_id)
    desk.check_refusal(await reader.ask("start_job", id=job_id, max_cost_usd=1), "may only read; it cannot run jobs")
    assert len(desk.hub.jobs()) == 1
