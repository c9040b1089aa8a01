"""The one list of checks, what runs it, and what a caller may accept."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trl_mcp.checks.check import Check, Gathered
from trl_mcp.checks.elsewhere import ELSEWHERE, Place
from trl_mcp.checks.judges import JUDGE_CHECKS
from trl_mcp.checks.models import MODEL_CHECKS
from trl_mcp.checks.training import TRAINING_CHECKS
from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import Finding, Severity

CHECKS: tuple[Check, ...] = (*MODEL_CHECKS, *TRAINING_CHECKS, *JUDGE_CHECKS)
# Money, permission and secrets are not the caller's to wave through; without a row there is nothing to train on, and
# of what llama.cpp does not convert no file can be made.
_NEVER_ACCEPTED = ("money.", "auth.")
_NEVER_ACCEPTED_CODES = frozenset({"data.nonempty", "data.columns", "job.secret", "tracking.secret"}) | {
    entry.code for entry in ELSEWHERE if entry.place is Place.CONVERSION and entry.severity is Severity.ERROR
}


def run_checks(gathered: Gathered) -> list[Finding]:
    """Return what all checks find, errors first."""
    found = [finding for check in CHECKS if (finding := check.run(gathered)) is not None]
    return errors_first(found)


def errors_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of their severity."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def known_codes() -> list[str]:
    """Return the codes of all checks, wherever they are made."""
    return sorted({entry.code for entry in (*CHECKS, *ELSEWHERE)})


def check_accepted(codes: Sequence[str]) -> None:
    """Raise InvalidArguments for a code that is no check of ours."""
    known = known_codes()
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise InvalidArguments(
            f'accept: no check has the code "{shorten(unknown[0])}".{did_you_mean(unknown[0], known)}',
            allowed="accept takes codes of error findings, such as hw.memory.",
            next_step="Call without accept to see the findings with their codes. Nothing was started.",
        )


def is_acceptable(code: str) -> bool:
    """Whether a caller may go on in spite of an error of this code."""
    return not code.startswith(_NEVER_ACCEPTED) and code not in _NEVER_ACCEPTED_CODES


def accepted(findings: Iterable[Finding], codes: Sequence[str]) -> tuple[Finding, ...]:
    """Return the findings with those errors turned into warnings whose codes the caller accepts, where one may."""
    return tuple(_accept(finding) if finding.code in codes else finding for finding in findings)


def _accept(finding: Finding) -> Finding:
    if finding.severity is not Severity.ERROR:
        return finding
    if is_acceptable(finding.code):
        return replace(finding, severity=Severity.WARNING, message=f"Accepted: {finding.message}")
    return replace(finding, fix=f"{finding.fix} {finding.code} cannot be accepted.".strip())
