"""The same faults among very many rows are found with their numbers, however the rows are kept and wherever they lie."""

import csv
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.data.desk import parquet, pyarrow
from tests.hub import EmulatedHub
from trl_mcp.data.hub_source import HubData, hub_source
from trl_mcp.data.local import local_source
from trl_mcp.data.look import look_at
from trl_mcp.data.sources import RowSource
from trl_mcp.data.wishes import RowWishes
from trl_mcp.hub.hub import Hub
from trl_mcp.values import DataReport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ROWS = 30_000
Row = dict[str, Any]
Write = Callable[[Path, list[Row]], None]


def pair(number: int) -> Row:
    return {
        "prompt": f"What is {number} and one?",
        "chosen": f"{number}: it must be {number + 1}, of course.",
        "rejected": f"Who could ever know {number}",
    }


def turns(number: int) -> list[Row]:
    question, answer = f"What is {number} and one?", f"It is {number + 1}."
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


PAIR_FAULTS: dict[int, Row] = {
    3: {"rejected": pair(3)["chosen"]},
    1_023: {"rejected": pair(1_023)["chosen"].upper() + " "},
    1_024: {"chosen": ""},
    9_999: {"prompt": "Dear {{first_name}}, how far is it?"},
    10_000: {"chosen": "word " * 200_000},
    15_432: {"prompt": "My key is hf_" + "aB3dE6gH9jK" * 3},
    29_998: pair(11),
    29_999: {"rejected": "  "},
}
PAIR_FOUND = {
    "data.identical_pair": (3,),
    "data.near_pair": (1_023,),
    "data.empty_completion": (1_024, 29_999),
    "data.placeholder": (9_999,),
    "data.secret": (15_432,),
    "data.duplicates": (29_998,),
    "data.leakage": (1,),
}
TALK_FAULTS: dict[int, list[Row]] = {
    5: [{"role": "user", "content": "Hi"}, {"role": "asistant", "content": "Hello"}],
    4_096: [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": None}],
    20_000: [*turns(20_000), *turns(20_001)[1:]],
    29_999: turns(29_999)[:1],
}
TALK_FOUND = {
    "data.sharegpt_roles": (5,),
    "data.none_values": (4_096,),
    "data.role_order": (20_000,),
    "data.last_assistant": (29_999,),
    "data.leakage": (1,),
}


def write_as_parquet(path: Path, rows: list[Row]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7_000)


def write_as_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_as_table(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV, with conversations as JSON text."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(rows[0])
        for row in rows:
            table.writerow(cell if isinstance(cell, str) else json.dumps(cell) for cell in row.values())


WRITERS: Mapping[str, Write] = {"parquet": write_as_parquet, "jsonl": write_as_lines, "csv": write_as_table}


@pytest.fixture(params=["here", "on the Hub"])
async def looked(request: pytest.FixtureRequest, emulated: EmulatedHub, hub: Hub) -> Callable[..., Any]:
    """Look at a folder that lies here, or at the same files on the Hub."""

    async def source_of(folder: Path, wishes: RowWishes, deadline: float) -> RowSource:
        if request.param == "here":
            return local_source(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        commit = emulated.add_repo("acme/rows", files, repo_type="dataset")
        data = HubData("acme/rows", "acme/rows", commit)
        return await hub_source(hub, emulated.tokens["alice"], data, wishes, deadline)

    async def look(folder: Path, method: str) -> DataReport:
        wishes, deadline = RowWishes(method, eval_split="test"), time.monotonic() + 90
        source = await source_of(folder, wishes, deadline)
        return (await anyio.to_thread.run_sync(look_at, source, wishes, deadline)).report

    return look


@pytest.mark.parametrize("kind", WRITERS)
async def test_faults_of_pairs_are_found(looked: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [pair(number) | PAIR_FAULTS.get(number, {}) for number in range(ROWS)]
    WRITERS[kind](folder / f"train.{kind}", rows)
    WRITERS[kind](folder / f"test.{kind}", [pair(ROWS), pair(17_000), pair(ROWS + 1)])
    report: DataReport = await looked(folder, "dpo")
    assert {each.code: each.rows for each in report.problems} == PAIR_FOUND
    assert (report.rows_checked, report.rows_kept) == (ROWS, ROWS - 2)


@pytest.mark.parametrize("kind", WRITERS)
async def test_faults_of_conversations_are_found(looked: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"messages": TALK_FAULTS.get(number, turns(number))} for number in range(ROWS)]
    WRITERS[kind](folder / f"train.{kind}", rows)
    WRITERS[kind](folder / f"test.{kind}", [{"messages": turns(number)} for number in (ROWS, 17_000, ROWS + 1)])
    report: DataReport = await looked(folder, "sft")
    as_json = [each.code for each in report.problems if each.code == "data.json_string"]
    assert as_json == (["data.json_string"] if kind == "csv" else [])
    assert {each.code: each.rows for each in report.problems if each.code not in as_json} == TALK_FOUND
    assert (report.rows_checked, report.rows_kept) == (ROWS, ROWS - 3)
