"""A scan converts every row as the job will, and says what came of it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from trl_mcp.data.local import RowWishes, scan_local
from trl_mcp.errors import InvalidArguments, NotFound

SFT = RowWishes("sft")
PAIR = {"prompt": "1 + 1?", "completion": "2"}
TALK = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.mark.parametrize(("row", "layout"), [(PAIR, "prompt+completion"), (TALK, "messages"), ({"text": "a"}, "text")])
def test_a_layout_is_recognised(write_rows: WriteRows, row: dict[str, Any], layout: str) -> None:
    report = scan_local(write_rows(rows=[row] * 4), SFT)
    assert (report.layout, report.rows_checked, report.rows_kept, report.complete) == (layout, 4, 4, True)
    assert report.dropped == ""


def test_rows_that_cannot_be_trained_on_are_counted_by_reason(write_rows: WriteRows) -> None:
    report = scan_local(write_rows(rows=[PAIR, PAIR | {"completion": ""}, PAIR | {"prompt": 7}, {"text": "a"}]), SFT)
    assert (report.rows_checked, report.rows_kept) == (4, 1)
    assert "1 x an empty answer" in report.dropped
    assert "1 x a value of the wrong type" in report.dropped


def test_renamed_columns_are_read_and_said(write_rows: WriteRows) -> None:
    path = write_rows(rows=[{"question": "1 + 1?", "answer": "2"}])
    report = scan_local(path, RowWishes("sft", columns={"prompt": "question", "completion": "answer"}))
    assert (report.layout, report.rows_kept) == ("prompt+completion", 1)
    assert report.conversion == "question as prompt, answer as completion, as conversations"


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    lines = f"{json.dumps(PAIR)}\n" * 2
    array = json.dumps([PAIR, PAIR])
    table = "prompt,completion\n1 + 1?,2\n1 + 1?,2\n"
    for name, text in {"a.jsonl": lines, "a.json": array, "a.csv": table}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    reports = [scan_local(path, SFT) for path in sorted(tmp_path.iterdir())]
    assert len(reports) == 6
    assert {(report.layout, report.rows_kept) for report in reports} == {("prompt+completion", 2)}


def test_a_folder_is_sorted_into_splits_by_name(write_rows: WriteRows) -> None:
    folder = write_rows("data/train.jsonl", [PAIR] * 3).parent
    write_rows("data/test.jsonl", [PAIR])
    assert scan_local(folder, SFT).rows_checked == 3
    assert scan_local(folder, RowWishes("sft", "test")).rows_checked == 1
    assert scan_local(folder, RowWishes("sft", eval_split="test[:1]")).rows_checked == 3


@pytest.mark.parametrize("wishes", [RowWishes("sft", "validation"), RowWishes("sft", eval_split="validation")])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(write_rows: WriteRows, wishes: RowWishes) -> None:
    folder = write_rows("data/train.jsonl").parent
    write_rows("data/test.jsonl")
    with pytest.raises(NotFound, match=r'"data" has no split "validation". It has: test, train.'):
        scan_local(folder, wishes)


@pytest.mark.parametrize(
    ("split", "count"), [("train[:50%]", 2), ("train[1:3]", 2), ("train[-1:]", 1), ("train[9:]", 0)]
)
def test_a_slice_of_a_split_is_scanned_alone(write_rows: WriteRows, split: str, count: int) -> None:
    assert scan_local(write_rows(rows=[PAIR] * 4), RowWishes("sft", split)).rows_checked == count


def test_missing_columns_are_seen_in_a_slice_too(write_rows: WriteRows) -> None:
    with pytest.raises(InvalidArguments, match="no column nothing"):
        scan_local(write_rows(), RowWishes("sft", "train[-1:]", columns={"text": "nothing"}))


def test_a_large_file_is_scanned_to_its_end(write_rows: WriteRows) -> None:
    report = scan_local(write_rows(rows=[PAIR] * 2000), SFT)
    assert (report.rows_checked, report.complete) == (2000, True)
