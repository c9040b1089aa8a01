"""Data sets on the Hub, asked for over MCP: whose they are, which config and split, and what the job will read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextResourceContents

from tests.data.desk import write_parquet
from tests.face.answer import Answer
from tests.paid.desk import PaidDesk
from trl_mcp.render.script import read_run

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def sums(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"What is {n} and one?", "completion": f"It is {n + 1}."} for n in range(count)]


LINES = "".join(f"{json.dumps(row)}\n" for row in sums(40))
CARD = """---
configs:
- config_name: plain
  data_files: plain/*.jsonl
- config_name: other
  data_files:
  - {split: train, path: other/train.jsonl}
  - {split: held_out, path: other/rest.jsonl}
---
"""
PARTS = {"train": 30, "test": 5}
CONFIGS = {"README.md": CARD, "plain/a.jsonl": LINES, "other/train.jsonl": LINES * 2, "other/rest.jsonl": LINES}


@pytest.fixture(autouse=True)
def counts_tokens(home: Path, tokens_home: Path) -> None:
    home.mkdir()
    (home / "envs").symlink_to(tokens_home / "envs")


def add(desk: PaidDesk, repo: str, files: Mapping[str, bytes | str], **how: Any) -> str:
    return desk.hub.add_repo(repo, files, repo_type="dataset", **how)


async def look(desk: PaidDesk, dataset: str, **arguments: Any) -> Answer:
    return await desk.ask("validate_dataset", dataset=dataset, method="sft", **arguments)


async def run_of(desk: PaidDesk, **changes: Any) -> dict[str, Any]:
    """Return RUN of the script that a training would run."""
    plan = await desk.submit(dry_run=True, **changes)
    assert plan.result.get("status") == "planned", plan.text
    async with desk.client() as client:
        (content,) = (await client.read_resource(plan.result["script_uri"])).contents
    assert isinstance(content, TextResourceContents)
    return read_run(content.text)


async def test_a_public_data_set_is_read_at_its_newest_commit_or_the_one_that_is_named(desk: PaidDesk) -> None:
    first = add(desk, "acme/talks", {"train.jsonl": LINES})
    second = desk.hub.commit_files("acme/talks", {"more-train.jsonl": LINES}, repo_type="dataset")
    newest, named = await look(desk, "acme/talks"), await look(desk, f"acme/talks@{first}")
    assert [(each.result["rows_kept"], each.result["revision"]) for each in (newest, named)] == [
        (80, second),
        (40, first),
    ]
    assert newest.result["use"] == {"method": "sft", "dataset": "acme/talks"}
    assert (await run_of(desk, dataset=f"acme/talks@{first}"))["dataset_revision"] == first
    missing = await look(desk, "acme/talks@nowhere")
    assert missing.is_error
    assert "nowhere" in missing.text


async def test_configs_splits_and_slices_are_read_as_they_are_named(desk: PaidDesk) -> None:
    add(desk, "acme/mix", CONFIGS)
    rows = {
        (dataset, split): (await look(desk, dataset, dataset_split=split)).result["rows_kept"]
        for dataset, split in [
            ("acme/mix:plain", "train"),
            ("acme/mix:other", "train"),
            ("acme/mix:other", "held_out"),
            ("acme/mix:other", "train[10:30]"),
            ("acme/mix:other", "train[:5%]"),
        ]
    }
    assert list(rows.values()) == [40, 80, 40, 20, 4]
    run = await run_of(desk, dataset="acme/mix:other", dataset_split="train[10:30]", eval_split="held_out")
    assert (run["dataset"], run["dataset_config"], run["dataset_split"]) == ("acme/mix", "other", "train[10:30]")
    assert run["eval_split"] == "held_out"


@pytest.mark.parametrize(
    ("dataset", "split", "words"),
    [
        ("acme/mix", "train", ["has several configs", "plain, other"]),
        ("acme/mix:othr", "train", ['no config "othr"', 'Did you mean "other"?']),
        ("acme/mix:other", "heldout", ['no split "heldout"', 'Did you mean "held_out"?']),
        ("acme/mix:other", "train[", ["'train[' is no split"]),
        ("acme/mixx", "train", ["acme/mixx"]),
        ("acme/hollow", "train", ["acme/hollow"]),
    ],
)
async def test_what_is_not_there_is_refused_with_near_names_by_both_tools(
    desk: PaidDesk, dataset: str, split: str, words: list[str]
) -> None:
    add(desk, "acme/mix", CONFIGS)
    desk.hub.add_repo("acme/hollow", repo_type="dataset")
    for answer in (
        await look(desk, dataset, dataset_split=split),
        await desk.submit(dataset=dataset, dataset_split=split, max_cost_usd=1),
    ):
        desk.check_refusal(answer, *words)
        assert answer.is_error
    assert desk.hub.jobs() == []


async def test_private_and_gated_data_are_read_by_those_who_may(desk: PaidDesk) -> None:
    add(desk, "alice/secret", {"train.jsonl": LINES}, private=True)
    add(desk, "acme/gated", {"train.jsonl": LINES}, gated="manual")
    desk.hub.add_user("eve")
    assert (await look(desk, "alice/secret")).result["rows_kept"] == 40
    hidden = await look(desk.as_user("eve"), "alice/secret")
    desk.check_refusal(hidden, "alice/secret")
    closed = await look(desk.as_user("eve"), "acme/gated")
    desk.check_refusal(closed, "acme/gated", "conditions")
    desk.hub.grant_access("acme/gated", "eve", repo_type="dataset")
    assert (await look(desk.as_user("eve"), "acme/gated")).result["rows_kept"] == 40


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train.jsonl": '{"text": "a"}\n{"te'}, ["train.jsonl line 2 is not valid JSON"]),
        ({"train.parquet": b"PAR1 and then nothing PAR1"}, ["train.parquet is no readable Parquet file"]),
        ({"train.jsonl": '{"text": "caf\xe9"}\n'.encode("latin-1")}, ["train.jsonl is not UTF-8"]),
        ({"train.jsonl": "\n"}, ["no rows"]),
        ({"talks.py": "", "data.tsv": "a\tb\n"}, ["loaded by the script talks.py", "no conversion"]),
    ],
)
async def test_files_that_cannot_be_read_start_nothing(
    desk: PaidDesk, files: Mapping[str, bytes | str], words: list[str]
) -> None:
    add(desk, "acme/talks", files)
    for answer in (await look(desk, "acme/talks"), await desk.submit(dataset="acme/talks", max_cost_usd=1)):
        said = answer.is_error or "invalid" in answer.text or answer.result["status"] == "refused"
        assert said, answer.text
        assert [word for word in words if word not in answer.text] == [], answer.text
    assert desk.hub.jobs() == []


async def test_a_job_reads_the_very_files_of_the_hubs_conversion_that_were_checked(
    desk: PaidDesk, tmp_path: Path
) -> None:
    commit = add(desk, "acme/talks", {"talks.py": "", "data.tsv": "a\tb\n"})
    parts = {split: write_parquet(tmp_path / split, sums(count)).read_bytes() for split, count in PARTS.items()}
    desk.hub.set_conversion("acme/talks", {f"default/{split}/0000.parquet": data for split, data in parts.items()})
    answer = await look(desk, "acme/talks")
    assert (answer.result["rows_kept"], answer.result["revision"]) == (30, commit)
    assert "read in the Hub's conversion to Parquet" in answer.text
    run = await run_of(desk, dataset="acme/talks", eval_split="test")
    assert run["dataset_files"] == {"train": ["default/train/0000.parquet"], "test": ["default/test/0000.parquet"]}
    assert run["dataset_revision"] != commit
    stored = desk.hub.read_file(
        "acme/talks", "default/train/0000.parquet", repo_type="dataset", revision=run["dataset_revision"]
    )
    assert stored == parts["train"]
    again = await run_of(desk, dataset="acme/talks", eval_split="test")
    assert again == run
    desk.hub.set_conversion("acme/talks", {"default/train/0000.parquet": parts["test"]})
    assert (await run_of(desk, dataset="acme/talks"))["run_key"] != (await run_of(desk))["run_key"] != run["run_key"]


async def test_a_data_set_of_its_own_files_is_read_as_it_is(desk: PaidDesk) -> None:
    commit = add(desk, "acme/talks", {"train.jsonl": LINES})
    run = await run_of(desk, dataset="acme/talks")
    assert (run["dataset_revision"], run["dataset_files"]) == (commit, {"train": ["train.jsonl"]})
