"""What is found wrong with rows: counted while they pass by, then said in words with the mend."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trl_mcp.render.templates import job_module
from trl_mcp.values import DataProblem, Severity

FIRST_ROWS = 5
MOST_COLUMNS = 5
KTO_RATIO = (1.0, 1.33)
# What the reason for dropping a row is called where other checks name it already; else it is data.<reason>.
_DROP_CODES = {
    "wrong_type": "data.types",
    "bad_label": "data.types",
    "wrong_role": "data.sharegpt_roles",
    "null_value": "data.none_values",
    "no_answer": "data.last_assistant",
    "last_turn": "data.last_assistant",
    "missing_column": "data.columns",
    "no_layout": "data.columns",
    "prompts_differ": "data.mixed_pref",
    "bad_tools": "data.tools",
    "image": "data.vision",
    "no_chat_template": "tmpl.missing",
}
_DROP_FIXES = {
    "wrong_role": 'Name the speaker: columns=["role.<speaker>=user"] (or assistant, system, tool).',
    "no_chat_template": "Use the instruct model of the family, or its template: chat_template_path=<its Hub id>.",
    "image": "Take the pictures out, or leave these rows: only text is trained on.",
    "missing_column": "Fill that column in these rows, or name another in columns.",
    "null_value": "Fill in the missing values, or leave the rows out.",
    "bad_text": "Save the text as valid UTF-8.",
    "whole_answer": 'Give the column as whole conversations: columns=["messages=<its name>"].',
    "no_winner": "Nothing needs doing, unless these rows were meant to have a better answer.",
    "mixed_layout": "Keep rows of another layout in a data set of their own.",
}


@dataclass(frozen=True, slots=True)
class _Problem:
    code: str
    what: str
    fix: str
    severity: Severity = Severity.WARNING


PROBLEMS = {
    "repeated_role": _Problem(
        "data.role_order",
        "two turns of one role in a row",
        "Join such turns, or check that no turn between them was lost.",
    ),
    "late_system": _Problem(
        "data.late_system",
        "a system turn after the first turn, which some chat templates refuse",
        "Move it to the front.",
    ),
    "assistant_first": _Problem(
        "data.assistant_first",
        "an assistant's turn comes first, which some chat templates refuse",
        "Check that no question before it was lost.",
    ),
    "last_turn": _Problem(
        "data.last_assistant",
        "the last turn is not the assistant's: a question is trained on that nobody answers",
        "Take the last turn out, or add the answer.",
    ),
    "empty_turn": _Problem("data.empty_turn", "a turn that says nothing", "Fill it in, or take the turn out."),
    "json_text": _Problem(
        "data.json_string", "turns kept as JSON text, which is read as turns", "Nothing needs doing.", Severity.INFO
    ),
    "identical_pair": _Problem(
        "data.identical_pair",
        "the chosen and the rejected answer are the same: there is nothing to learn from them",
        "Take them out.",
    ),
    "near_pair": _Problem(
        "data.near_pair",
        "the chosen and the rejected answer differ in case, spaces or a few characters only",
        "Check that the difference is meant.",
    ),
    "placeholder": _Problem(
        "data.placeholder",
        "a placeholder that nobody has filled in, such as {{name}}",
        "Fill it in, or leave the rows out: the model will write it.",
    ),
    "secret": _Problem(
        "data.secret",
        "what looks like a key or token",
        "Revoke it and take it out: a model can repeat it to anyone.",
    ),
    "duplicate": _Problem(
        "data.duplicates",
        "the text of a row before them once more",
        "They are kept: remove the copies, unless they are meant as weight.",
    ),
    "leakage": _Problem(
        "data.leakage",
        "in the evaluation split and in the training split alike: the evaluation will look better than the model is",
        "Remove them from one of the two splits.",
    ),
}


class Tally:
    """How many rows have each problem, in which columns, and the numbers of the first ones."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._rows: dict[str, list[int]] = {}
        self._columns: dict[str, Counter[str]] = {}

    def add(self, name: str, row: int, column: str | None = None) -> None:
        """Note that a row has a problem."""
        self.counts[name] += 1
        if column:
            self._columns.setdefault(name, Counter()).update([column])
        rows = self._rows.setdefault(name, [])
        if len(rows) < FIRST_ROWS:
            rows.append(row)

    def rows(self, name: str) -> tuple[int, ...]:
        """Return the numbers of the first rows that have a problem."""
        return tuple(self._rows.get(name, ()))

    def columns(self, name: str) -> str:
        """Return in words in which columns a problem was found, the first of many; empty where that is not known."""
        found = self._columns.get(name, Counter[str]()).most_common(MOST_COLUMNS)
        words = [column if count == self.counts[name] else f"{column} ({count:,})" for column, count in found]
        return f", in {', '.join(words)}" if words else ""


def dropped_problems(dropped: Tally) -> list[DataProblem]:
    """Return one warning for each reason why rows are left out, the most frequent first."""
    reasons: Mapping[str, str] = job_module("rows").DROP_REASONS
    return [
        DataProblem(
            _DROP_CODES.get(reason, f"data.{reason}"),
            Severity.WARNING,
            count,
            dropped.rows(reason),
            f"{_rows(count)} left out: {reasons[reason]}{dropped.columns(reason)}.",
            _DROP_FIXES.get(reason, "Mend these rows, or go on without them."),
        )
        for reason, count in dropped.counts.most_common()
    ]


