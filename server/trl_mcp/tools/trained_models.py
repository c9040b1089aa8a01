"""Models that jobs have made, or will have made: a job id becomes the place of its model."""

import re
from dataclasses import dataclass, field, replace
from typing import cast

from trl_mcp.backends.base import Job, Stage
from trl_mcp.backends.local import is_local_id
from trl_mcp.context import CallContext
from trl_mcp.errors import InvalidArguments, NotPossible
from trl_mcp.monitor.status import report_job
from trl_mcp.plan.place import LOCAL
from trl_mcp.plan.plan import PLAN_ID
from trl_mcp.recipes.judges import is_judge
from trl_mcp.recipes.recipe import Asked
from trl_mcp.tools.job_ids import find_job, split_id
from trl_mcp.values import ToolName, call

_TEACHERS = ("teacher_model", "teacher_model_name_or_path")
_HUB_JOB = re.compile(r"[0-9a-f]{24}")
_WEIGHT = re.compile(r"(.+?)(:[0-9.]+)?")


@dataclass
class _Found:
    """What the job ids of one call mean: the run that made each model, and the jobs that are still at it."""

    made_by: dict[str, str] = field(default_factory=dict[str, str])
    after: list[str] = field(default_factory=list[str])


async def with_trained_models(asked: Asked, context: CallContext) -> Asked:
    """Return what was asked with the models of jobs in the place of their ids.

    Raises UnknownJob, InvalidArguments for a job that makes no model or has failed, NotPossible for one on the Hub that
    is not finished.
    """
    found = _Found()
    model = await _place(asked.model, found, context)
    rewards = [await _weighed(entry, found, context) for entry in asked.rewards]
    trainer_args = dict(asked.trainer_args)
    for name in _TEACHERS:
        if isinstance(text := trainer_args.get(name), str):
            trainer_args[name] = await _place(text, found, context)
    return replace(
        asked,
        model=model,
        rewards=tuple(rewards),
        trainer_args=trainer_args,
        made_by={**asked.made_by, **found.made_by},
        after=(*asked.after, *found.after),
    )


async def finished_model(text: str, context: CallContext) -> str:
    """Return the folder or repository of a finished job's model; any other text as it is.

    Raises UnknownJob, InvalidArguments for a job that makes no model or has failed, NotPossible for one that is not
    finished.
    """
    found = _Found()
    place = await _place(text, found, context)
    for job_id in found.after:
        raise await _not_finished(await find_job(job_id, context), context)
    return place


def is_job_id(text: str) -> bool:
    """Tell whether a text has the shape of a job id, and so is no name of a model."""
    _, bare = split_id(text)
    return is_local_id(bare) or bool(_HUB_JOB.fullmatch(bare))


async def _weighed(entry: str, found: _Found, context: CallContext) -> str:
    if is_judge(entry.strip()):
        return entry
    match = cast("re.Match[str]", _WEIGHT.fullmatch(entry.strip() or "?"))
    return await _place(match[1], found, context) + (match[2] or "")


async def _place(text: str, found: _Found, context: CallContext) -> str:
    """Return the folder or repository of a job's model; any other text as it is."""
    if PLAN_ID.fullmatch(text):
        raise InvalidArguments(
            f"{text} is a plan: there is no model until its run has ended.",
            next_step=f"{call(ToolName.START_JOB, id=text)} starts it; then give its job id. Nothing was started.",
        )
    if not is_job_id(text):
        return text
    job = await find_job(text, context)
    if job.kind != "training":
        raise InvalidArguments(
            f"{job.id} is no training; it makes no model to train on.", next_step="Nothing was started."
        )
    if job.stage.is_terminal and job.stage is not Stage.COMPLETED:
        raise InvalidArguments(
            f"{job.id} ended as {job.stage}; its model is not finished.",
            next_step=f"{call(ToolName.START_JOB, id=job.id)} goes on with it. Nothing was started.",
        )
    place = job.output_path if job.namespace == LOCAL else job.output_repo
    if not job.stage.is_terminal:
        if job.namespace != LOCAL:
            raise await _not_finished(job, context)
        found.after.append(job.id)
    found.made_by[place] = job.run
    return place


async def _not_finished(job: Job, context: CallContext) -> NotPossible:
    report = await report_job(context.backend_of(job), job, context.server.clock(), context.secrets())
    left = report.progress.eta_s or report.next_check_s or 0
    return NotPossible(
        f"{job.id}, which makes that model, is not finished: {job.stage}, about {left} s left.",
        next_step=f"Call again then; {call(ToolName.JOB_STATUS, job_id=job.id, wait_seconds=20)} tells. Nothing was started.",
    )
