"""A look converts every row as the job will, and says what came of it."""

import gzip
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.data.desk import SFT, codes, look, problem, stored_bytes, talk, talks, write_parquet
from trl_mcp.data.local import local_source
from trl_mcp.data.look import look_at
from trl_mcp.data.wishes import RowWishes
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible
from trl_mcp.values import Severity, Verdict

PAIR = {"prompt": "1 + 1?", "completion": "2"}


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{number} + 1?", "completion": str(number + 1)} for number in range(count)]


def test_a_look_says_what_the_rows_hold_and_what_to_pass_on(write_rows: WriteRows) -> None:
    path = write_rows(rows=[{"question": "1 + 1?", "answer": "2"}, {"question": "1 + 2?", "answer": "3"}])
    report = look(path).report
    assert (report.layout, report.verdict) == ("question + answer", Verdict.READY)
    assert "question is the prompt" in report.conversion
    assert report.use == {"method": "sft", "dataset": str(path)}
    assert {"sft", "grpo"} <= set(report.methods_ok)
    assert "dpo" not in report.methods_ok
    assert (report.rows_total, report.rows_checked, report.rows_kept, report.complete) == (2, 2, 2, True)
    assert report.problems == ()


def test_the_same_arguments_come_back_for_the_next_call(write_rows: WriteRows) -> None:
    path = write_rows(rows=[{"a": "1 + 1?", "b": "2 or so"}] * 4)
    wishes = RowWishes("sft", "train[:2]", columns={"prompt": "a", "completion": "b"}, system_prompt="Be brief.")
    report = look(path, wishes).report
    assert report.use == {
        "method": "sft",
        "dataset": str(path),
        "dataset_split": "train[:2]",
        "columns": ["prompt=a", "completion=b"],
        "system_prompt": "Be brief.",
    }


@pytest.mark.parametrize(
    ("rows", "method"),
    [
        (talks(3), "sft"),
        ([{"prompt": "How far?", "chosen": "It is near", "rejected": "No idea"}], "dpo"),
        ([{"prompt": "How far is it?"}], "grpo"),
        ([{"prompt": "1 + 1?", "completions": ["It is 2.", "So 3."], "labels": [True, False]}], "prm"),
    ],
)
def test_without_a_method_the_first_one_that_the_rows_suit_is_shown(
    write_rows: WriteRows, rows: list[dict[str, Any]], method: str
) -> None:
    report = look(write_rows(rows=rows), RowWishes(None)).report
    assert report.use["method"] == method
    assert method in report.methods_ok
    assert report.rows_kept == len(rows)


def test_a_method_that_few_rows_suit_gives_way_to_one_that_all_suit(write_rows: WriteRows) -> None:
    turn = {"from": "human", "value": "How far is it?"}
    rows = [
        {
            "conversations": [turn, {"from": "gpt", "value": "To where?"}, turn] if number == 0 else [turn],
            "chosen": {"from": "gpt", "value": f"It is {number} miles."},
            "rejected": {"from": "gpt", "value": "Nobody knows."},
        }
        for number in range(4)
    ]
    assert look(write_rows(rows=rows), RowWishes(None)).report.use["method"] == "dpo"


def test_columns_that_only_the_user_can_tell_apart_are_asked_for(write_rows: WriteRows) -> None:
    path = write_rows(rows=[{"left": "one text here", "right": "another text there"}])
    report = look(path).report
    assert report.verdict is Verdict.NEEDS_COLUMNS
    found = problem(report, "data.columns")
    assert found.severity is Severity.ERROR
    assert "left" in found.message
    suggested: Any = report.use["columns"]
    assert json.dumps(suggested) in found.fix
    again = look(path, RowWishes("sft", columns=dict(entry.split("=") for entry in suggested))).report
    assert (again.verdict, again.rows_kept) == (Verdict.READY, 1)


def test_rows_with_too_few_texts_for_the_method_are_invalid(write_rows: WriteRows) -> None:
    report = look(write_rows(rows=[{"id": 1, "tag": "x"}])).report
    assert (report.verdict, codes(report), report.use) == (Verdict.INVALID, ["data.columns"], {})


