"""Frozen values that rooms hand to each other, and the names that must exist only once."""

from dataclasses import dataclass
from enum import StrEnum


class ToolName(StrEnum):
    """The tools an agent can call."""

    SUBMIT_TRAINING = "submit_training"
    START_JOB = "start_job"
    JOB_STATUS = "job_status"
    JOB_LOGS = "job_logs"
    CANCEL_JOB = "cancel_job"


class Severity(StrEnum):
    """How much a finding matters: an error stops the submission unless it is accepted by its code."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: what is wrong or was translated, and the mend."""

    code: str
    severity: Severity
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a scan of a data set found. Counts are rows; `rows_checked` is less than all where time ran out."""

    name: str
    layout: str
    conversion: str
    rows_checked: int
    rows_kept: int
    complete: bool
    fingerprint: str
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of a model without loading it; `has_chat_template` is None where it was not looked at."""

    name: str
    fingerprint: str
    has_chat_template: bool | None = None


def call(tool: ToolName, **arguments: object) -> str:
    """Return the literal call of a tool that an agent can make next."""
    given = ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items())
    return f"{tool}({given})"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
