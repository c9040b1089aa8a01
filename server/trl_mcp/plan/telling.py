"""What a look at data found, in words: one line, and findings."""

import math

from trl_mcp.values import DataProblem, DataReport, Finding, Severity


def data_line(data: DataReport, eval_split: str | float | None = None) -> str:
    """Return what is known of the data in one line."""
    if not data.rows_checked and not data.problems:
        return f"{data.name}: not looked at before the job"
    share = "" if data.complete else "the first "
    kept = f"{data.rows_kept} of {share}{data.rows_checked} rows kept"
    held_out = math.ceil(data.rows_kept * eval_split) if isinstance(eval_split, float) else 0
    tokens = data.tokens
    parts = (
        f"{data.name}: {kept}",
        f"{held_out} of them held out at random" if held_out else "",
        data.layout,
        data.conversion,
        f"{tokens.p50} tokens in the middle, {tokens.p99} at most in 99 %" if tokens and tokens.rows_measured else "",
        "" if tokens else "tokens not counted",
    )
    return ", ".join(part.rstrip(".") for part in parts if part)


def data_findings(data: DataReport) -> list[Finding]:
    """Return what is wrong with the data: every problem of its rows and of their tokens."""
    if not data.rows_checked and not data.problems:
        message = f"{data.name} was not looked at: the job stops within a minute where no row can be used."
        return [Finding("data.unchecked", Severity.INFO, message)]
    found = [*data.problems, *(data.tokens.problems if data.tokens else ())]
    return [Finding(each.code, each.severity, _with_rows(each), each.fix) for each in found]


def _with_rows(problem: DataProblem) -> str:
    if not problem.rows:
        return problem.message
    first = ", ".join(map(str, problem.rows))
    return f"{problem.message.rstrip('.')} (row{'s' if len(problem.rows) > 1 else ''} {first}{_more(problem)})."


def _more(problem: DataProblem) -> str:
    return ", ..." if problem.count > len(problem.rows) else ""
