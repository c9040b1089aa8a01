"""One look at a data set: what it holds, what becomes of it, what is wrong with its rows."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trl_mcp.data import problems
from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import SampledRow
from trl_mcp.data.scan import RowScan, Texts, needed_columns
from trl_mcp.data.sources import Progress, Row, RowReader, RowSource, read_split, split_part
from trl_mcp.data.wishes import RowWishes, check_targets
from trl_mcp.errors import InvalidArguments, NotPossible
from trl_mcp.render.templates import job_module
from trl_mcp.values import DataProblem, DataReport, Severity, Verdict

# The method that is shown where none was named: the first of these that the rows suit. Any prompt suits grpo, so that
# the steps of prm come before it.
METHODS_IN_ORDER = ("sft", "dpo", "kto", "prm", "grpo")
PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look found: the report, converted rows to measure more on, and the lengths of all kept rows."""

    report: DataReport
    sample: tuple[SampledRow, ...] = ()
    lengths: Lengths = field(default_factory=Lengths)


def look_at(source: RowSource, wishes: RowWishes, deadline: float, progress: Progress | None = None) -> Scan:
    """Convert and check every row as the job will, until the deadline (seconds of time.monotonic).

    `progress` is told rows done and rows in all (None: not known), five times a second at most. Raises NotFound for
    a split that is not there, InvalidArguments for columns that are not there, UnreadableData for a file that is not
    what its name says.
    """
    if wishes.method:
        check_targets(wishes.method, wishes.columns)
    reader = read_split(source, "dataset_split", wishes.split, deadline)
    if wishes.eval_split is not None:
        split_part(source, "eval_split", wishes.eval_split)
    report = DataReport(source.name, source.fingerprint, revision=source.revision, rows_total=reader.rows_total)
    head = reader.head()
    if not head:
        if not reader.complete:
            raise NotPossible(
                f"No row of {source.name} could be read in time.", next_step="Call again. Nothing was started."
            )
        nothing = problems.no_rows(wishes.split)
        return Scan(replace(report, verdict=Verdict.INVALID, complete=True, problems=(nothing,)))
    report = replace(
        report,
        columns=tuple(job_module("conversion").column_names(head)),
        methods_ok=tuple(job_module("rows").suitable_methods(head, wishes.has_chat_template)),
    )
    fits, faults = _try_methods(head, wishes)
    if not fits:
        return Scan(_unclear(report, faults, source, wishes))
    method, conversion = _best_fit(fits, head)
    report = replace(
        report,
        layout=conversion.layout,
        conversion=conversion.sentence,
        use=_use(source, wishes, method, wishes.columns),
        columns=_rewarded(conversion) if method in job_module("layouts").PROMPT_METHODS else report.columns,
        problems=(
            *(_unwanted_answers(head, method, wishes) if "kto" in report.methods_ok else ()),
            *problems.verdict_problems(wishes.columns, job_module("conversion").verdict_beside(head, wishes.columns)),
            *problems.other_methods(
                {name: error.suggestions[0] for name, error in faults.items() if error.suggestions}
            ),
        ),
    )
    return _Look(source, wishes, deadline, _Pace(progress)).scan(reader, method, conversion, report)


def _rewarded(conversion: Any) -> tuple[str, ...]:
    """Return the columns that a reward can read: those that are passed on beside the prompt."""
    return tuple(conversion.shaper.others)


def _unwanted_answers(head: Sequence[Row], method: str, wishes: RowWishes) -> tuple[DataProblem, ...]:
    """Return a warning where every answer is learned from and the data marks some of them as bad."""
    if method not in ("sft", "gkd"):
        return ()
    conversion = job_module("conversion")
    rules = conversion.RowRules("kto", system_prompt=wishes.system_prompt, chat_template=wishes.has_chat_template)
    judged = conversion.find_conversion(head, rules)
    label = judged.shaper.parts.get("label")
    usable = [row for row in head if conversion.converts(judged.shaper, row)]
    bad = sum(not judged.convert(row)[0]["label"] for row in usable)
    return problems.unwanted_problems(label.source.column, bad, len(head), method) if label is not None else ()


