"""The arithmetic of money: started minutes times the price."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.backends.base import Job, Stage
from trl_mcp.backends.hf_cost import cost
from trl_mcp.estimate.money import ceiling

START = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
prices = st.integers(0, 10**7)
seconds = st.integers(0, 30 * 86400)


def job(**changes: Any) -> Job:
    made: dict[str, Any] = {
        "id": "a", "namespace": "alice", "backend": "hf", "kind": "training", "method": "sft", "run": "r", "part": 1,
        "hardware": "h200", "stage": Stage.RUNNING, "created_at": START, "price_micro_usd_per_minute": 83_333,
    }  # fmt: skip
    return Job(**(made | changes))


@given(prices, seconds, st.integers(1, 9))
def test_the_ceiling_is_started_minutes_of_every_attempt(price: int, timeout: int, attempts: int) -> None:
    minutes = -(-timeout // 60)
    assert ceiling(price, timeout, attempts) == Decimal(minutes * attempts * price) / 1_000_000


@given(prices, seconds, st.integers(0, 59))
def test_a_job_never_costs_more_than_its_ceiling(price: int, ran: int, more: int) -> None:
    done = job(
        stage=Stage.COMPLETED,
        started_at=START,
        finished_at=START + timedelta(seconds=ran),
        running_s=ran,
        price_micro_usd_per_minute=price,
    )
    spent = cost(done, START + timedelta(days=40))
    assert spent is not None
    assert spent <= ceiling(price, max(1, ran + more), 1)
    assert (spent * 1_000_000) % max(1, price) == 0


@given(seconds, seconds)
def test_costs_grow_with_time_until_the_end(earlier: int, later: int) -> None:
    first, second = sorted((earlier, later))
    running = job(started_at=START)
    before, after = (cost(running, START + timedelta(seconds=at)) for at in (first, second))
    assert before is not None
    assert after is not None
    assert before <= after


def test_a_started_minute_is_a_whole_one_and_waiting_is_free() -> None:
    minute = Decimal("0.083333")
    assert cost(job(), START + timedelta(days=1)) == 0
    assert cost(job(started_at=START), START) == minute
    assert cost(job(started_at=START), START + timedelta(seconds=60)) == minute
    assert cost(job(started_at=START), START + timedelta(seconds=60.1)) == 2 * minute
    assert cost(job(price_micro_usd_per_minute=None), START) is None


def test_the_longer_of_what_times_and_hub_say_counts() -> None:
    done = job(stage=Stage.ERROR, started_at=START, finished_at=START + timedelta(seconds=30), running_s=130)
    assert cost(done, START) == 3 * Decimal("0.083333")
    lost = job(stage=Stage.DELETED, started_at=START, running_s=61)
    assert cost(lost, START + timedelta(days=9)) == 2 * Decimal("0.083333")
