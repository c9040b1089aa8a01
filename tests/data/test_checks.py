"""What is remarkable about rows that are kept is said with a code, the rows and the mend."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.data.desk import codes, look, problem, talk, talks, write_parquet
from trl_mcp.data.wishes import RowWishes
from trl_mcp.values import DataReport, Severity, Verdict

SECRETS = [
    "hf_" + "aB3dE6gH9jK" * 3,
    "sk-" + "proj-aB3dE6gH9jKaB3dE6gH9jK",
    "AKIA" + "ABCDEFGH12345678",
    "ghp_" + "aB3dE6gH9jK" * 4,
    "-----BEGIN " + "RSA PRIVATE KEY-----",
]


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{place}: {role}"} for place, role in enumerate(roles)]}


def kto(good: int, bad: int) -> list[dict[str, Any]]:
    return [{"prompt": "How?", "completion": f"So: {n}.", "label": n < good} for n in range(good + bad)]


@pytest.fixture(params=["jsonl", "parquet"])
def report_of(request: pytest.FixtureRequest, write_rows: WriteRows) -> Any:
    """Look at rows that are kept as text, and as columns that are screened whole."""

    def look_at_rows(rows: list[dict[str, Any]], method: str = "sft", **wishes: Any) -> DataReport:
        path = (
            write_rows(rows=rows)
            if request.param == "jsonl"
            else write_parquet(write_rows().parent / "a.parquet", rows)
        )
        return look(path, RowWishes(method, **wishes)).report

    return look_at_rows


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (turns("user", "user", "assistant"), "data.role_order"),
        (turns("user", "assistant", "assistant"), "data.role_order"),
        (turns("user", "system", "assistant"), "data.late_system"),
        (turns("assistant", "user", "assistant"), "data.assistant_first"),
        (turns("user", "assistant", "user"), "data.last_assistant"),
        (talk(" \n", "An answer."), "data.empty_turn"),
        (talk("Hello {{ name }}!"), "data.placeholder"),
        (talk("Hello", "Yours, <your name>"), "data.placeholder"),
        *((talk("My key", f"is {secret}."), "data.secret") for secret in SECRETS),
    ],
)
def test_a_row_that_is_odd_is_kept_and_named(report_of: Any, row: dict[str, Any], code: str) -> None:
    report = report_of([*talks(7), row, *talks(20)[10:]])
    assert (report.rows_checked, report.rows_kept, codes(report)) == (18, 18, [code])
    found = problem(report, code)
    assert (found.severity, found.count, found.rows) == (Severity.WARNING, 1, (7,))
    assert found.message.startswith("1 row: ")
    assert found.fix


@pytest.mark.parametrize(
    "row",
    [
        turns("system", "user", "assistant", "user", "assistant"),
        talk("The task-based risk-averse {dict} and [NAME]", "a <b> c {x} hf_hub sk-learn"),
        talk("Write {{}} in LaTeX", "{{1, 2}, {3, 4}}"),
    ],
)
def test_what_is_usual_is_not_remarked_on(report_of: Any, row: dict[str, Any]) -> None:
    assert codes(report_of([*talks(3), row])) == []


def test_a_secret_is_counted_and_never_repeated(report_of: Any) -> None:
    report = report_of([talk("My key", f"is {secret}.") for secret in SECRETS] + talks(5))
    assert problem(report, "data.secret").count == len(SECRETS)
    assert not any(secret in repr(report) for secret in SECRETS)


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        ("It is two, I think.", "It is two, I think.", "data.identical_pair"),
        ("It is two, I think.", "it is  two, I think. ", "data.near_pair"),
        ("The first man on the moon was he.", "The first man on the moon was she.", "data.near_pair"),
        ("12 apples are what he has left now", "13 apples are what he has left now", "data.near_pair"),
        ("Yes", "No", None),
        ("It is two.", "It is three, or so they say.", None),
    ],
)
def test_answers_that_are_nearly_the_same_are_named(
    report_of: Any, chosen: str, rejected: str, code: str | None
) -> None:
    usual = [
        {"prompt": f"{n}?", "chosen": f"{n}: The sky is blue.", "rejected": f"Nobody knows that, said {n}."}
        for n in range(4)
    ]
    report = report_of([*usual, {"prompt": "What?", "chosen": chosen, "rejected": rejected}], "dpo")
    assert report.rows_kept == 5
    assert [(each.code, each.rows) for each in report.problems] == ([(code, (4,))] if code else [])


def test_a_pair_of_conversations_is_compared_by_its_answers(report_of: Any) -> None:
    rows = [
        {
            "chosen": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": "A number."}],
            "rejected": [
                {"role": "user", "content": f"What is {n}?"},
                {"role": "assistant", "content": "A number." if n == 2 else "Nobody knows."},
            ],
        }
        for n in range(4)
    ]
    assert problem(report_of(rows, "dpo"), "data.identical_pair").rows == (2,)


def compared(number: int, preferred: str) -> dict[str, Any]:
    answers = [f"There are {number + more} of them as far as anybody here could count." for more in (1, 2)]
    prompt = f"How many of them are there beside {number}?"
    return {"prompt": prompt, "response_a": answers[0], "response_b": answers[1], "preferred": preferred}


def test_columns_that_fix_what_a_verdict_says_row_by_row_are_warned_about(write_rows: WriteRows) -> None:
    path = write_rows("pairs.jsonl", [compared(n, "ab"[n % 2]) for n in range(8)])
    fixed = {"chosen": "response_a", "rejected": "response_b"}
    found = problem(look(path, RowWishes("dpo", columns=fixed)).report, "data.sides")
    assert found.severity is Severity.WARNING
    assert "preferred says row by row" in found.message
    assert "data.sides" not in codes(look(path, RowWishes("dpo")).report)
    alike = write_rows("alike.jsonl", [compared(n, "a") for n in range(8)])
    assert "data.sides" not in codes(look(alike, RowWishes("dpo", columns=fixed)).report)


def test_rows_that_are_left_out_are_told_with_the_column(write_rows: WriteRows) -> None:
    rows: list[dict[str, Any]] = [{"prompt": f"{n}?", "chosen": "Yes.", "rejected": "No."} for n in range(20)]
    odd = [{"chosen": None}, {"rejected": None}, {"rejected": None}, {"chosen": 7}]
    path = write_rows("pairs.jsonl", [*rows, *({**rows[0], **each} for each in odd)])
    report = look(path, RowWishes("dpo")).report
    assert (
        problem(report, "data.none_values").message == "3 rows left out: a missing value, in rejected (2), chosen (1)."
    )
    assert problem(report, "data.types").message == "1 row left out: a value of the wrong type, in chosen."


def test_rows_that_come_twice_are_counted_but_the_first(report_of: Any) -> None:
    report = report_of([*talks(4), *talks(3), talk(), talk()])
    found = problem(report, "data.duplicates")
    assert (found.count, found.rows) == (4, (4, 5, 6, 8))
    assert report.rows_kept == 9


def test_rows_of_the_evaluation_split_that_are_trained_on_are_named(write_rows: WriteRows) -> None:
    folder = write_rows("data/train.jsonl", talks(9)).parent
    write_parquet(folder / "test.parquet", [talk("Anything new?"), *talks(20)[8:11], talk("And this?")])
    report = look(folder, RowWishes("sft", eval_split="test")).report
    found = problem(report, "data.leakage")
    assert (found.count, found.rows, report.rows_checked) == (1, (1,), 9)
    assert look(folder, RowWishes("sft")).report.problems == ()


def test_an_evaluation_split_without_a_usable_row_is_an_error(write_rows: WriteRows) -> None:
    folder = write_rows("data/train.jsonl", talks(9)).parent
    write_rows("data/test.jsonl", [talk("Anything?", "")])
    found = problem(look(folder, RowWishes("sft", eval_split="test")).report, "data.nonempty")
    assert found.severity is Severity.ERROR
    assert found.message.startswith("eval_split test: ")


@pytest.mark.parametrize(
    ("good", "bad", "weights", "fix"),
    [
        (10, 10, (1.0, 1.0), None),
        (12, 10, (1.0, 1.0), None),
        (10, 20, (1.0, 1.0), "desirable_weight=2"),
        (10, 20, (2.0, 1.0), None),
        (30, 10, (1.0, 1.0), "undesirable_weight=2.26"),
        (30, 10, (1.0, 2.26), None),
    ],
)
def test_labels_out_of_balance_come_with_the_weights_that_mend_it(
    report_of: Any, good: int, bad: int, weights: tuple[float, float], fix: str | None
) -> None:
    report = report_of(kto(good, bad), "kto", weights=weights)
    assert [each.fix for each in report.problems] == ([f'Give trainer_args=["{fix}"].'] if fix else [])


def test_labels_that_are_all_alike_are_named(report_of: Any) -> None:
    assert "All 4 answers are desirable" in problem(report_of(kto(4, 0), "kto"), "kto.balance").message


def test_turns_that_are_kept_as_json_text_are_read_and_said(report_of: Any) -> None:
    report = report_of([{"messages": json.dumps(row["messages"])} for row in talks(6)])
    assert report.rows_kept == 6
    found = problem(report, "data.json_string")
    assert (found.severity, found.count, found.rows) == (Severity.INFO, 6, (0, 1, 2, 3, 4))


def test_conversations_for_a_model_without_a_chat_template_are_left_out_with_the_mend(report_of: Any) -> None:
    report = report_of(talks(3), has_chat_template=False)
    assert "chat_template_path" in problem(report, "tmpl.missing").fix
    assert problem(report, "data.nonempty").severity is Severity.ERROR


def test_roles_that_nobody_knows_are_left_out_with_the_mend(report_of: Any) -> None:
    rows = [*talks(5), turns("narrator", "assistant")]
    report = report_of(rows)
    found = problem(report, "data.sharegpt_roles")
    assert (found.rows, report.rows_kept) == ((5,), 5)
    assert "role.<speaker>=user" in found.fix
    assert report_of(rows, columns={"role.narrator": "user"}).rows_kept == 6


def test_pictures_in_a_parquet_file_are_not_read_and_said(tmp_path: Path) -> None:
    rows = [row | {"scan": {"bytes": b"\x89PNG", "path": "a.png"}} for row in talks(4)]
    report = look(write_parquet(tmp_path / "a.parquet", rows)).report
    assert report.rows_kept == 4
    assert "scan" in problem(report, "data.vision").message


def test_rows_that_are_about_pictures_are_refused_unless_their_text_is_named(tmp_path: Path) -> None:
    rows = [row | {"image": {"bytes": b"\x89PNG", "path": "a.png"}} for row in talks(4)]
    path = write_parquet(tmp_path / "a.parquet", rows)
    report = look(path).report
    assert (report.verdict, codes(report)) == (Verdict.INVALID, ["data.columns"])
    assert "image" in problem(report, "data.columns").message
    assert look(path, RowWishes("sft", columns={"messages": "messages"})).report.rows_kept == 4


def test_turns_with_pictures_are_left_out_for_that_reason(write_rows: WriteRows) -> None:
    picture = {
        "messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "A cat."}]
    }
    report = look(write_rows(rows=[*talks(3), picture])).report
    assert (problem(report, "data.vision").rows, report.rows_kept) == ((3,), 3)