class _Pace:
    """Tells of progress, not too often."""

    def __init__(self, tell: Progress | None) -> None:
        self._tell = tell
        self._next = 0.0

    def reached(self, rows: int, total: int | None) -> None:
        if self._tell is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._tell(rows, total)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the rows of a split, and of the one to evaluate on."""

    source: RowSource
    wishes: RowWishes
    deadline: float
    pace: _Pace

    def scan(self, reader: RowReader, method: str, conversion: Any, report: DataReport) -> Scan:
        """Look at every row and return the report with what was found."""
        scan = RowScan(conversion)
        self._run(scan, reader)
        found = [
            *([] if scan.kept else [problems.no_row_left(scan.checked, scan.dropped, conversion.layout)]),
            *problems.dropped_problems(scan.dropped),
            *problems.noted_problems(scan.noted, one_in=scan.texts.one_in),
            *problems.media_problems(reader.byte_columns, scan.checked),
        ]
        if method == "kto" and reader.complete:
            found += problems.label_problems(scan.labels[True], scan.labels[False], self.wishes.weights)
        if self.wishes.eval_split is not None:
            found += self._leakage(conversion, scan.texts)
        rows_total = reader.rows_total if reader.rows_total is not None else self._said_total()
        found += problems.coverage_problems(scan.checked, rows_total, complete=reader.complete)
        found += [DataProblem("data.converted", Severity.INFO, 0, (), note) for note in self.source.notes]
        report = replace(
            report,
            verdict=Verdict.READY if scan.kept else Verdict.INVALID,
            rows_total=rows_total,
            rows_checked=scan.checked,
            rows_kept=scan.kept,
            complete=reader.complete,
            problems=(*found, *report.problems),
        )
        return Scan(report, scan.sample.rows(), Lengths.of(scan.characters))

    def _run(self, scan: RowScan, reader: RowReader) -> None:
        for chunk in reader.chunks(needed_columns(scan.conversion)):
            scan.take(chunk)
            self.pace.reached(scan.checked, reader.rows_total)

    def _said_total(self) -> int | None:
        """Return how many rows others say the split has, where the whole of it is meant."""
        part = split_part(self.source, "dataset_split", self.wishes.split)
        is_whole = part.start is None and part.stop is None
        return self.source.rows_total.get(self.source.canonical(part.name)) if is_whole else None

    def _leakage(self, conversion: Any, trained: Texts) -> list[DataProblem]:
        """Return which rows of the split to evaluate on were trained on; an error where none of them can be used."""
        reader = read_split(self.source, "eval_split", self.wishes.eval_split or "", self.deadline)
        scan = RowScan(conversion, trained)
        self._run(scan, reader)
        found = problems.noted_problems(scan.noted, one_in=trained.one_in)
        found = [problem for problem in found if problem.code == "data.leakage"]
        if not scan.kept and reader.complete:
            nothing = problems.no_row_left(scan.checked, scan.dropped, conversion.layout)
            found.append(replace(nothing, message=f"eval_split {self.wishes.eval_split}: {nothing.message}"))
        return found


def _try_methods(head: Sequence[Row], wishes: RowWishes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the conversion for each method that rows suit, and for the others the error that says what is lacking."""
    conversion, unclear = job_module("conversion"), job_module("columns").UnclearColumnsError
    fits: dict[str, Any] = {}
    faults: dict[str, Any] = {}
    for method in (wishes.method,) if wishes.method else METHODS_IN_ORDER:
        rules = conversion.RowRules(method, wishes.columns, wishes.system_prompt, wishes.has_chat_template)
        try:
            fits[method] = conversion.find_conversion(head, rules)
        except unclear as error:
            faults[method] = error
    return fits, faults


def _best_fit(fits: Mapping[str, Any], head: Sequence[Row]) -> tuple[str, Any]:
    """Return the first method that most rows suit, else that any suit, with its conversion."""
    share = job_module("conversion").share_kept
    return next((fit for fit in fits.items() if share(fit[1].shaper, head) >= 0.5), next(iter(fits.items())))


def _unclear(report: DataReport, faults: Mapping[str, Any], source: RowSource, wishes: RowWishes) -> DataReport:
    """Return the report on rows of which it is not clear what to train on: what the most promising method lacks.

    Raises InvalidArguments for wrong columns.
    """
    method, error = min(faults.items(), key=lambda fault: fault[1].verdict != Verdict.NEEDS_COLUMNS)
    if isinstance(error, job_module("columns").WrongColumnsError):
        raise InvalidArguments(f"{error}.", next_step="Nothing was started.") from None
    suggested: Mapping[str, str] = dict(wishes.columns) | error.suggestions[0] if error.suggestions else {}
    use = _use(source, wishes, method, suggested)
    others = f"The data suits: {', '.join(report.methods_ok)}." if report.methods_ok else ""
    fix = (
        f"Give columns={json.dumps(use['columns'], ensure_ascii=False)}, or other columns in their place."
        if suggested
        else others
    )
    problem = DataProblem("data.columns", Severity.ERROR, 0, (), f"{error}.", fix)
    return replace(
        report,
        layout=", ".join(error.names),
        verdict=Verdict(error.verdict),
        use=use if suggested else {},
        problems=(problem,),
    )


def _use(source: RowSource, wishes: RowWishes, method: str | None, columns: Mapping[str, str]) -> dict[str, object]:
    """Return the arguments to pass on."""
    given = {
        "method": method,
        "dataset": source.reference,
        "dataset_split": wishes.split if wishes.split != "train" else None,
        "columns": [f"{target}={place}" for target, place in columns.items()],
        "system_prompt": wishes.system_prompt,
    }
    return {name: value for name, value in given.items() if value}
