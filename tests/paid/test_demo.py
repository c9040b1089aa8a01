"""The demo shows the plan, what it costs at most and the verdict, and only then submits."""

from io import StringIO

import pytest
from rich.console import Console

from tests.estimate.stored_models import stored_files
from tests.paid.desk import TRAINING, PaidDesk
from trl_mcp import demo

pytestmark = pytest.mark.anyio


async def test_the_demo_prints_plan_ceiling_and_verdict_before_it_submits(desk: PaidDesk) -> None:
    desk.hub.add_repo("alice/qwen3-0.6b", stored_files("qwen3-0.6b"))
    arguments: dict[str, object] = {**TRAINING, "model": "alice/qwen3-0.6b", "hardware": "t4-small"}
    console = Console(file=StringIO(), record=True, width=1000)
    async with desk.client() as client:
        job_id = await demo.submit_plan(console, client, demo.DemoRun(arguments, has_known_answers=False))
    names, shown = zip(*(line.split("  ", 1) for line in console.export_text().splitlines()), strict=True)
    assert names == ("recipe", "data", "where", "ceiling", "verdict", "job")
    said = dict(zip(names, shown, strict=True))
    assert said["ceiling"].startswith("$0.6")
    assert said["verdict"].startswith("fits, ")
    assert said["job"] == f"{job_id} submitted"


async def test_the_demo_submits_nothing_that_is_refused(desk: PaidDesk) -> None:
    console = Console(file=StringIO(), record=True, width=1000)
    limited = desk.with_settings(TRL_MCP_MAX_USD_PER_DAY="0.001")
    async with limited.client() as client:
        with pytest.raises(demo.DemoFailed, match=r"0\.0010 a day"):
            await demo.submit_plan(console, client, demo.DemoRun(dict(TRAINING), has_known_answers=False))
    assert "ceiling  $0.01503" in console.export_text()
    assert desk.hub.jobs() == []
