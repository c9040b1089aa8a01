"""A dry run makes a plan: the same for the same call, readable, and started only as it was agreed."""

import ast
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextResourceContents

from tests.conftest import FAKE_TOKEN, Connect, WriteRows
from tests.face.answer import answer_of
from tests.face.conftest import Ask, Refuses
from trl_mcp.plan.plan import PLAN_SECONDS
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings

pytestmark = pytest.mark.anyio


async def read_script(connect: Connect, uri: str) -> str:
    async with connect() as client:
        (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "text/x-python"
    return content.text


async def test_the_same_dry_run_twice_makes_the_same_plan_and_script(
    connect: Connect, training: dict[str, Any]
) -> None:
    async with connect() as client:
        first, second = [
            answer_of(await client.call_tool("submit_training", training | {"dry_run": True})) for _ in range(2)
        ]
    assert first == second
    assert first.result["status"] == "planned"
    scripts = [await read_script(connect, answer.result["script_uri"]) for answer in (first, second)]
    assert scripts[0] == scripts[1]


async def test_the_script_of_a_plan_is_self_contained(
    ask: Ask, connect_newest: Connect, training: dict[str, Any]
) -> None:
    result = (await ask("submit_training", **training, dry_run=True, epochs=2)).result
    script = await read_script(connect_newest, result["script_uri"])
    ast.parse(script)
    assert script.startswith("# /// script\n")
    assert "_job" not in [node.module for node in ast.walk(ast.parse(script)) if isinstance(node, ast.ImportFrom)]
    run = read_run(script)
    assert (run["model"], run["dataset"]) == (training["model"], training["dataset"])
    assert FAKE_TOKEN not in script


async def test_a_plan_says_in_text_what_it_says_in_its_result(ask: Ask, training: dict[str, Any]) -> None:
    answer = await ask("submit_training", **training, dry_run=True)
    assert [
        value for value in answer.result.values() if value not in ([], None) and str(value) not in answer.text
    ] == []
    assert answer.result["next_call"] == f'start_job(id="{answer.result["plan_id"]}")'
    assert "3 of 3 rows kept" in answer.result["data"]


async def test_a_dry_run_writes_nothing_but_the_plan(ask: Ask, training: dict[str, Any], home: Path) -> None:
    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    (plan,) = (path for path in home.rglob("*") if path.is_file() and "envs" not in path.parts)
    assert plan.name == f"{plan_id}.json"
    assert FAKE_TOKEN not in plan.read_text()


async def test_a_refused_dry_run_makes_no_plan(
    ask: Ask, training: dict[str, Any], write_rows: WriteRows, home: Path
) -> None:
    path = write_rows(rows=[{"left": "1 + 1?"}])
    answer = await ask("submit_training", **training | {"dataset": str(path)}, dry_run=True)
    assert answer.result["status"] == "refused"
    assert "plan_id" not in answer.result
    assert [path.name for path in home.iterdir()] == ["envs"]


async def test_rows_that_are_left_out_are_a_warning(ask: Ask, training: dict[str, Any], write_rows: WriteRows) -> None:
    path = write_rows(rows=[{"text": "a"}, {"text": ""}, {"text": None}])
    result = (await ask("submit_training", **training | {"dataset": str(path)}, dry_run=True)).result
    found = {finding["code"]: finding for finding in result["findings"]}
    assert result["status"] == "planned"
    assert {finding["severity"] for finding in found.values()} == {"warning"}
    assert found["data.empty_text"]["message"] == "1 row left out: an empty text, in text (row 1)."
    assert "(row 2)" in found["data.none_values"]["message"]


async def test_a_plan_whose_data_has_changed_is_refused_by_name(
    ask: Ask, refuses: Refuses, training: dict[str, Any], write_rows: WriteRows
) -> None:
    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    write_rows(rows=[{"prompt": "9 + 1?", "completion": "11"}])
    await refuses(["the dataset has changed", "Repeat the dry run", "Nothing was started."], "start_job", id=plan_id)


async def test_a_plan_whose_model_has_changed_is_refused_by_name(
    ask: Ask, refuses: Refuses, training: dict[str, Any], model_folder: Path
) -> None:
    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    (model_folder / "model.safetensors").write_bytes(b"other weights")
    await refuses(["the model has changed", "Repeat the dry run"], "start_job", id=plan_id)


async def test_a_plan_whose_data_is_gone_is_refused(ask: Ask, refuses: Refuses, training: dict[str, Any]) -> None:
    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    Path(training["dataset"]).unlink()
    await refuses(["no data file or folder", "train.jsonl"], "start_job", id=plan_id)


async def test_a_plan_can_be_tried_again_without_starting_it(ask: Ask, training: dict[str, Any], home: Path) -> None:
    planned = (await ask("submit_training", **training, dry_run=True)).result
    again = (await ask("start_job", id=planned["plan_id"], dry_run=True)).result
    assert again["plan_id"] == planned["plan_id"]
    assert not (home / "jobs").exists()


async def test_a_plan_is_forgotten_after_a_day(
    ask: Ask, refuses: Refuses, training: dict[str, Any], home: Path
) -> None:
    planned = (await ask("submit_training", **training, dry_run=True)).result
    (path,) = home.rglob("plan-*.json")
    a_day_ago = time.time() - PLAN_SECONDS - 60
    os.utime(path, (a_day_ago, a_day_ago))
    await refuses(["There is no plan", "older than 24 hours", "dry_run=true"], "start_job", id=planned["plan_id"])
    await ask("submit_training", **training, dry_run=True, epochs=2)
    assert not path.exists()


async def test_a_plan_that_cannot_be_read_is_as_none(
    ask: Ask, refuses: Refuses, training: dict[str, Any], home: Path
) -> None:
    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    (path,) = home.rglob("plan-*.json")
    path.write_text(json.dumps({"kind": "training"}))
    await refuses(["There is no plan", "Nothing was started."], "start_job", id=plan_id)


async def test_a_plan_belongs_to_the_caller_who_made_it(
    ask: Ask, training: dict[str, Any], environ: dict[str, str], home: Path
) -> None:
    from mcp import Client

    from trl_mcp.app import TrainingServer

    plan_id = (await ask("submit_training", **training, dry_run=True)).result["plan_id"]
    other = Settings.from_environ(environ | {"HF_TOKEN": "hf_" + "oThErS" * 5})
    async with Client(TrainingServer(other)) as client:
        answer = answer_of(await client.call_tool("start_job", {"id": plan_id}))
    assert answer.is_error
    assert "There is no plan" in answer.text
    assert not (home / "jobs").exists()
