"""One bad row among very many is found, with its number."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import codes, look, parquet, problem, pyarrow, talk
from trl_mcp.data.wishes import RowWishes

ROWS = 200_000
GROUP = 20_000
TURN = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])


def usual(number: int) -> list[dict[str, Any]]:
    return talk(f"What is {number} and one?", f"It is {number + 1}.")["messages"]


PLANTED: dict[int, list[dict[str, Any]] | None] = {
    7: [{"role": "user", "content": "Hi"}, {"role": "asistant", "content": "Hello"}],
    19_999: [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}],
    20_000: [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "Hi?"},
        {"role": "assistant", "content": "Hey"},
    ],
    77_777: [{"role": "user", "content": "Hi, again"}, {"role": "assistant", "content": "word " * 200_000}],
    123_456: [],
    123_457: None,
    150_000: usual(149_000),
    199_998: [
        {"role": "user", "content": "My key is hf_" + "aB3dE6gH9jK" * 3},
        {"role": "assistant", "content": "Oh!"},
    ],
    199_999: [{"role": "user", "content": "Anyone?"}],
}


def test_every_fault_among_200_000_conversations_is_found_with_its_row(tmp_path: Path) -> None:
    schema = pyarrow.schema([("messages", pyarrow.list_(TURN))])
    with parquet.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd") as writer:
        for first in range(0, ROWS, GROUP):
            rows = [PLANTED[number] if number in PLANTED else usual(number) for number in range(first, first + GROUP)]
            writer.write_table(pyarrow.table({"messages": pyarrow.array(rows, schema.field(0).type)}, schema))
    scan = look(tmp_path / "a.parquet")
    report = scan.report
    assert {(each.code, each.count, each.rows) for each in report.problems} == {
        ("data.sharegpt_roles", 1, (7,)),
        ("data.none_values", 2, (19_999, 123_457)),
        ("data.role_order", 1, (20_000,)),
        ("data.duplicates", 1, (150_000,)),
        ("data.secret", 1, (199_998,)),
        ("data.last_assistant", 2, (123_456, 199_999)),
    }
    assert (report.rows_total, report.rows_checked, report.rows_kept) == (ROWS, ROWS, ROWS - 5)
    assert [row.number for row in scan.sample if row.characters > 1_000_000] == [77_777]


def test_a_pair_of_equal_answers_among_very_many_is_found(tmp_path: Path) -> None:
    numbers = range(50_000)
    table = {
        "prompt": [f"What is {n} and one?" for n in numbers],
        "chosen": [f"{n}: it must be {n + 1}, of course." for n in numbers],
        "rejected": ["It must be 31416, of course." if n == 31_415 else f"Who could ever know {n}" for n in numbers],
    }
    table["chosen"][31_415] = table["rejected"][31_415]
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet", row_group_size=10_000)
    report = look(tmp_path / "a.parquet", RowWishes("dpo")).report
    assert (codes(report), problem(report, "data.identical_pair").rows) == (["data.identical_pair"], (31_415,))


@pytest.mark.parametrize("count", [20_000])
def test_a_conversation_kept_as_json_text_among_many_is_left_out_with_its_row(tmp_path: Path, count: int) -> None:
    rows = [{"messages": usual(number)} for number in range(count)]
    lines = [json.dumps(row) for row in rows]
    lines[12_345] = json.dumps({"messages": json.dumps(usual(12_345))})
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    report = look(tmp_path / "a.jsonl").report
    (found,) = report.problems
    assert (found.code in ("data.types", "data.json_string"), found.rows) == (True, (12_345,))
    assert report.rows_checked == count
