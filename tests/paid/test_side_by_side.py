"""What a plan is made from is asked of the Hub side by side, not one question after the other."""

import pytest

from tests.estimate.stored_models import stored_files
from tests.hub import Fault
from tests.paid.desk import PaidDesk

pytestmark = pytest.mark.anyio


async def test_the_facts_of_a_plan_are_asked_side_by_side(desk: PaidDesk) -> None:
    desk.hub.add_repo("alice/qwen3-0.6b", stored_files("qwen3-0.6b"))
    desk.hub.faults.add(Fault(kind="slow", delay_s=0.2, times=1000))
    desk.hub.clear_requests()
    planned = await desk.submit(model="alice/qwen3-0.6b", hardware="t4-small", dry_run=True)
    assert planned.result["status"] == "planned"
    assert desk.hub.most_at_once() >= 3
    assert len(desk.hub.requests()) <= 12


async def test_who_asks_and_what_machines_cost_are_asked_at_once(desk: PaidDesk) -> None:
    desk.hub.faults.add(Fault("GET", "/api/whoami-v2", "slow", delay_s=0.5))
    desk.hub.faults.add(Fault("GET", "/api/jobs/hardware", "slow", delay_s=0.5))
    desk.hub.clear_requests()
    await desk.refused('hardware cannot be "abacus"', "Nothing was started.", hardware="abacus")
    asked = [request.path for request in desk.hub.requests("/api/*", "GET")]
    assert sorted(asked) == ["/api/jobs/hardware", "/api/whoami-v2"]
    assert desk.hub.most_at_once() == 2
