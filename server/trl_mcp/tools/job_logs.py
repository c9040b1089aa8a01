"""What a job has printed."""

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from trl_mcp.backends.base import Job
from trl_mcp.context import CallContext
from trl_mcp.errors import InvalidArguments
from trl_mcp.monitor.logs import LogView, NearFault, filtered_view, metrics_view, script_view, tail_view
from trl_mcp.monitor.progress import parse_line
from trl_mcp.schema import Arguments, Result, shorten
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.job_ids import find_job
from trl_mcp.values import ToolName

_CURSOR = re.compile(r"[0-9]{1,18}")


class JobLogs(Arguments):
    """Which part of a job's log."""

    job_id: str = Field(description="id of the job")
    show: Literal["tail", "errors", "metrics", "samples", "script"] = Field("tail", description="Default tail")
    pattern: str | None = Field(None, description="only lines that contain this text, anywhere in the log")
    lines: Annotated[int, Field(ge=1, le=1000)] = Field(
        40, description="at most so many, 200 bytes each on average. Default 40"
    )
    cursor: str | None = Field(None, description="of the call before: only what came after it")


class JobLogsResult(Result):
    """Lines of a log, and the cursor to read on from."""

    lines: list[str]
    cursor: str
    omitted: int = Field(0, description="lines left out for room")


async def job_logs(arguments: JobLogs, context: CallContext) -> JobLogsResult:
    """Read a job's log: its end, what went wrong, the metrics, the samples before and after training, or its script.
    Colours, progress bars and secrets are removed.
    """
    job = await find_job(arguments.job_id, context)
    view = await _view(job, arguments, context)
    return JobLogsResult(lines=view.lines, cursor=str(view.cursor), omitted=view.omitted)


async def _view(job: Job, arguments: JobLogs, context: CallContext) -> LogView:
    backend, secrets, lines = context.backend_of(job), context.secrets(), arguments.lines
    cursor = _cursor(arguments.cursor)
    if arguments.show == "script":
        return script_view(await backend.script(job.id), lines, cursor, arguments.pattern or "", secrets)
    if arguments.show == "tail" and arguments.pattern is None:
        return await tail_view(backend, job, lines, cursor, secrets)
    if arguments.show == "metrics":
        return await metrics_view(backend, job, lines, cursor, arguments.pattern or "", secrets)
    return await filtered_view(backend, job, lines, cursor, _filter(job, arguments), secrets)


def _filter(job: Job, arguments: JobLogs) -> Callable[[str], bool]:
    """Return what a line must be to be shown: of the kind asked for, and with the pattern in it."""
    pattern = arguments.pattern or ""
    if arguments.show == "errors":
        near_fault = NearFault(job.run_tag)
        return lambda line: near_fault(line) and pattern in line
    is_tail = arguments.show == "tail"
    return lambda line: pattern in line and (is_tail or _is_sample(line, job.run_tag))


def _is_sample(line: str, tag: str) -> bool:
    event = parse_line(line, tag)
    return event is not None and event.kind == "sample"


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not _CURSOR.fullmatch(text):
        raise InvalidArguments(
            f'cursor cannot be "{shorten(text)}".', allowed="It is the cursor of an earlier answer, as it was."
        )
    return int(text)


TOOL = Tool(
    name=ToolName.JOB_LOGS,
    title="Read a job's log",
    arguments=JobLogs,
    result=JobLogsResult,
    run=job_logs,
    reads_only=True,
)
