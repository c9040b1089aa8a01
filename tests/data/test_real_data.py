"""Real data sets, as their publishers ship them, are understood without a word from the user."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import codes, look, problem
from trl_mcp.data.wishes import RowWishes
from trl_mcp.values import Verdict

DATA = Path(__file__).resolve().parents[3] / "shared/data/datasets"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets of ../shared/data/datasets are not here")


@pytest.mark.parametrize(
    ("name", "method", "layout", "rows"),
    [
        ("gsm8k_train.jsonl", "sft", "question + answer", 7473),
        ("gsm8k_test.jsonl", "grpo", "question", 1319),
        ("alpaca_en_demo.json", "sft", "instruction + input + output", 999),
        ("sharegpt_dummy_conversation.json", "sft", "conversations (from/value)", 500),
        (
            "dpo_en_demo.json",
            "dpo",
            "conversations (from/value) + chosen (from/value) + rejected (from/value) pairs",
            300,
        ),
        ("kto_en_demo.json", "kto", "messages + label", 300),
    ],
)
def test_every_row_of_a_real_data_set_is_kept(name: str, method: str, layout: str, rows: int) -> None:
    scan = look(DATA / name, RowWishes(method))
    report = scan.report
    assert (report.verdict, report.layout) == (Verdict.READY, layout)
    assert (report.rows_total, report.rows_checked, report.rows_kept) == (rows, rows, rows)
    assert report.use == {"method": method, "dataset": str(DATA / name)}
    assert method in report.methods_ok
    assert scan.lengths.count == rows
    assert len(scan.sample) == min(rows, 4000)


@pytest.mark.parametrize(
    ("name", "method"),
    [("gsm8k_train.jsonl", "sft"), ("dpo_en_demo.json", "dpo"), ("kto_en_demo.json", "sft")],
)
def test_without_a_method_the_fitting_one_is_shown(name: str, method: str) -> None:
    report = look(DATA / name, RowWishes(None)).report
    assert (report.verdict, report.use["method"]) == (Verdict.READY, method)


def test_a_method_that_the_rows_cannot_be_trained_with_is_refused() -> None:
    report = look(DATA / "gsm8k_train.jsonl", RowWishes("dpo")).report
    assert (report.verdict, codes(report)) == (Verdict.INVALID, ["data.columns"])


def test_what_is_odd_in_real_rows_is_named() -> None:
    report: Any = look(DATA / "alpaca_en_demo.json").report
    assert problem(report, "data.duplicates").count == 14
    report = look(DATA / "dpo_en_demo.json", RowWishes("dpo")).report
    assert problem(report, "data.placeholder").rows == (171,)


def test_the_training_questions_do_not_occur_in_the_test_questions(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").symlink_to(DATA / f"gsm8k_{split}.jsonl")
    assert codes(look(tmp_path, RowWishes("sft", eval_split="test")).report) == []
