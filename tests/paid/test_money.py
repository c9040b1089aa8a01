"""What a paid job may cost is agreed before it starts: the ceiling, the caller's cap, the operator's limit."""

import pytest

from tests.paid.desk import PaidDesk
from trl_mcp.errors import InvalidArguments
from trl_mcp.settings import Settings

pytestmark = pytest.mark.anyio
PRICE = 0.000167  # of cpu-basic, a minute


async def test_without_a_cap_a_plan_names_the_ceiling_and_starting_it_submits_the_job(
    desk_of_each_era: PaidDesk,
) -> None:
    desk = desk_of_each_era
    plan = await desk.submit()
    assert plan.result["status"] == "planned"
    assert plan.result["usd_ceiling"] == pytest.approx(90 * PRICE)
    assert "cpu-basic at $0.0100/h x 5400 s = at most $0.0151" in plan.result["where"]
    assert plan.result["next_call"] == f'start_job(id="{plan.result["plan_id"]}")'
    assert desk.hub.jobs() == []
    started = await desk.ask("start_job", id=plan.result["plan_id"])
    (job,) = desk.hub.jobs("alice")
    assert started.result["status"] == "submitted"
    assert started.result["job_id"] == job["id"]
    assert started.result["job_url"] == f"{desk.hub.endpoint}/jobs/alice/{job['id']}"
    assert (job["flavor"], job["timeout"], job["attempts"]) == ("cpu-basic", 5400, 1)
    assert job["labels"]["price_micro_usd"] == "167"


@pytest.mark.parametrize(
    ("time", "attempts", "minutes"), [("61s", "1", 2), ("60s", "1", 1), ("2h", "3", 360), ("1d", "2", 2880)]
)
async def test_the_ceiling_is_started_minutes_times_price_times_attempts(
    desk: PaidDesk, time: str, attempts: str, minutes: int
) -> None:
    plan = await desk.with_settings(TRL_MCP_ATTEMPTS=attempts).submit(timeout=time)
    assert plan.result["usd_ceiling"] == pytest.approx(minutes * PRICE)
    started = await desk.with_settings(TRL_MCP_ATTEMPTS=attempts).ask("start_job", id=plan.result["plan_id"])
    assert started.result["status"] == "submitted"
    assert desk.hub.jobs()[0]["attempts"] == int(attempts)


async def test_a_cap_at_the_ceiling_is_kept_and_the_job_starts_at_once(desk: PaidDesk) -> None:
    answer = await desk.submit(max_cost_usd=0.01503)
    assert answer.result["status"] == "submitted"
    assert answer.result["next_call"].startswith(f'job_status(job_id="{answer.result["job_id"]}"')


async def test_a_cap_below_the_ceiling_refuses_and_names_the_timeout_that_fits(desk: PaidDesk) -> None:
    await desk.refused("The ceiling is $0.0151", "max_cost_usd allows $0.0100", "at most 59m", max_cost_usd=0.01)
    await desk.refused("max_cost_usd allows $0.00", "Choose cheaper hardware.", max_cost_usd=0)
    assert (await desk.submit(max_cost_usd=0.01, timeout="59m")).result["status"] == "submitted"


async def test_a_cap_given_with_a_plan_holds_too(desk: PaidDesk) -> None:
    plan = await desk.submit()
    answer = await desk.ask("start_job", id=plan.result["plan_id"], max_cost_usd=0.01)
    desk.check_refusal(answer, "max_cost_usd allows $0.0100", "at most 59m")
    assert desk.hub.jobs() == []


async def test_no_cap_lifts_the_operators_limit(desk: PaidDesk) -> None:
    plan = await desk.submit()
    limited = desk.with_settings(TRL_MCP_MAX_USD_PER_JOB="0.01")
    for cap in (None, 1000):
        await limited.refused("TRL_MCP_MAX_USD_PER_JOB allows $0.0100", "at most 59m", max_cost_usd=cap)
    answer = await limited.ask("start_job", id=plan.result["plan_id"], max_cost_usd=1000)
    desk.check_refusal(answer, "TRL_MCP_MAX_USD_PER_JOB allows $0.0100")
    assert desk.hub.jobs() == []


async def test_a_dry_run_starts_nothing_however_high_the_cap(desk: PaidDesk) -> None:
    answer = await desk.submit(max_cost_usd=1000, dry_run=True)
    assert answer.result["status"] == "planned"
    assert desk.hub.jobs() == []


async def test_auto_hardware_lists_todays_flavors_with_their_prices(desk: PaidDesk) -> None:
    await desk.refused('hardware cannot be "auto"', "local (this machine, free)", "t4-small $", hardware="auto")
    await desk.refused("cpu-basic $0.0100/h", "h200 $", hardware=None)


async def test_a_flavor_that_is_not_on_offer_is_met_with_what_may_be_meant(desk: PaidDesk) -> None:
    await desk.refused('Did you mean "a10g-small"?', "a10g-small $", hardware="a10-small")
    desk.hub.withdraw_flavor("cpu-basic")
    await desk.refused('hardware cannot be "cpu-basic"', "cpu-upgrade $")


async def test_a_paid_job_needs_a_timeout(desk: PaidDesk) -> None:
    for timeout in (None, "auto"):
        await desk.refused("needs a timeout", "cpu-basic costs $0.0100 an hour", 'timeout="2h"', timeout=timeout)
    await desk.refused('timeout cannot be "soon"', "90m, 2h or 1d", timeout="soon")


async def test_the_price_of_today_is_shown_as_a_resource(desk: PaidDesk) -> None:
    desk.hub.set_price("t4-small", 12_345)
    async with desk.client() as client:
        (content,) = (await client.read_resource("hardware://gpu")).contents
    text = getattr(content, "text", "")
    assert "| t4-small | 1 x T4 |" in text
    assert "$0.74 |" in text
    assert "cpu-basic" not in text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRL_MCP_MAX_USD_PER_JOB", "abc", "TRL_MCP_MAX_USD_PER_JOB is 'abc'. It is an amount in USD"),
        ("TRL_MCP_MAX_USD_PER_JOB", "-1", "amount in USD"),
        ("TRL_MCP_MAX_USD_PER_JOB", "nan", "amount in USD"),
        ("HF_ENDPOINT", "huggingface.co", "HF_ENDPOINT is 'huggingface.co'. It is an address such as https"),
        ("TRL_MCP_ATTEMPTS", "0", "TRL_MCP_ATTEMPTS is '0'. It is a whole number from 1."),
    ],
)
def test_a_setting_that_cannot_be_understood_stops_the_server(
    desk: PaidDesk, name: str, value: str, words: str
) -> None:
    with pytest.raises(InvalidArguments, match=words.replace(".", r"\.")):
        Settings.from_environ({**desk.environ, name: value})
