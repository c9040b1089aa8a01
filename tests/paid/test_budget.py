"""The operator's limit of a day: it holds for all submissions together, and what is not used is free again."""

import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conftest import without_counting
from tests.face.answer import Answer, answer_of
from tests.hf.desk import open_hub
from tests.hub import Fault
from tests.paid.desk import TRAINING, PaidDesk
from trl_mcp.backends.hf_budget import added_up, jobs_of_today
from trl_mcp.errors import InvalidArguments
from trl_mcp.settings import Settings

pytestmark = pytest.mark.anyio
CEILING = 0.01503  # of 90 minutes on cpu-basic
LIMIT = "TRL_MCP_MAX_USD_PER_DAY"


def allowing(desk: PaidDesk, jobs: int) -> PaidDesk:
    """Return a desk whose day has room for so many jobs, and not for one more."""
    return desk.with_settings(**{LIMIT: str(round(jobs * CEILING + 0.005, 5))})


async def submit_at_once(desk: PaidDesk, count: int) -> list[Answer]:
    """Submit different trainings at once to two servers; each does as it is told where others take long."""
    answers: list[Answer] = []

    async def submit(client: Any, number: int) -> None:
        given = TRAINING | {"max_cost_usd": 1, "epochs": number + 1}
        answer = answer_of(await client.call_tool("submit_training", given))
        while answer.is_error and "Another submission has not ended for 20 s. Call again." in answer.text:
            answer = answer_of(await client.call_tool("submit_training", given))
        answers.append(answer)

    async with desk.client() as one, desk.client() as other, anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(submit, one if number % 2 else other, number)
    return answers


def by_code(answers: list[Answer], code: str) -> list[Answer]:
    return [each for each in answers if code in [finding["code"] for finding in each.result.get("findings", [])]]


@pytest.mark.timeout(600)
async def test_of_fifty_submissions_at_once_as_many_run_as_the_day_allows(desk: PaidDesk) -> None:
    limited = allowing(desk, 7)
    answers = await submit_at_once(limited, 50)
    assert len(desk.hub.jobs()) == 7
    assert [answer.result.get("status") for answer in answers].count("submitted") == 7
    assert len(by_code(answers, "money.day")) == 43
    desk.hub.end_job(desk.hub.jobs()[0]["id"], ran_s=30)
    assert (await limited.submit(max_cost_usd=1, epochs=60)).result["status"] == "submitted"
    assert (await limited.submit(max_cost_usd=1, epochs=61)).result["status"] == "refused"


@pytest.mark.parametrize("lag_s", [0.0, 1.0])
async def test_of_two_hosts_that_take_the_last_of_a_day_at_once_the_later_gives_its_job_up(
    desk: PaidDesk, tmp_path: Path, lag_s: float
) -> None:
    hosts = [allowing(desk, 1).with_settings(TRL_MCP_HOME=str(tmp_path / name)) for name in ("one", "other")]
    for host in hosts:
        without_counting(Path(host.environ["TRL_MCP_HOME"]))
    desk.hub.let_lists_lag(lag_s)
    # Neither host's job is there yet when the other one looks at what is left.
    desk.hub.faults.add(Fault("POST", "/api/jobs/alice", "slow", times=2, delay_s=3))
    answers: list[Answer] = []

    async def submit(host: PaidDesk, epochs: int) -> None:
        answers.append(await host.submit(max_cost_usd=1, epochs=epochs))

    async with anyio.create_task_group() as group:
        for epochs, host in enumerate(hosts, start=1):
            group.start_soon(submit, host, epochs)
    first, second = desk.hub.jobs()
    assert (first["status"]["stage"], second["status"]["stage"]) == ("SCHEDULING", "CANCELED")
    assert sorted(answer.result["status"] for answer in answers) == ["refused", "submitted"]
    (refused,) = by_code(answers, "money.day")
    assert "$0.0150 reserved" in refused.result["findings"][0]["message"]


async def test_the_refusal_names_limit_spent_reserved_asked_and_what_would_pass(desk: PaidDesk) -> None:
    limited = desk.with_settings(**{LIMIT: "0.022"})
    job_id = await limited.submitted()
    desk.hub.end_job(job_id, ran_s=10 * 60)
    await limited.submitted(epochs=2, timeout="60m")
    answer = await limited.submit(epochs=5, max_cost_usd=1)
    (finding,) = answer.result["findings"]
    assert (answer.result["status"], finding["code"]) == ("refused", "money.day")
    for words in ("allows $0.0220 a day", "$0.0017 are spent", "$0.0100 reserved", "$0.0103 left", "asks for $0.0151"):
        assert words in finding["message"]
    assert "a timeout of at most 61m" in finding["fix"]
    assert (await limited.submit(epochs=5, timeout="61m", max_cost_usd=1)).result["status"] == "submitted"


