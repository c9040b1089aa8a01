"""A row of another kind among the first ones is left out and named; it does not decide how the others are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.data.desk import talk, talks
from tests.face.conftest import Ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
PLACE = 5


def texts(count: int) -> list[dict[str, Any]]:
    return [{"messages": json.dumps(row["messages"])} for row in talks(count)]


def shared(count: int) -> list[dict[str, Any]]:
    return [
        {"conversations": [{"from": "human", "value": f"And {n}?"}, {"from": "gpt", "value": f"It is {n}."}]}
        for n in range(count)
    ]


def exchanges(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"And {number}?", "completion": f"It is {number}."} for number in range(count)]


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"And {n}?", "chosen": f"It is {n}.", "rejected": f"No, not {n}."} for n in range(count)]


def compared(number: int) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "history": [{"from": "human", "value": f"How do I track parcel {number}?"}],
        "response_a": f"To track parcel {number}, open Settings and press Track.",
        "response_b": f"No idea where parcel {number} is, please call us again.",
        "preferred": "ab"[number % 2],
        "tester": "mia",
    }


async def test_what_testers_compared_is_trained_on_as_they_exported_it(ask: Ask, tmp_path: Path) -> None:
    """Several files, ties, gaps, and a column that says which answer is the better one."""
    export = tmp_path / "export"
    export.mkdir()
    odd: list[dict[str, Any]] = [{"preferred": "tie"}, {"response_b": None}, {"history": []}]
    for part in range(3):
        rows = [*(compared(number) for number in range(part, 30, 3)), compared(part) | odd[part]]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (export / f"part-{part}.jsonl").write_text(lines, encoding="utf-8")
    told = (await ask("validate_dataset", dataset=str(export))).result
    assert (told["verdict"], told["rows_kept"], told["use"]["method"]) == ("ready", 30, "dpo")
    assert "as preferred says" in told["conversion"]
    messages = [each["message"] for each in told["problems"]]
    assert "1 row left out: a missing value, in response_b." in messages
    assert "1 row left out: a prompt in which nobody asks anything, in history." in messages
    assert "1 row left out: two answers of which neither is said to be the better one." in messages


@pytest.mark.parametrize(
    ("rows", "odd", "layout", "code"),
    [
        (talks(60), {"messages": "only words"}, "messages", "data.types"),
        (talks(60), {"messages": None}, "messages", "data.none_values"),
        (talks(60), {"messages": []}, "messages", "data.last_assistant"),
        (texts(60), {"messages": "only words"}, "messages (JSON text)", "data.types"),
        (shared(60), talk(), "conversations (from/value)", "data.mixed_layout"),
        (shared(60), {"text": "only words"}, "conversations (from/value)", "data.mixed_layout"),
        (exchanges(60), {"prompt": "And now?", "completion": 7}, "prompt + completion", "data.types"),
        (exchanges(60), {"question": "And?", "answer": "No."}, "prompt + completion", "data.mixed_layout"),
        (pairs(60), {"prompt": "And?", "chosen": None, "rejected": "No."}, "prompt + chosen + rejected pairs", "data.none_values"),
        (pairs(60), {"messages": talk()["messages"]}, "prompt + chosen + rejected pairs", "data.mixed_layout"),
    ],
)  # fmt: skip
async def test_a_row_of_another_kind_among_the_first_is_left_out_and_named(
    ask: Ask, write_rows: WriteRows, rows: list[dict[str, Any]], odd: dict[str, Any], layout: str, code: str
) -> None:
    rows = [*rows[:PLACE], odd, *rows[PLACE + 1 :]]
    answer = await ask("validate_dataset", dataset=str(write_rows(rows=rows)))
    assert (answer.result["verdict"], answer.result["layout"]) == ("ready", layout)
    assert answer.result["rows_kept"] == len(rows) - 1
    found = [each for each in answer.result["problems"] if each["rows"] == [PLACE]]
    assert [each["code"] for each in found] == [code]
