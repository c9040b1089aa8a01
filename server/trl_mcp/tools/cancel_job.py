"""Stop a job."""

from time import monotonic

import anyio
from pydantic import Field

from trl_mcp.context import CallContext
from trl_mcp.monitor.status import report_job
from trl_mcp.schema import Arguments, Result
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.job_ids import find_job
from trl_mcp.values import ToolName, call

_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.1


class CancelJob(Arguments):
    """Which job."""

    job_id: str = Field(description="id of the job")


class CancelJobResult(Result):
    """The job after it was asked to stop."""

    job_id: str
    stage: str
    resume_step: int | None = Field(None, description="checkpoint that start_job goes on from")
    next_call: str


async def cancel_job(arguments: CancelJob, context: CallContext) -> CancelJobResult:
    """Stop a job: it finishes the step (or evaluation) it is in and saves a checkpoint, which start_job continues
    from. Answers when it has stopped, after 20 s at the latest.
    """
    job = await find_job(arguments.job_id, context)
    backend = context.backend_of(job)
    job = await backend.cancel(job.id)
    deadline = monotonic() + _WAIT_SECONDS
    while not job.stage.is_terminal and monotonic() < deadline:
        await anyio.sleep(_POLL_SECONDS)
        job = await backend.inspect(job.id)
    report = await report_job(backend, job, context.server.clock(), context.secrets())
    following = ToolName.START_JOB if job.stage.is_terminal else ToolName.JOB_STATUS
    argument = {"id": job.id} if job.stage.is_terminal else {"job_id": job.id}
    return CancelJobResult(
        job_id=job.id,
        stage=job.stage.value,
        resume_step=report.progress.resume_step,
        next_call=call(following, **argument),
    )


TOOL = Tool(
    name=ToolName.CANCEL_JOB,
    title="Stop a job",
    arguments=CancelJob,
    result=CancelJobResult,
    run=cancel_job,
    is_destructive=True,
)
