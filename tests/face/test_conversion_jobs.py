"""start_job on conversions: from a plan, behind one that failed or was cancelled, and anew after one that is complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, adopt
from tests.face.answer import answer_of
from tests.face.conftest import Ask
from tests.face.test_convert_gguf import CONFIG, write_model
from trl_mcp.render.script import read_run
from trl_mcp.render.templates import template_source

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
# In the place of the interpreter that converts: it keeps one file of the run, then fails; where that is there, it ends.
CONVERTER = """#!/bin/sh
kept="$TRL_MCP_RUN_FOLDER/gguf/tiny-Q8_0.gguf"
tell() { echo "TRL_MCP $TRL_MCP_RUN_TAG $1"; }
if [ -e "$kept" ]; then
  rm -r "$TRL_MCP_RUN_FOLDER/gguf"
  tell '{"kind": "end", "files": [{"name": "tiny-Q8_0.gguf", "bytes": 4, "agreement": 1.0}], "ollama_run": "ollama"}'
  exit 0
fi
mkdir -p "$(dirname "$kept")" && echo GGUF > "$kept"
tell '{"kind": "error", "where": "verification", "message": "the second file is not right"}'
exit 1
"""


@pytest.fixture
def conversion(home: Path, tmp_path: Path) -> dict[str, Any]:
    """Return arguments of convert_gguf that are right, with a converter that fails once."""
    converter = tmp_path / "converter"
    converter.write_text(CONVERTER, encoding="utf-8")
    converter.chmod(0o755)
    adopt(home, template_source("convert_gguf"), str(converter))
    model = write_model(tmp_path / "models" / "tiny", CONFIG)
    return {"model": str(model), "quantizations": ["Q8_0", "F16"], "hardware": "local"}


async def ended(ask: Ask, job_id: str) -> dict[str, Any]:
    """Return the status of a job once it is over."""
    while True:
        status = (await ask("job_status", job_id=job_id, wait_seconds=20)).result
        if status["stage"] not in {"SCHEDULING", "RUNNING"}:
            return status


async def run_of(connect: Connect, result: dict[str, Any]) -> dict[str, Any]:
    """Return the RUN literal of the script that a result names."""
    async with connect() as client:
        (content,) = (await client.read_resource(result["script_uri"])).contents
    return read_run(getattr(content, "text", ""))


async def test_a_plan_is_started_as_it_was_shown(ask: Ask, connect_newest: Connect, conversion: dict[str, Any]) -> None:
    plan = (await ask("convert_gguf", **conversion, dry_run=True)).result
    started = (await ask("start_job", id=plan["plan_id"])).result
    assert (plan["status"], started["status"]) == ("planned", "submitted")
    assert await run_of(connect_newest, started) == await run_of(connect_newest, plan)
    assert (await ended(ask, started["job_id"]))["stage"] == "ERROR"


async def test_a_plan_whose_model_has_changed_is_refused(ask: Ask, conversion: dict[str, Any]) -> None:
    plan = (await ask("convert_gguf", **conversion, dry_run=True)).result
    (Path(conversion["model"]) / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")
    refused = await ask("start_job", id=plan["plan_id"])
    assert refused.is_error
    assert "the model has changed from" in refused.text
    assert "Nothing was started." in refused.text


async def test_a_failed_conversion_goes_on_where_its_files_are_and_a_complete_one_begins_anew(
    ask: Ask, connect_newest: Connect, conversion: dict[str, Any]
) -> None:
    first = (await ask("convert_gguf", **conversion)).result
    failed = await ended(ask, first["job_id"])
    assert failed["stage"] == "ERROR"
    assert "the second file is not right" in json.dumps(failed["diagnosis"])
    second = (await ask("start_job", id=first["job_id"])).result
    assert second["recipe"].startswith(f"{first['job_id']} continued, nothing changed")
    complete = await ended(ask, second["job_id"])
    assert complete["stage"] == "COMPLETED", "the file of the first part was there for the second"
    assert complete["files"] == [{"name": "tiny-Q8_0.gguf", "bytes": 4, "agreement": 1.0}]
    before, after = await run_of(connect_newest, first), await run_of(connect_newest, second)
    assert before == after
    third = (await ask("start_job", id=second["job_id"])).result
    assert third["recipe"].startswith(f"{second['job_id']} again, nothing changed")
    assert (await run_of(connect_newest, third))["run_key"] == f"{before['run_key']}r1"
    assert (await ended(ask, third["job_id"]))["stage"] == "ERROR", "nothing of the first run is taken for its own"


async def test_a_conversion_that_goes_on_takes_no_trainer_arguments(ask: Ask, conversion: dict[str, Any]) -> None:
    first = (await ask("convert_gguf", **conversion)).result
    await ended(ask, first["job_id"])
    refused = await ask("start_job", id=first["job_id"], trainer_args=["max_steps=5"])
    assert refused.is_error
    assert "This job is no training; it has no trainer arguments." in refused.text


async def test_a_complete_conversion_is_returned_for_the_same_call(
    ask: Ask, connect_newest: Connect, conversion: dict[str, Any]
) -> None:
    first = (await ask("convert_gguf", **conversion)).result
    await ended(ask, first["job_id"])
    second = (await ask("convert_gguf", **conversion)).result
    assert (second["status"], (await ended(ask, second["job_id"]))["stage"]) == ("submitted", "COMPLETED")
    async with connect_newest() as client:
        again = answer_of(await client.call_tool("convert_gguf", conversion)).result
    assert (again["status"], again["job_id"]) == ("already_submitted", second["job_id"])
