"""The run key names what would be trained: neither more nor less."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows, write_model
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import Gathering, Wish
from trl_mcp.plan.plan import Plan, run_key
from trl_mcp.plan.training import changes, plan_training
from trl_mcp.recipes.recipe import Asked

pytestmark = pytest.mark.anyio

LOCAL = Wish("local")
OFFLINE = Gathering(Hub("http://127.0.0.1:9"), None, is_offline=True)
MakePlan = Callable[..., Awaitable[Plan]]


@pytest.fixture
def make_plan(model_folder: Path, write_rows: WriteRows) -> MakePlan:
    """Plan a training that is the same but for what a test names."""
    dataset = write_rows()

    async def make(wish: Wish = LOCAL, attempts: int = 1, **arguments: Any) -> Plan:
        values: dict[str, Any] = {"model": str(model_folder), "dataset": str(dataset), **arguments}
        return await plan_training(Asked(method="sft", **values), wish, OFFLINE, attempts)

    return make


@pytest.mark.parametrize(
    ("wish", "arguments"),
    [
        (LOCAL, {}),
        (replace(LOCAL, timeout="1h"), {}),
        (LOCAL, {"attempts": 3}),
        (LOCAL, {"batch_size": 16, "epochs": 3.0}),
    ],
)
async def test_timeout_attempts_and_spoken_defaults_keep_the_key(
    make_plan: MakePlan, wish: Wish, arguments: dict[str, Any]
) -> None:
    assert (await make_plan(wish, **arguments)).run == (await make_plan()).run


async def test_hardware_as_it_was_asked_for_names_the_run(make_plan: MakePlan) -> None:
    assert (await make_plan(Wish("auto"))).run != (await make_plan(Wish("local"))).run


async def test_a_timeout_makes_another_plan_of_the_same_run(make_plan: MakePlan) -> None:
    short, long = [await make_plan(replace(LOCAL, timeout=timeout)) for timeout in ("1m", "2m")]
    assert short.run == long.run
    assert short.id != long.id


async def test_the_same_files_elsewhere_are_the_same_run(
    make_plan: MakePlan, tmp_path: Path, write_rows: WriteRows
) -> None:
    moved = await make_plan(model=str(write_model(tmp_path / "copy")), dataset=str(write_rows("elsewhere/rows.jsonl")))
    assert moved.run == (await make_plan()).run


async def test_other_data_is_another_run(make_plan: MakePlan, write_rows: WriteRows) -> None:
    before = await make_plan()
    write_rows(rows=[{"prompt": "2 + 2?", "completion": "4"}])
    after = await make_plan()
    assert before.run != after.run
    assert [said.partition(" from ")[0] for said in changes(before, after)] == ["the dataset has changed"]


async def test_other_weights_are_another_run(make_plan: MakePlan, model_folder: Path) -> None:
    before = await make_plan()
    (model_folder / "model.safetensors").write_bytes(b"1")
    after = await make_plan()
    assert before.run != after.run
    assert [said.partition(" from ")[0] for said in changes(before, after)] == ["the model has changed"]


async def test_revisions_of_a_hub_model_are_runs_apart(make_plan: MakePlan) -> None:
    runs = {(await make_plan(model=model)).run for model in ("a/b", "a/b@main", "a/b@1", "a/c")}
    assert len(runs) == 4


async def test_configs_and_revisions_of_a_hub_data_set_are_runs_apart(make_plan: MakePlan) -> None:
    runs = {(await make_plan(dataset=dataset)).run for dataset in ("a/b", "a/b:x", "a/b:y", "a/b:x@1")}
    assert len(runs) == 4


async def test_a_plan_that_nothing_has_moved_has_no_changes(make_plan: MakePlan) -> None:
    assert changes(await make_plan(), await make_plan()) == []


async def test_another_number_of_attempts_is_a_change(make_plan: MakePlan) -> None:
    found = changes(await make_plan(), await make_plan(attempts=2))
    assert found == ["attempts were 1 and are 2"]


async def test_a_hub_data_set_is_planned_unseen_and_says_so(make_plan: MakePlan) -> None:
    plan = await make_plan(dataset="a/b")
    codes = [finding.code for finding in plan.findings]
    assert codes == ["dataset.unchecked", "data.unchecked", "hw.unestimated"]
    assert "not looked at" in plan.data


def test_a_key_does_not_depend_on_the_order_of_its_parts() -> None:
    assert run_key({"a": 1, "b": {"c": 2, "d": 3}}) == run_key({"b": {"d": 3, "c": 2}, "a": 1})
    assert run_key({"a": 1}) != run_key({"a": "1"})
