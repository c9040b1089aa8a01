"""Data that was looked at is not read again, unless it may have changed, the wishes have, or who asks may not read it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import SFT, codes, look, talks
from tests.hub import EmulatedHub
from trl_mcp.data.local import local_source
from trl_mcp.data.scan_memory import ScanMemory
from trl_mcp.data.wishes import RowWishes
from trl_mcp.errors import AccessNotGranted, NotFound
from trl_mcp.hub.hub import Hub
from trl_mcp.plan import looking
from trl_mcp.plan.looking import Looking
from trl_mcp.plan.place import Gathering
from trl_mcp.recipes.references import dataset_reference
from trl_mcp.values import DataReport

pytestmark = pytest.mark.anyio
ANY = RowWishes(None)


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(lines(rows), encoding="utf-8")
    return path


class Desk:
    """Looks at data as users of one server."""

    def __init__(self, emulated: EmulatedHub, hub: Hub) -> None:
        self.emulated = emulated
        self.hub = hub
        self.scans = ScanMemory()

    async def look(
        self, data: str, wishes: RowWishes = SFT, user: str = "alice", *, completes: bool = False
    ) -> DataReport:
        gathering = Gathering(self.hub, self.emulated.tokens[user], scans=self.scans)
        return (await looking.look(Looking(dataset_reference(data), wishes), gathering, completes=completes)).report

    def read(self) -> int:
        """Return how many requests have read a data file since the last time this was asked."""
        count = len([each for each in self.emulated.requests("*.jsonl") if each.method == "GET"])
        self.emulated.clear_requests()
        return count


@pytest.fixture
def desk(emulated: EmulatedHub, hub: Hub) -> Desk:
    return Desk(emulated, hub)


def add(desk: Desk, rows: list[dict[str, Any]], **how: Any) -> str:
    desk.emulated.add_repo("alice/talks", {"train.jsonl": lines(rows)}, repo_type="dataset", **how)
    return "alice/talks"


async def test_a_data_set_on_the_hub_is_read_once(desk: Desk) -> None:
    data = add(desk, talks(40))
    first = await desk.look(data, ANY)
    assert desk.read() > 0
    assert await desk.look(data, ANY, completes=True) == first
    assert desk.read() == 0


async def test_who_names_the_method_that_was_shown_is_given_the_same_without_the_word_on_others(desk: Desk) -> None:
    rows = [{"question": f"{n} and one?", "answer": f"{n + 1}", "worse": f"{n}"} for n in range(40)]
    data = add(desk, rows)
    shown = await desk.look(data, ANY)
    desk.read()
    named = await desk.look(data, replace(ANY, method=str(shown.use["method"])))
    assert desk.read() == 0
    desk.scans = ScanMemory()
    assert named == await desk.look(data, replace(ANY, method=str(shown.use["method"])))
    assert set(codes(shown)) - set(codes(named)) <= {"data.more_methods"}


async def test_other_wishes_are_another_look(desk: Desk) -> None:
    data = add(desk, talks(40))
    assert (await desk.look(data)).rows_checked == 40
    assert (await desk.look(data, replace(SFT, split="train[:10]"))).rows_checked == 10
    assert (await desk.look(data, replace(SFT, system_prompt="Be brief."))).use["system_prompt"] == "Be brief."


async def test_a_new_commit_is_read(desk: Desk) -> None:
    data = add(desk, talks(40))
    assert (await desk.look(data)).rows_checked == 40
    desk.emulated.commit_files(data, {"train.jsonl": lines(talks(50))}, repo_type="dataset")
    assert (await desk.look(data)).rows_checked == 50


async def test_what_one_caller_has_looked_at_is_not_shown_to_another_who_may_not_read_it(desk: Desk) -> None:
    data = add(desk, talks(40), private=True)
    assert (await desk.look(data)).rows_checked == 40
    with pytest.raises((NotFound, AccessNotGranted)):
        await desk.look(data, user="bob")


async def test_a_file_that_has_changed_is_read_again(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "a?", "completion": str(n)} for n in range(9)])
    assert (await desk.look(str(path))).rows_kept == 9
    write(path, [{"prompt": "a?", "completion": " " if n == 3 else str(n)} for n in range(9)])
    assert (await desk.look(str(path))).rows_kept == 8


async def test_a_large_file_that_has_changed_where_its_fingerprint_does_not_look_is_read_again(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "a?", "completion": str(n)} for n in range(9)])

    def same(_path: Path) -> str:
        return "the same"

    monkeypatch.setattr("trl_mcp.data.local.fingerprint", same)
    assert (await desk.look(str(path))).rows_kept == 9
    write(path, [{"prompt": "a?", "completion": " " if n == 3 else str(n)} for n in range(9)])
    assert (await desk.look(str(path))).rows_kept == 8


async def test_a_look_that_came_to_no_end_is_taken_again_only_where_it_is_to_be_completed(
    desk: Desk, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.jsonl", talks(40))
    source, whole = local_source(path), look(path)
    part = replace(whole.report, rows_checked=10, rows_kept=10, complete=False)
    desk.scans.keep(source, SFT, replace(whole, report=part))
    assert (await desk.look(str(path))).rows_checked == 10
    assert (await desk.look(str(path), completes=True)).rows_checked == 40
    assert (await desk.look(str(path))).rows_checked == 40


def test_the_rows_of_all_looks_together_are_bounded(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.jsonl", talks(40)) for number in range(5)]
    scans = [look(path) for path in paths]
    memory = ScanMemory(most_characters=2 * sum(row.characters for row in scans[0].sample))
    for path, scan in zip(paths, scans, strict=True):
        memory.keep(local_source(path), SFT, scan)
    assert [path for path in paths if memory.find(local_source(path), SFT)] == paths[-2:]
