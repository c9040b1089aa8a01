"""Data sets on the Hub are read in parts, with the caller's token, at one commit."""

import gzip
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.data.desk import SFT, problem, stored_bytes, talk, talks, write_parquet
from tests.hub import EmulatedHub
from trl_mcp.data.hub_source import HubData, hub_source
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.wishes import RowWishes
from trl_mcp.errors import AccessNotGranted, NotFound
from trl_mcp.hub.hub import Hub
from trl_mcp.values import Verdict

pytestmark = pytest.mark.anyio
LINES = "".join(json.dumps(row) + "\n" for row in talks(40))


class Reading:
    """Looks at data sets of an emulated Hub as one of its users."""

    def __init__(self, emulated: EmulatedHub, hub: Hub) -> None:
        self.emulated = emulated
        self.hub = hub

    def add(self, files: Mapping[str, bytes | str], **how: Any) -> str:
        """Make a data set and return its commit."""
        return self.emulated.add_repo("acme/talks", files, repo_type="dataset", **how)

    async def look(self, commit: str, wishes: RowWishes = SFT, user: str = "alice", config: str | None = None) -> Scan:
        """Look at the data set at a commit."""
        data, deadline = HubData("acme/talks", "acme/talks", commit, config), time.monotonic() + 30
        source = await hub_source(self.hub, self.emulated.tokens[user], data, wishes, deadline)
        return await anyio.to_thread.run_sync(look_at, source, wishes, deadline)


@pytest.fixture
def reading(emulated: EmulatedHub, hub: Hub) -> Reading:
    return Reading(emulated, hub)


@pytest.mark.parametrize(
    "files",
    [
        {"train.jsonl": LINES},
        {"train.jsonl.gz": gzip.compress(LINES.encode())},
        {"data/train.json": json.dumps(talks(40))},
    ],
)
async def test_text_files_are_streamed(reading: Reading, files: dict[str, bytes | str]) -> None:
    commit = reading.add(files)
    report = (await reading.look(commit)).report
    assert (report.rows_kept, report.rows_total, report.complete, report.revision) == (40, 40, True, commit)
    assert report.fingerprint == f"acme/talks@{commit}"
    assert report.use == {"method": "sft", "dataset": "acme/talks"}


async def test_only_the_needed_columns_of_parquet_files_are_fetched(reading: Reading, tmp_path: Path) -> None:
    chance = random.Random(3)
    rows = [
        talk(f"{n}: {chance.randbytes(600).hex()}", chance.randbytes(700).hex())
        | {"id": n, "raw": chance.randbytes(1400).hex()}
        for n in range(20_000)
    ]
    content = write_parquet(tmp_path / "a.parquet", rows, 2000).read_bytes()
    commit = reading.add({"data/train-00000-of-00001.parquet": content})
    needed = stored_bytes(tmp_path / "a.parquet", "messages")
    reading.emulated.clear_requests()
    report = (await reading.look(commit)).report
    fetched = sum(request.sent for request in reading.emulated.requests("*.parquet"))
    assert (report.rows_kept, report.rows_total) == (20_000, 20_000)
    assert needed < fetched < 1.1 * needed
    assert needed < len(content) / 1.9


async def test_a_slice_fetches_only_the_row_groups_it_lies_in(reading: Reading, tmp_path: Path) -> None:
    chance = random.Random(3)
    rows = [
        talk(f"{n}: {chance.randbytes(400).hex()}", "x" if n == 15_001 else chance.randbytes(400).hex())
        for n in range(20_000)
    ]
    rows[15_001] = talk("Nothing", "")
    content = write_parquet(tmp_path / "a.parquet", rows, 1000).read_bytes()
    commit = reading.add({"train.parquet": content})
    reading.emulated.clear_requests()
    report = (await reading.look(commit, RowWishes("sft", "train[75%:80%]"))).report
    assert (report.rows_checked, report.rows_total) == (1000, 1000)
    assert problem(report, "data.empty_completion").rows == (15_001,)
    assert sum(request.sent for request in reading.emulated.requests("*.parquet")) < len(content) / 8


async def test_rows_are_numbered_through_all_files_of_a_split(reading: Reading, tmp_path: Path) -> None:
    parts = {
        f"data/train-0000{number}.parquet": write_parquet(
            tmp_path / "a.parquet", [*talks(10), talk("Odd", "")]
        ).read_bytes()
        for number in range(3)
    }
    report = (await reading.look(reading.add(parts))).report
    assert problem(report, "data.empty_completion").rows == (10, 21, 32)
    assert report.rows_total == 33


async def test_the_pinned_commit_is_read_whatever_came_after(reading: Reading) -> None:
    commit = reading.add({"train.jsonl": LINES})
    reading.emulated.commit_files("acme/talks", {"train.jsonl": "{}\n"}, repo_type="dataset")
    assert (await reading.look(commit)).report.rows_kept == 40


async def test_the_evaluation_split_is_read_too(reading: Reading) -> None:
    commit = reading.add(
        {"train.jsonl": LINES, "test.jsonl": json.dumps(talks(7)[6]) + "\n" + json.dumps(talk()) + "\n"}
    )
    report = (await reading.look(commit, RowWishes("sft", eval_split="test"))).report
    assert problem(report, "data.leakage").rows == (0,)


async def test_a_private_data_set_is_read_with_its_owners_token_only(reading: Reading) -> None:
    commit = reading.add({"train.jsonl": LINES}, private=True)
    assert (await reading.look(commit)).report.rows_kept == 40
    reading.emulated.add_user("eve")
    with pytest.raises(NotFound, match="acme/talks"):
        await reading.look(commit, user="eve")


async def test_a_gated_data_set_says_whose_conditions_are_to_be_accepted(reading: Reading) -> None:
    commit = reading.add({"train.jsonl": LINES}, gated="manual")
    reading.emulated.add_user("eve")
    with pytest.raises(AccessNotGranted, match="acme/talks"):
        await reading.look(commit, user="eve")


@pytest.mark.parametrize(
    ("wishes", "config", "words"),
    [
        (RowWishes("sft", "trian"), None, 'Did you mean "train"'),
        (RowWishes("sft", eval_split="validation[:5%]"), None, "train, test"),
        (RowWishes("sft"), "defualt", 'Did you mean "default"'),
    ],
)
async def test_a_split_or_config_that_is_not_there_is_refused_with_near_names(
    reading: Reading, wishes: RowWishes, config: str | None, words: str
) -> None:
    commit = reading.add({"train.jsonl": LINES, "test.jsonl": LINES})
    with pytest.raises(NotFound, match=words):
        await reading.look(commit, wishes, config=config)


async def test_data_without_a_method_is_shown_for_the_first_one_it_suits(reading: Reading) -> None:
    report = (await reading.look(reading.add({"train.jsonl": LINES}), RowWishes(None))).report
    assert (report.verdict, report.use["method"]) == (Verdict.READY, "sft")