def test_columns_that_are_not_there_are_refused_with_those_that_are(write_rows: WriteRows) -> None:
    wishes = RowWishes("sft", "train[-1:]", columns={"text": "promt"})
    with pytest.raises(InvalidArguments, match="prompt, completion"):
        look(write_rows(), wishes)


def test_a_target_that_the_method_does_not_read_is_refused(write_rows: WriteRows) -> None:
    with pytest.raises(InvalidArguments, match=r'sft reads no "promt"\. Did you mean "prompt"\?'):
        look(write_rows(), RowWishes("sft", columns={"promt": "prompt"}))


def test_rows_that_cannot_be_trained_on_are_counted_by_reason_with_their_numbers(write_rows: WriteRows) -> None:
    rows = [*pairs(6), PAIR | {"completion": ""}, PAIR | {"prompt": 7}, {"text": "a"}, PAIR | {"completion": " "}]
    report = look(write_rows(rows=rows)).report
    assert (report.rows_checked, report.rows_kept, report.verdict) == (10, 6, Verdict.READY)
    assert (problem(report, "data.empty_completion").count, problem(report, "data.empty_completion").rows) == (
        2,
        (6, 9),
    )
    assert problem(report, "data.types").rows == (7,)
    assert problem(report, "data.mixed_layout").rows == (8,)
    assert {each.severity for each in report.problems} == {Severity.WARNING}


def test_data_of_which_no_row_is_left_is_invalid(write_rows: WriteRows) -> None:
    report = look(write_rows(rows=[PAIR | {"completion": ""}] * 3)).report
    found = problem(report, "data.nonempty")
    assert (report.verdict, report.rows_kept) == (Verdict.INVALID, 0)
    assert (found.severity, found.rows) == (Severity.ERROR, (0, 1, 2))
    assert "an empty answer" in found.message


@pytest.mark.parametrize("content", ["", "\n\n", "[]"])
def test_a_file_without_rows_is_invalid(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("empty.json" if content == "[]" else "empty.jsonl")
    path.write_text(content)
    report = look(path).report
    assert (report.verdict, codes(report)) == (Verdict.INVALID, ["data.nonempty"])


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    lines = f"{json.dumps(PAIR)}\n" * 2
    array = json.dumps([PAIR, PAIR])
    table = "prompt,completion\n1 + 1?,2\n1 + 1?,2\n"
    for name, text in {"a.jsonl": lines, "a.json": array, "a.csv": table}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    write_parquet(tmp_path / "a.parquet", [PAIR, PAIR])
    reports = [look(path).report for path in sorted(tmp_path.iterdir())]
    assert len(reports) == 7
    assert {(report.layout, report.rows_total, report.rows_kept) for report in reports} == {
        ("prompt + completion", 2, 2)
    }


def test_a_folder_is_sorted_into_splits_by_name(write_rows: WriteRows) -> None:
    folder = write_rows("data/train.jsonl", pairs(3)).parent
    write_rows("data/test.jsonl", [PAIR])
    assert look(folder).report.rows_checked == 3
    assert look(folder, RowWishes("sft", "test")).report.rows_checked == 1


def test_files_of_several_kinds_are_read_one_after_the_other(write_rows: WriteRows) -> None:
    folder = write_rows("data/a.jsonl", pairs(3)).parent
    write_parquet(folder / "b.parquet", [*pairs(2), PAIR | {"completion": ""}])
    report = look(folder).report
    assert (report.rows_checked, report.rows_kept) == (6, 5)
    assert problem(report, "data.empty_completion").rows == (5,)


@pytest.mark.parametrize("wishes", [RowWishes("sft", "validation"), RowWishes("sft", eval_split="validation")])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(write_rows: WriteRows, wishes: RowWishes) -> None:
    folder = write_rows("data/train.jsonl").parent
    write_rows("data/test.jsonl")
    with pytest.raises(NotFound, match=r'"data" has no split "validation". It has: test, train.'):
        look(folder, wishes)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("train[:50%]", range(15)),
        ("train[1:3]", range(1, 3)),
        ("train[-1:]", range(29, 30)),
        ("train[9:25]", range(9, 25)),
        ("train[10%:-10%]", range(3, 27)),
        ("train[99:]", range(0)),
    ],
)
def test_a_slice_of_a_split_is_scanned_alone_under_its_own_row_numbers(
    write_rows: WriteRows, kind: str, split: str, numbers: range
) -> None:
    rows = [PAIR | {"prompt": str(number), "completion": "" if number % 10 == 9 else "2"} for number in range(30)]
    path = write_rows(rows=rows) if kind == "jsonl" else write_parquet(write_rows().with_name("a.parquet"), rows, 7)
    scan = look(path, RowWishes("sft", split))
    empty = tuple(number for number in numbers if number % 10 == 9)
    assert scan.report.rows_checked == len(numbers)
    assert [each.rows for each in scan.report.problems if each.code == "data.empty_completion"] == (
        [empty] if empty else []
    )
    assert [row.number for row in scan.sample] == [number for number in numbers if number % 10 != 9]


