"""What lies on this machine: a small data file travels when the job starts, anything else is uploaded by hand first."""

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import WriteRows
from tests.paid.desk import PaidDesk
from trl_mcp.hub.storage import MOST_BYTES
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio


async def script_of(desk: PaidDesk, uri: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    text = getattr(content, "text", "")
    desk.check(text)
    return text


async def test_a_local_file_is_uploaded_only_when_the_job_starts(desk: PaidDesk, write_rows: WriteRows) -> None:
    path = write_rows("my sums (1).jsonl")
    plan = await desk.submit(dataset=str(path))
    assert "3 of 3 rows kept" in plan.result["data"]
    assert desk.hub.repo_ids("dataset") == ["alice/sums"]
    run = read_run(await script_of(desk, plan.result["script_uri"]))
    assert (await desk.ask("start_job", id=plan.result["plan_id"])).result["status"] == "submitted"
    stored = [name for name in desk.hub.list_files("alice/trl-mcp-data", repo_type="dataset") if "/" in name]
    assert (run["dataset"], [run["dataset_file"]]) == ("alice/trl-mcp-data", stored)
    assert stored[0].startswith(hashlib.sha256(path.read_bytes()).hexdigest())
    content = desk.hub.read_file("alice/trl-mcp-data", stored[0], repo_type="dataset")
    assert content == path.read_bytes()


async def test_a_refused_job_uploads_nothing(desk: PaidDesk, write_rows: WriteRows) -> None:
    path = write_rows()
    await desk.refused("max_cost_usd allows", dataset=str(path), max_cost_usd=0.001)
    await desk.refused("data.columns", dataset=str(write_rows("odd.jsonl", [{"question": "1 + 1?"}])))


async def test_a_plan_whose_local_data_has_changed_is_refused(desk: PaidDesk, write_rows: WriteRows) -> None:
    plan = await desk.submit(dataset=str(write_rows()))
    write_rows(rows=[{"prompt": "9 + 1?", "completion": "10"}])
    answer = await desk.ask("start_job", id=plan.result["plan_id"])
    desk.check_refusal(answer, "the dataset has changed", "Repeat the dry run")
    assert desk.hub.jobs() == []
    assert desk.hub.repo_ids("dataset") == ["alice/sums"]


async def test_a_model_folder_is_refused_with_the_upload_to_make(desk: PaidDesk, model_folder: Path) -> None:
    line = f"`hf upload alice/tiny {shlex.quote(str(model_folder))} --private`"
    await desk.refused("a paid job cannot see it", line, "give alice/tiny", model=str(model_folder))


async def test_a_folder_of_data_or_a_large_file_is_refused_with_the_upload_to_make(
    desk: PaidDesk, write_rows: WriteRows
) -> None:
    folder = write_rows("my data/train.jsonl").parent
    line = f"`hf upload alice/my-data '{folder}' --repo-type dataset --private`"
    await desk.refused("a paid job cannot be sent it", line, "give alice/my-data", dataset=str(folder))
    large = folder / "large.v1.jsonl"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    line = f"`hf upload acme/large '{large}' --repo-type dataset --private`"
    await desk.refused("larger than 50 MB", line, dataset=str(large), namespace="acme")


async def test_a_data_set_that_others_can_read_takes_no_upload(desk: PaidDesk, write_rows: WriteRows) -> None:
    desk.hub.add_repo("alice/trl-mcp-data", repo_type="dataset")
    answer = await desk.submit(dataset=str(write_rows()), max_cost_usd=1)
    desk.check_refusal(answer, "alice/trl-mcp-data is public", "Make it private")
    assert desk.hub.jobs() == []


async def test_the_script_names_commits_and_no_token(desk: PaidDesk) -> None:
    commit = desk.hub.commit_files("alice/sums", {"more.jsonl": "{}"}, repo_type="dataset")
    job_id = await desk.submitted()
    script = await script_of(desk, f"job://alice/{job_id}/script")
    assert read_run(script)["dataset_revision"] == commit
    assert "[tool.hf-jobs]" in script
    spec = desk.hub.job_spec(job_id)
    assert spec["secrets"] == {"HF_TOKEN": desk.environ["HF_TOKEN"]}
    desk.check(json.dumps({name: value for name, value in spec.items() if name != "secrets"}))


async def test_nothing_on_this_machine_tells_the_token(desk: PaidDesk, write_rows: WriteRows, home: Path) -> None:
    await desk.submit(dataset=str(write_rows()))
    await desk.submitted(dataset=str(write_rows()))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    for path in files:
        desk.check(path.read_text(encoding="utf-8"))
