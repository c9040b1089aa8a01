"""Progress lines: one line of JSON on stdout for each thing that happens, for whoever watches the job.

A line reads `TRL_MCP <tag> {"kind": ..., ...}`. The tag is random for each job, so that nothing else that is
printed can pass for a progress line.
"""

import json
import math
import os
import secrets
import sys
from types import TracebackType
from typing import Any

PROGRESS_TAG = os.environ.get("TRL_MCP_RUN_TAG") or secrets.token_hex(8)
MESSAGE_LIMIT = 2000


def report(kind: str, **fields: Any) -> None:
    """Print one progress line; of several processes only the first one prints."""
    if not is_first_process():
        return
    line = json.dumps({"kind": kind, **plain_value(fields)}, allow_nan=False)
    sys.stdout.write(f"TRL_MCP {PROGRESS_TAG} {line}\n")
    sys.stdout.flush()


def is_first_process() -> bool:
    """Tell whether this is the one of several training processes that speaks and writes for all."""
    return os.environ.get("RANK", "0") == "0"


def plain_value(value: Any) -> Any:
    """Return the value as strict JSON can hold it: "nan" and "inf" for such numbers, numbers for tensors."""
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, str | int):
        return value
    return plain_value(value.item()) if hasattr(value, "item") else str(value)


class JobStage:
    """A part of the job: an exception that ends it becomes an `error` line, then goes on its way."""

    def __init__(self, where: str) -> None:
        """Name the part for the `error` line."""
        self.where = where

    def __enter__(self) -> None:
        """Begin the part."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Report what ended the part, unless it ended well or by an exit code."""
        message = failure_message(error)
        if message:
            report("error", where=self.where, message=message[:MESSAGE_LIMIT])


def failure_message(error: BaseException | None) -> str:
    """Say what an exception means to a reader; nothing for none and for a mere exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, str) else ""
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else ""