def verdict_problems(columns: Mapping[str, str], verdict: str) -> tuple[DataProblem, ...]:
    """Return a warning where a column says row by row which of two answers is the better one, and `columns` for all."""
    if not verdict:
        return ()
    sides = f"chosen={columns['chosen']} and rejected={columns['rejected']}"
    message = f"{sides} holds for every row, while {verdict} says row by row which answer is the better one."
    fix = "Leave both out of columns, or save the rows with the better answer as chosen and the other as rejected."
    return (DataProblem("data.sides", Severity.WARNING, 0, (), message, fix),)


def noted_problems(noted: Tally, *, one_in: int = 1) -> list[DataProblem]:
    """Return what was noted of rows that are kept; of duplicates and leakage only one row in `one_in` was compared."""
    return [
        _noted(PROBLEMS[name], noted.counts[name] * (one_in if name in ("duplicate", "leakage") else 1), noted, name)
        for name in PROBLEMS
        if noted.counts[name]
    ]


def _noted(problem: _Problem, count: int, noted: Tally, name: str) -> DataProblem:
    about = "about " if count != noted.counts[name] else ""
    message = f"{about}{_rows(count)}: {problem.what}."
    return DataProblem(problem.code, problem.severity, count, noted.rows(name), message, problem.fix)


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def no_row_left(checked: int, dropped: Tally, layout: str) -> DataProblem:
    """Return the error of data of which no row can be trained on."""
    reasons: Mapping[str, str] = job_module("rows").DROP_REASONS
    why = "; ".join(f"{count:,} x {reasons[reason]}" for reason, count in dropped.counts.most_common(3))
    message = f"No row can be trained on: {why}. The rows hold: {layout}." if checked else "The data has no rows."
    mend = next((_DROP_FIXES.get(reason) for reason, _ in dropped.counts.most_common(1)), None)
    fix = mend or (
        "Mend the rows, or say with columns what to read." if checked else "Give a file or split that has rows."
    )
    first = tuple(sorted({row for reason in dropped.counts for row in dropped.rows(reason)})[:FIRST_ROWS])
    return DataProblem("data.nonempty", Severity.ERROR, checked, first, message, fix)


def no_rows(split: str) -> DataProblem:
    """Return the error of data without any row, or of a slice in which none lies."""
    if "[" not in split:
        return no_row_left(0, Tally(), "")
    message = f"The slice {split} holds no row of the data."
    fix = f"Give one that lies within it, as in {split.partition('[')[0]}[:1000]."
    return DataProblem("data.nonempty", Severity.ERROR, 0, (), message, fix)


def unwanted_problems(column: str, bad: int, looked_at: int, method: str) -> tuple[DataProblem, ...]:
    """Return the word on answers that a column marks as bad, where the method learns from all answers alike."""
    if not bad:
        return ()
    message = (
        f"{column} marks the answers of {bad} of the first {looked_at} rows as bad, and {method} trains on them too."
    )
    fix = "Train with method=kto, which learns from good and bad answers, or leave the bad ones out."
    return (DataProblem("data.bad_answers", Severity.WARNING, bad, (), message, fix),)


def other_methods(columns: Mapping[str, Mapping[str, str]]) -> tuple[DataProblem, ...]:
    """Return the word on methods that suit the data once columns are named: those columns for each."""
    fixes = {
        method: f'Give method="{method}" and columns={json.dumps([f"{target}={source}" for target, source in each.items()])}.'
        for method, each in columns.items()
    }
    return tuple(
        DataProblem(
            "data.more_methods", Severity.INFO, 0, (), f"{method} is possible too, once columns are named.", fix
        )
        for method, fix in fixes.items()
    )


def label_problems(desirable: int, undesirable: int, weights: tuple[float, float]) -> list[DataProblem]:
    """Return what is wrong with the balance of desirable and undesirable answers, with the weights that mend it."""
    count = desirable + undesirable
    if not count:
        return []
    if not desirable or not undesirable:
        which = "desirable" if desirable else "undesirable"
        message = f"All {count:,} answers are {which}: there is nothing to tell apart."
        return [DataProblem("kto.balance", Severity.WARNING, count, (), message, "Add answers of the other kind.")]
    low, high = KTO_RATIO
    ratio = desirable * weights[0] / (undesirable * weights[1])
    if low <= round(ratio, 2) <= high:
        return []
    message = (
        f"{desirable:,} answers are desirable and {undesirable:,} undesirable: their weighted ratio is {ratio:.2f}, "
        f"and KTO learns best between {low:g} and {high:g}."
    )
    # The smaller of the two is weighed up, to the nearer end of the range.
    needed = (
        f"desirable_weight={_up(undesirable * weights[1] * low / desirable):g}"
        if ratio < low
        else f"undesirable_weight={_up(desirable * weights[0] / (undesirable * high)):g}"
    )
    fix = f'Give trainer_args=["{needed}"].'
    return [DataProblem("kto.balance", Severity.WARNING, count, (), message, fix)]


def _up(weight: float) -> float:
    """Return a weight with two digits, rounded up so that the ratio does not fall short."""
    return -(-weight * 100 // 1) / 100


def media_problems(columns: Iterable[str], checked: int) -> list[DataProblem]:
    """Return the word on columns that hold pictures or sound, which are not read."""
    names = ", ".join(columns)
    if not names:
        return []
    message = f"The column {names} holds bytes, such as images or sound; a text model cannot read it."
    fix = "Only text is trained on: go on if the text makes sense without it."
    return [DataProblem("data.vision", Severity.WARNING, checked, (), message, fix)]


def coverage_problems(checked: int, total: int | None, *, complete: bool) -> list[DataProblem]:
    """Return the word on rows that nobody looked at."""
    if complete:
        return []
    of = f" of {total:,}" if total else ""
    message = f"{checked:,}{of} rows were looked at before time or size set an end; the others may hold other faults."
    return [DataProblem("data.coverage", Severity.INFO, checked, (), message)]
