"""What submit_training and start_job have in common: a plan is refused, kept, or started."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trl_mcp.backends.base import Job, JobSpec
from trl_mcp.context import CallContext
from trl_mcp.plan.plan import Plan
from trl_mcp.schema import Result
from trl_mcp.values import Finding, Severity, ToolName, call

WAIT_SECONDS = 20


class FindingResult(BaseModel):
    """An error or a warning, with the mend."""

    model_config = ConfigDict(frozen=True)

    severity: str
    code: str
    message: str
    fix: str = ""


class SubmissionResult(Result):
    """A plan, and the job where one was started."""

    status: Literal["planned", "submitted", "already_submitted", "refused"]
    job_id: str | None = None
    plan_id: str | None = None
    recipe: str = Field(description="the training in one line, every default spelled out")
    data: str
    where: str
    output_path: str | None = Field(None, description="folder of the finished model")
    timeout_s: int | None = None
    findings: list[FindingResult] = Field(default_factory=list[FindingResult])
    infos: int = Field(0, description="further findings that need no action")
    script_uri: str | None = Field(None, description="resource with the full script")
    next_call: str


async def carry_out(plan: Plan, dry_run: bool, context: CallContext) -> SubmissionResult:
    """Refuse a plan that has error findings, keep it where it is a dry run, else start it."""
    if plan.is_refused:
        return _result("refused", plan, next_call="Mend the errors and call again. Nothing was started.")
    if dry_run:
        plan_id = context.server.plans.save(plan, context.caller)
        return _result(
            "planned",
            plan,
            plan_id=plan_id,
            script_uri=f"plan://{plan_id}/script",
            next_call=call(ToolName.START_JOB, id=plan_id),
        )
    submission = await context.server.local.submit(_spec(plan, context))
    status = "already_submitted" if submission.already_submitted else "submitted"
    return _submitted(status, plan, submission.job)


def already_submitted(plan: Plan, job: Job) -> SubmissionResult:
    """Return the result for a job that is scheduled or running as it is."""
    return _submitted("already_submitted", plan, job)


def _submitted(status: Literal["submitted", "already_submitted"], plan: Plan, job: Job) -> SubmissionResult:
    return _result(
        status,
        plan,
        job_id=job.id,
        output_path=job.output_path,
        script_uri=f"job://{job.namespace}/{job.id}/script",
        next_call=call(ToolName.JOB_STATUS, job_id=job.id, wait_seconds=WAIT_SECONDS),
    )


def _result(
    status: Literal["planned", "submitted", "already_submitted", "refused"], plan: Plan, **values: str
) -> SubmissionResult:
    shown = [finding for finding in plan.findings if finding.severity is not Severity.INFO]
    return SubmissionResult.model_validate(
        {
            "status": status,
            "recipe": plan.recipe,
            "data": plan.data,
            "where": _where(plan),
            "timeout_s": plan.timeout_s,
            "findings": [finding_result(finding) for finding in sorted(shown, key=_errors_first)],
            "infos": len(plan.findings) - len(shown),
            **values,
        }
    )


def finding_result(finding: Finding) -> FindingResult:
    """Return a finding as a client gets it."""
    return FindingResult(severity=finding.severity.value, code=finding.code, message=finding.message, fix=finding.fix)


def _errors_first(finding: Finding) -> bool:
    return finding.severity is not Severity.ERROR


def _where(plan: Plan) -> str:
    limit = f"timeout {plan.timeout_s} s" if plan.timeout_s else "no timeout"
    return f"on this machine, {limit}, free of charge"


def _spec(plan: Plan, context: CallContext) -> JobSpec:
    return JobSpec(
        kind=plan.kind,
        method=plan.method,
        run=plan.run,
        script=plan.script,
        hardware=plan.hardware,
        namespace=plan.namespace,
        timeout_s=plan.timeout_s,
        attempts=plan.attempts,
        secrets={"HF_TOKEN": context.token} if context.token else {},
    )