def test_a_share_of_a_file_that_cannot_be_counted_in_time_is_refused(write_rows: WriteRows) -> None:
    with pytest.raises(NotPossible, match=r"could not be counted in time.*train\[:100000\]"):
        look(write_rows(rows=pairs(5)), RowWishes("sft", "train[:50%]"), seconds=-1)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_look_that_runs_out_of_time_says_how_far_it_came(write_rows: WriteRows, kind: str) -> None:
    rows = pairs(5000)
    path = write_rows(rows=rows) if kind == "jsonl" else write_parquet(write_rows().with_name("a.parquet"), rows, 100)
    source = local_source(path)
    began = time.monotonic()
    told: list[tuple[int, int | None]] = []

    def stop_here(done: int, total: int | None) -> None:
        told.append((done, total))
        while time.monotonic() < began + 1:
            pass

    report = look_at(source, SFT, began + 1, stop_here).report
    assert 0 < report.rows_checked < 5000
    assert (report.complete, report.rows_total) == (False, None if kind == "jsonl" else 5000)
    assert problem(report, "data.coverage").severity is Severity.INFO
    assert told[0][1] == report.rows_total


def test_progress_is_told_no_more_than_five_times_a_second(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pairs(20_000), 100)
    told: list[float] = []
    look_at(local_source(path), SFT, time.monotonic() + 60, lambda done, total: told.append(time.monotonic()))
    assert told
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(told))


def test_beyond_the_budget_evenly_spread_row_groups_are_read(tmp_path: Path) -> None:
    from trl_mcp.data.parquet import ParquetRows
    from trl_mcp.data.sources import split_part

    path = write_parquet(tmp_path / "a.parquet", pairs(1000), 10)
    source = local_source(path)
    part = split_part(source, "dataset_split", "train")
    size = stored_bytes(path, "prompt")
    reader = ParquetRows(source.splits["train"], part, time.monotonic() + 60, most_bytes=size // 10)
    first_rows = [chunk.first_row for chunk in reader.chunks(["prompt"])]
    assert 8 <= len(first_rows) <= 10
    assert first_rows[0] == 0
    assert max(first_rows) >= 850
    assert (reader.complete, reader.rows_total) == (False, 1000)


def test_small_data_is_sampled_whole_and_in_order(write_rows: WriteRows) -> None:
    scan = look(write_rows(rows=pairs(50)))
    assert [row.number for row in scan.sample] == list(range(50))
    assert scan.sample[3].row["prompt"] == [{"role": "user", "content": "3 + 1?"}]
    assert scan.sample[3].characters == len("3 + 1?4")
    assert (scan.lengths.count, scan.lengths.characters) == (50, sum(row.characters for row in scan.sample))


def test_a_sample_of_much_data_has_short_and_long_rows_alike(tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", "word " * (400 if number % 1000 == 0 else 2)) for number in range(12_000)]
    scan = look(write_parquet(tmp_path / "a.parquet", rows))
    assert len(scan.sample) == 4000
    assert sum(row.characters > 1000 for row in scan.sample) == 12
    assert scan.lengths.count == 12_000
    numbers = [row.number for row in scan.sample]
    assert numbers == sorted(numbers)
    thirds = [sum(start <= number < start + 4000 for number in numbers) for start in (0, 4000, 8000)]
    assert min(thirds) > 1200
    assert look(tmp_path / "a.parquet").sample == scan.sample
