"""Plans are kept for a day, each caller's apart."""

import os
import time
from pathlib import Path

import pytest

from trl_mcp.errors import NotPossible, UnknownPlan
from trl_mcp.plan.plan import PLAN_SECONDS, Plan, PlanStore
from trl_mcp.values import Finding, Severity

PLAN = Plan(
    kind="training",
    method="sft",
    run="3f2a9c1b7d4e",
    script="RUN = {}\n",
    hardware="local",
    namespace="local",
    timeout_s=None,
    attempts=1,
    recipe="sft",
    data="three rows",
    facts={"model": "a"},
    asked={"method": "sft", "columns": {"prompt": "question"}},
    findings=(Finding("data.dropped", Severity.WARNING, "One row is left out.", "Mend it."),),
)


def test_a_plan_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "plans")
    assert store.load(store.save(PLAN, "alice"), "alice") == PLAN


def test_a_plan_of_another_caller_is_as_none(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    plan_id = store.save(PLAN, "alice")
    store.save(PLAN.model_copy(update={"run": "000000000000"}), "bob")
    for name in (plan_id, f"../alice/{plan_id}", f"{plan_id}/../{plan_id}"):
        with pytest.raises(UnknownPlan, match="There is no plan"):
            store.load(name, "bob")


def test_equal_plans_have_equal_ids_whatever_was_found() -> None:
    assert PLAN.id == PLAN.model_copy(update={"findings": ()}).id
    assert PLAN.id != PLAN.model_copy(update={"timeout_s": 60}).id


def test_saving_removes_the_plans_of_yesterday(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    old = tmp_path / "alice" / f"{store.save(PLAN, 'alice')}.json"
    yesterday = time.time() - PLAN_SECONDS - 1
    os.utime(old, (yesterday, yesterday))
    store.save(PLAN.model_copy(update={"timeout_s": 60}), "bob")
    assert not old.exists()


def test_a_plan_that_cannot_be_kept_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plans").touch()
    with pytest.raises(NotPossible, match="write access"):
        PlanStore(tmp_path / "plans").save(PLAN, "alice")


@pytest.mark.parametrize(
    ("severity", "refused"), [(Severity.ERROR, True), (Severity.WARNING, False), (Severity.INFO, False)]
)
def test_an_error_stands_in_the_way_of_a_plan(severity: Severity, refused: bool) -> None:
    assert PLAN.model_copy(update={"findings": (Finding("x", severity, "x"),)}).is_refused is refused
