"""What submit_training and start_job have in common: a plan is refused, kept, or started."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trl_mcp.backends.base import Job, JobSpec
from trl_mcp.checks.registry import accepted, is_acceptable
from trl_mcp.context import CallContext
from trl_mcp.errors import DayLimitReached
from trl_mcp.estimate.money import at_most
from trl_mcp.hub.storage import data_repo
from trl_mcp.plan.money import day_finding, money_findings, price_words
from trl_mcp.plan.place import AUTO, Wish
from trl_mcp.plan.plan import Plan
from trl_mcp.plan.script import secret_values
from trl_mcp.plan.tracking import dashboard_url, tracking_environment, tracking_secrets
from trl_mcp.schema import Arguments, Result
from trl_mcp.tools.agreeing import day_findings, local_code_findings, obstacles
from trl_mcp.values import Finding, Severity, ToolName, call

WAIT_SECONDS = 20


class FindingResult(BaseModel):
    """An error or a warning, with the mend."""

    model_config = ConfigDict(frozen=True)

    severity: str
    code: str
    message: str
    fix: str = ""


Status = Literal["planned", "submitted", "already_submitted", "refused"]


class SubmissionResult(Result):
    """A plan, and the job where one was started."""

    status: Status
    job_id: str | None = None
    job_url: str | None = None
    dashboard_url: str | None = None
    plan_id: str | None = None
    recipe: str = Field(description="one line, defaults spelled out")
    data: str
    where: str
    output_repo: str | None = Field(None, description="Hub repository of the result")
    output_path: str | None = Field(None, description="folder of the result")
    usd_expected: float | None = None
    usd_ceiling: float | None = Field(None, description="the most it can cost")
    hours_low: float | None = Field(None, description="half of such runs take less")
    hours_high: float | None = Field(None, description="nine in ten take less")
    peak_gb: float | None = Field(None, description="memory at the peak on one device")
    verdict: Literal["fits", "tight", "no"] | None = Field(None, description="fits: with a fifth to spare")
    timeout_s: int | None = None
    findings: list[FindingResult] = Field(default_factory=list[FindingResult])
    infos: int | None = Field(None, description="further findings")
    script_uri: str | None = Field(None, description="resource with the full script")
    next_call: str


@dataclass(frozen=True, slots=True)
class Consent:
    """What the caller agreed to: only a dry run, a cap in USD, or a whole plan that was shown before.

    `accept` are the codes of errors to go on with.
    """

    dry_run: bool = False
    max_cost_usd: Decimal | None = None
    agreed_plan: bool = False
    accept: tuple[str, ...] = ()

    def covers(self, plan: Plan) -> bool:
        """Whether the plan can start without being shown first."""
        if self.dry_run:
            return False
        is_capped = plan.usd_ceiling is None or self.max_cost_usd is not None
        return self.agreed_plan or (is_capped and not plan.needs_consent)


def usd(amount: float | None) -> Decimal | None:
    """Return an amount given as a JSON number."""
    return None if amount is None else Decimal(str(amount))


def place_wish(arguments: Arguments) -> Wish:
    """Return where the arguments of a call want its job to run."""
    return Wish(**arguments.model_dump(include={field.name for field in fields(Wish)}))


async def carry_out(plan: Plan, consent: Consent, context: CallContext) -> SubmissionResult:
    """Refuse a plan that has error findings, keep it where nobody agreed to it yet, else start it."""
    settings = context.server.settings
    firm = [*money_findings(plan, consent.max_cost_usd, settings), *local_code_findings(plan, settings)]
    plan = plan.model_copy(update={"findings": (*accepted(plan.findings, consent.accept), *firm)})
    if plan.is_refused:
        return _refused(plan)
    covered = consent.covers(plan)
    plan = _with(plan, await (obstacles if covered else day_findings)(plan, context))
    if plan.is_refused:
        return _refused(plan)
    return await _start(plan, context) if covered else _keep(plan, context)


def _keep(plan: Plan, context: CallContext) -> SubmissionResult:
    plan_id = context.server.plans.save(plan, context.caller)
    return _result(
        "planned",
        plan,
        plan_id=plan_id,
        script_uri=f"plan://{plan_id}/script",
        next_call=call(ToolName.START_JOB, id=plan_id),
    )


async def _start(plan: Plan, context: CallContext) -> SubmissionResult:
    if plan.upload is not None:
        path = Path(plan.upload)
        await context.server.hub.upload_data(context.token or "", plan.namespace, path, context.report_progress)
    try:
        submission = await context.backend(plan.namespace).submit(_spec(plan, context))
    except DayLimitReached as reached:
        return _refused(_with(plan, [day_finding(plan, reached.spending, context.server.clock())]))
    status = "already_submitted" if submission.already_submitted else "submitted"
    return await _submitted(status, plan, submission.job, context)


def _with(plan: Plan, findings: Sequence[Finding]) -> Plan:
    return plan.model_copy(update={"findings": (*plan.findings, *findings)})


def _refused(plan: Plan) -> SubmissionResult:
    """Return the refusal; where every error may be accepted, with the argument that does it."""
    codes = list(dict.fromkeys(finding.code for finding in plan.findings if finding.severity is Severity.ERROR))
    risk = f" To go on in spite of them: accept={json.dumps(codes)}." if all(map(is_acceptable, codes)) else ""
    return _result("refused", plan, next_call=f"Mend the errors and call again.{risk} Nothing was started.")


async def already_submitted(plan: Plan, job: Job, context: CallContext) -> SubmissionResult:
    """Return the result for a job that is scheduled or running as it is."""
    return await _submitted("already_submitted", plan, job, context)


async def _submitted(status: Status, plan: Plan, job: Job, context: CallContext) -> SubmissionResult:
    return _result(
        status,
        plan,
        job_id=job.id,
        job_url=job.url,
        dashboard_url=await dashboard_url(plan.script, job, context.server.settings) or job.url,
        output_path=job.output_path,
        script_uri=f"job://{job.namespace}/{job.id}/script",
        next_call=call(ToolName.JOB_STATUS, job_id=job.id, wait_seconds=WAIT_SECONDS),
    )


def _result(status: Status, plan: Plan, **values: str) -> SubmissionResult:
    shown = [finding for finding in plan.findings if finding.severity is not Severity.INFO]
    return SubmissionResult.model_validate(
        {
            "status": status,
            "recipe": plan.recipe,
            "data": plan.data,
            "where": _where(plan),
            "output_repo": plan.output_repo,
            **_estimated(plan),
            "usd_ceiling": None if plan.usd_ceiling is None else float(plan.usd_ceiling),
            "timeout_s": plan.timeout_s,
            "findings": [finding_result(finding) for finding in sorted(shown, key=_errors_first)],
            "infos": (len(plan.findings) - len(shown)) or None,
            **{name: value for name, value in values.items() if value},
        }
    )


def _estimated(plan: Plan) -> dict[str, object]:
    found = plan.estimate
    if found is None:
        return {}
    hours = {"hours_low": found.hours_low, "hours_high": found.hours_high}
    return {
        "usd_expected": None if found.usd_expected is None else float(found.usd_expected),
        **{name: None if value is None else round(value, 2) for name, value in hours.items()},
        "peak_gb": found.peak_gb,
        "verdict": found.verdict,
    }


def finding_result(finding: Finding) -> FindingResult:
    """Return a finding as a client gets it."""
    return FindingResult(severity=finding.severity.value, code=finding.code, message=finding.message, fix=finding.fix)


def _errors_first(finding: Finding) -> bool:
    return finding.severity is not Severity.ERROR


def _where(plan: Plan) -> str:
    if plan.usd_ceiling is None:
        limit = f"timeout {plan.timeout_s} s" if plan.timeout_s else "no timeout"
        return f"on this machine, {limit}, free of charge" + (
            f"; pushed to {plan.output_repo}" if plan.output_repo else ""
        )
    paid = f"Hugging Face Jobs in {plan.namespace}: {price_words(plan)} = at most {at_most(plan.usd_ceiling)}"
    if plan.output_repo is None:
        return f"{paid}; only what the script pushes is kept"
    return (
        f"{paid}; the model goes to {plan.output_repo}{' (private)' if plan.wish.get('private') else ''}"
        f"{_uploaded(plan)}{_chosen(plan)}"
    )


def _chosen(plan: Plan) -> str:
    """Return why this hardware, where the caller left it open."""
    return f"; hardware: {plan.estimate.why}" if plan.estimate and plan.wish.get("hardware") == AUTO else ""


def _uploaded(plan: Plan) -> str:
    return f"; the data file goes to the private data set {data_repo(plan.namespace)}" if plan.upload else ""


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
        output_repo=plan.output_repo or "",
        env=tracking_environment(plan.namespace, context.server.settings.home) | _agreed(plan) | plan.env,
        uses_all_devices=plan.uses_all_devices,
        after=plan.after,
        price_micro_usd=plan.price_micro_usd,
        secrets=_secrets(plan, context),
        image=plan.image,
        arguments=plan.arguments,
    )


def _secrets(plan: Plan, context: CallContext) -> dict[str, str]:
    """Return the secrets of the job: of a caller's script those it was given by name, else what trackers need too."""
    if plan.secrets is not None:
        return secret_values(plan.secrets, context.token, context.server.settings)
    own = {"HF_TOKEN": context.token} if context.token else {}
    return own | tracking_secrets(plan.script, context.server.settings.secret_values)


def _agreed(plan: Plan) -> dict[str, str]:
    """Return what the job writes into its model card: the plan, and of a paid job price and ceiling."""
    paid = {"TRL_MCP_PRICE_MICRO_USD": plan.price_micro_usd, "TRL_MCP_CEILING_USD": plan.usd_ceiling}
    return {"TRL_MCP_PLAN": plan.id} | {name: str(value) for name, value in paid.items() if value is not None}
