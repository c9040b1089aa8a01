"""Start a plan, continue a job from its last checkpoint, or run a completed one again."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from trl_mcp.backends.base import SCRIPT, Job
from trl_mcp.context import CallContext
from trl_mcp.errors import InvalidArguments, NotPossible
from trl_mcp.plan.continuation import plan_continuation
from trl_mcp.plan.gguf import KIND, ConversionAsked, plan_conversion
from trl_mcp.plan.place import LOCAL, Wish, find_place
from trl_mcp.plan.plan import Plan
from trl_mcp.plan.script import permission_findings, plan_script, script_changes, secret_facts
from trl_mcp.plan.timeouts import timeout_seconds
from trl_mcp.plan.training import changes, plan_training, wish_of
from trl_mcp.recipes.recipe import Asked
from trl_mcp.recipes.script import ScriptAsked
from trl_mcp.schema import Arguments, NameValues
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.fields import AcceptedCodes
from trl_mcp.tools.job_ids import find_job
from trl_mcp.tools.submission import Consent, SubmissionResult, already_submitted, carry_out, usd
from trl_mcp.tools.translation import translate_training
from trl_mcp.values import Finding, ToolName, call


class StartJob(Arguments):
    """What to start, and what changes."""

    id: str = Field(description="a plan_id, or the id of a job that has ended")
    trainer_args: NameValues = Field(
        {},
        description='["name=value"] for a job: batch split, larger max_steps or num_train_epochs, save and log settings',
    )
    hardware: str | None = Field(None, description="for a paid job: another flavor")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="cap on price x timeout; continuing a paid job without it comes back as a plan"
    )
    timeout: str | None = Field(None, description="for a job: 90m, 2h, ...; left out: as before")
    accept: AcceptedCodes = Field(
        (), description="codes of error findings to go on with; never money, permission, secrets or no row left"
    )
    dry_run: bool = Field(False, description="only check; returns a plan")


async def start_job(arguments: StartJob, context: CallContext) -> SubmissionResult:
    """Start a plan of a dry run; continue a failed, cancelled or timed-out job from its last checkpoint; run a
    completed job again. The new job has an id and an output folder of its own. Two calls on one id start one job.
    """
    is_plan = arguments.id.strip().startswith("plan-")
    if is_plan:
        plan = await _plan(arguments, context)
    else:
        job = await find_job(arguments.id, context)
        script = await context.backend_of(job).script(job.id)
        if not job.stage.is_terminal and _has_changes(arguments):
            raise NotPossible(
                f"{job.id} is {job.stage}; nothing about it can change now.",
                next_step=f"Stop it first: {call(ToolName.CANCEL_JOB, job_id=job.id)}.",
            )
        if not job.stage.is_terminal:
            unchanged = StartJob.model_validate({"id": job.id})
            plan = await _continuation(job, script, unchanged, context)
            return await already_submitted(plan, job, context)
        plan = await _continuation(job, script, arguments, context)
    consent = Consent(arguments.dry_run, usd(arguments.max_cost_usd), is_plan, arguments.accept)
    return await carry_out(plan, consent, context)


async def _continuation(job: Job, script: str, arguments: StartJob, context: CallContext) -> Plan:
    timeout_s = timeout_seconds(arguments.timeout) if arguments.timeout is not None else job.timeout_s
    hardware = arguments.hardware or job.hardware
    namespace = None if LOCAL in (hardware, job.namespace) else job.namespace
    wish = Wish(hardware, f"{timeout_s}s" if timeout_s else "auto", namespace)
    place = await find_place(wish, context.gathering, context.server.settings.attempts)
    if place.is_local != (job.namespace == LOCAL):
        raise InvalidArguments(
            f"{job.id} ran on {job.hardware} and cannot move to {place.hardware}: its checkpoints stay where they are.",
            next_step="Leave hardware out, or name another flavor of the same backend. Nothing was started.",
        )
    asked = arguments.model_dump(include={"trainer_args", "hardware", "timeout"}, exclude_none=True)
    plan = plan_continuation(job, script, arguments.trainer_args, place)
    if plan.secrets is not None:
        settings = context.server.settings
        denied = permission_findings(plan.secrets, place, context.token, settings)
        facts = plan.facts | secret_facts(plan.secrets, context.token, settings)
        plan = plan.model_copy(update={"findings": (*plan.findings, *denied), "facts": facts})
    return plan.model_copy(update={"asked": asked})


def _has_changes(arguments: StartJob) -> bool:
    return any(
        (arguments.trainer_args, arguments.accept, arguments.timeout is not None, arguments.hardware is not None)
    )


async def _plan(arguments: StartJob, context: CallContext) -> Plan:
    """Return the plan as it was agreed. Raises NotPossible naming what has changed since."""
    if _has_changes(arguments):
        raise InvalidArguments(
            "A plan is started as it was agreed: only max_cost_usd and dry_run can be given with it.",
            next_step=f"For other values repeat {ToolName.SUBMIT_TRAINING} with dry_run=true. Nothing was started.",
        )
    plan = context.server.plans.load(arguments.id.strip(), context.caller)
    moved = (script_changes if plan.kind == SCRIPT else changes)(plan, await _made_again(plan, context))
    if moved:
        raise NotPossible(
            f"Since the plan was made, {' and '.join(moved)}.",
            next_step="Repeat the dry run. Nothing was started.",
        )
    return plan


async def _made_again(plan: Plan, context: CallContext) -> Plan:
    """Return the plan that the same arguments make now."""
    if plan.continues is None and plan.kind == SCRIPT:
        asked, settings = ScriptAsked(**plan.asked), context.server.settings
        return await plan_script(asked, wish_of(plan.wish), context.gathering, settings, is_agreed=True)
    if plan.continues is None and plan.kind == KIND:
        attempts = context.server.settings.attempts
        return await plan_conversion(ConversionAsked(**plan.asked), wish_of(plan.wish), context.gathering, attempts)
    if plan.continues is None:
        attempts = context.server.settings.attempts
        return await plan_training(Asked(**plan.asked), wish_of(plan.wish), context.gathering, attempts)
    job = await find_job(f"{plan.namespace}/{plan.continues}", context)
    script = await context.backend_of(job).script(job.id)
    return await _continuation(job, script, StartJob(id=job.id, **plan.asked), context)


def _translate(given: Mapping[str, object]) -> tuple[dict[str, object], tuple[Finding, ...]]:
    return translate_training(StartJob, given)


TOOL = Tool(
    name=ToolName.START_JOB,
    title="Start a plan, continue a job",
    arguments=StartJob,
    result=SubmissionResult,
    run=start_job,
    translate=_translate,
)