async def test_a_dry_run_that_the_day_has_no_room_for_makes_no_plan(desk: PaidDesk) -> None:
    answer = await desk.with_settings(**{LIMIT: "0.01"}).submit(dry_run=True)
    desk.check_refusal(answer, "money.day", "Nothing was started.")
    assert "plan_id" not in answer.result


async def test_a_plan_is_refused_when_the_limit_has_been_lowered_or_used_up_since(desk: PaidDesk) -> None:
    plan_id = (await allowing(desk, 1).submit()).result["plan_id"]
    for limited in (desk.with_settings(**{LIMIT: "0.001"}), desk.with_settings(TRL_MCP_MAX_USD_PER_JOB="0.001")):
        desk.check_refusal(await limited.ask("start_job", id=plan_id, max_cost_usd=9), "TRL_MCP_MAX_USD_PER_", "allows")
    assert desk.hub.jobs() == []


async def test_a_run_that_is_there_already_is_found_however_little_is_left(desk: PaidDesk) -> None:
    limited = allowing(desk, 1)
    job_id = await limited.submitted()
    again = await limited.submit(max_cost_usd=1)
    assert (again.result["status"], again.result["job_id"]) == ("already_submitted", job_id)


async def test_jobs_in_another_namespace_count_too(desk: PaidDesk) -> None:
    limited = allowing(desk, 1)
    await limited.submitted(namespace="acme")
    desk.check_refusal(await limited.submit(max_cost_usd=1), "money.day")


async def test_neither_a_cap_nor_accept_lifts_the_limit_of_the_day(desk: PaidDesk) -> None:
    limited = desk.with_settings(**{LIMIT: "0.001"})
    await limited.refused("money.day", max_cost_usd=1000, accept=["money.day"])


async def test_jobs_of_other_days_and_of_other_programs_do_not_count(desk: PaidDesk) -> None:
    today = datetime.now(UTC)
    yesterday = f"{today - timedelta(days=1):%Y-%m-%d}"
    desk.hub.add_settled_jobs(3, {"app": "trl-mcp", "day": yesterday, "price_micro_usd": "999999"})
    desk.hub.add_settled_jobs(3, {"day": f"{today:%Y-%m-%d}", "price_micro_usd": "999999"})
    await allowing(desk, 1).submitted()


async def test_a_job_of_unknown_price_leaves_nothing_to_be_spent(desk: PaidDesk) -> None:
    desk.hub.add_settled_jobs(1, {"app": "trl-mcp", "day": f"{datetime.now(UTC):%Y-%m-%d}"})
    desk.check_refusal(await allowing(desk, 1).submit(max_cost_usd=1), "is not known", "Nothing was started.")


async def test_a_list_that_cannot_be_read_starts_nothing(desk: PaidDesk) -> None:
    desk.hub.faults.add(Fault("GET", "/api/jobs/alice", status=503, times=99, message="maintenance"))
    desk.check_refusal(await allowing(desk, 1).submit(max_cost_usd=1), "it answers 503")
    assert desk.hub.jobs() == []


async def seconds_of_a_look(desk: PaidDesk) -> float:
    """Return what looking at the day takes, in seconds: the middle of eleven looks."""
    taken: list[float] = []
    async with open_hub(desk.hub) as hub:
        for _ in range(11):
            began = time.perf_counter()
            jobs = await jobs_of_today(hub, desk.hub.tokens["alice"], ["alice"], datetime.now(UTC))
            assert jobs == []
            added_up(jobs, datetime.now(UTC), Decimal(1))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def test_ten_thousand_settled_jobs_of_earlier_days_cost_no_further_request_and_are_not_listed(
    desk: PaidDesk,
) -> None:
    labels = {"app": "trl-mcp", "day": "2026-01-01", "price_micro_usd": "167", "timeout_s": "600"}
    desk.hub.add_settled_jobs(10, labels)
    few = await seconds_of_a_look(desk)
    desk.hub.add_settled_jobs(10_000, labels)
    desk.hub.clear_requests()
    many = await seconds_of_a_look(desk)
    assert len(desk.hub.requests("/api/jobs/alice", "GET")) == 11
    print(f"a look at the day: {few * 1000:.1f} ms with 10 settled jobs, {many * 1000:.1f} ms with 10,000")


@pytest.mark.parametrize("value", ["abc", "-1", "nan"])
def test_a_limit_that_cannot_be_understood_stops_the_server(desk: PaidDesk, value: str) -> None:
    with pytest.raises(InvalidArguments, match=f"{LIMIT} is '{value}'. It is an amount in USD"):
        Settings.from_environ({**desk.environ, LIMIT: value})
