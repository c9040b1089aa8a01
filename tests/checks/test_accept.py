"""Which errors a caller may go on with, and which never."""

import ast
from pathlib import Path

import pytest

from trl_mcp.checks.elsewhere import ELSEWHERE
from trl_mcp.checks.registry import CHECKS, accepted, check_accepted, is_acceptable, known_codes
from trl_mcp.data.problems import PROBLEMS, Tally, dropped_problems
from trl_mcp.errors import InvalidArguments
from trl_mcp.render.templates import job_module
from trl_mcp.values import Finding, Severity

SERVER = Path(__file__).parents[2] / "server/trl_mcp"
NEVER = ["auth.jobs", "auth.write", "data.nonempty", "job.secret", "money.cap", "money.day", "money.limit"]


def error(code: str) -> Finding:
    return Finding(code, Severity.ERROR, "It is wrong.", "Mend it.")


def test_an_accepted_error_becomes_a_warning_that_says_so() -> None:
    memory, timeout = accepted([error("hw.memory"), error("job.timeout")], ["hw.memory"])
    assert (memory.severity, memory.message) == (Severity.WARNING, "Accepted: It is wrong.")
    assert timeout == error("job.timeout")


@pytest.mark.parametrize("code", NEVER)
def test_money_permission_secrets_and_no_row_left_stay_errors(code: str) -> None:
    (finding,) = accepted([error(code)], [code])
    assert finding.severity is Severity.ERROR
    assert finding.fix == f"Mend it. {code} cannot be accepted."


def test_every_error_about_money_or_permission_is_among_those_never_accepted() -> None:
    codes = {entry.code for entry in ELSEWHERE if entry.severity is Severity.ERROR and entry.code in known_codes()}
    assert [code for code in codes if code.split(".")[0] in ("money", "auth", "tracking") and is_acceptable(code)] == []


def test_a_code_that_is_no_check_is_met_with_what_may_be_meant() -> None:
    with pytest.raises(InvalidArguments, match=r'no check has the code "hw.memry". Did you mean "hw.memory"\?'):
        check_accepted(["job.timeout", "hw.memry"])
    check_accepted(known_codes())


def test_no_code_is_listed_twice() -> None:
    codes = [entry.code for entry in (*CHECKS, *ELSEWHERE)]
    assert sorted(codes) == known_codes()


def test_every_code_that_the_server_can_give_is_listed() -> None:
    dropped = Tally()
    for reason in job_module("rows").DROP_REASONS:
        dropped.add(reason, 0)
    given = {code for path in SERVER.rglob("*.py") for code in codes_in(path)}
    given |= {problem.code for problem in (*PROBLEMS.values(), *dropped_problems(dropped))}
    assert sorted(given - set(known_codes())) == []


def codes_in(path: Path) -> set[str]:
    """Return the codes written out in a module, where a finding is made."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    firsts = [
        call.args[0] for call in calls if getattr(call.func, "id", "") in ("Finding", "DataProblem") and call.args
    ]
    return {node.value for node in firsts if isinstance(node, ast.Constant) and isinstance(node.value, str)}
