"""Convert a model to GGUF files that are proven to do what the original does."""

from typing import Annotated

from pydantic import Field

from trl_mcp.backends.base import Stage
from trl_mcp.context import CallContext
from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.gguf import KIND, ConversionAsked, plan_conversion
from trl_mcp.plan.place import LOCAL
from trl_mcp.recipes.gguf import DEFAULT_QUANTIZATIONS
from trl_mcp.schema import Arguments, Texts
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.job_ids import find_job
from trl_mcp.tools.submission import Consent, SubmissionResult, carry_out, place_wish, usd
from trl_mcp.tools.trained_models import is_job_id
from trl_mcp.values import ToolName, call

_NO_TEXT = ("reward", "prm")


class ConvertGguf(Arguments):
    """What to convert, and into which types."""

    model: str = Field(
        description="the job id of a finished training, a Hub id (owner/name@revision), or the absolute path of a model "
        "folder; a whole model or an adapter"
    )
    quantizations: Texts = Field(
        DEFAULT_QUANTIZATIONS,
        description="Q2_K, Q3_K_S/M/L, Q4_K_S/M, Q5_K_S/M, Q6_K, Q8_0, IQ4_XS, IQ4_NL, F16, BF16. Default Q4_K_M, Q8_0",
    )
    base_model: str | None = Field(None, description="only for an adapter that does not name its base, or another one")
    output_repo: str | None = Field(
        None,
        description="Hub repository for the files, made where missing; a local job pushes only to one that is named",
    )
    private: bool = Field(True, description="Default true")
    hardware: str = Field(
        "auto",
        description="auto: this machine without a token, else the cheapest flavor of Hugging Face Jobs with the room; "
        "local, or a flavor: CPU ones do",
    )
    timeout: str = Field("auto", description="90m, 2h, ...; auto: from the model's size")
    namespace: str | None = Field(None, description="user or organisation that pays. Default: yours")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="cap on price x timeout; a paid job without it comes back as a plan"
    )
    dry_run: bool = Field(False, description="only check; returns a plan for start_job")


async def convert_gguf(arguments: ConvertGguf, context: CallContext) -> SubmissionResult:
    """Convert a model, or an adapter merged into its base, to GGUF files for Ollama, llama.cpp and LM Studio. Each file
    is loaded and compared with the original (tokens, chat template, answers, divergence) before it is published.
    Starts in the background and returns its job_id; job_status tells the files and the command that runs them.
    """
    asked = await asked_conversion(arguments, context)
    plan = await plan_conversion(asked, place_wish(arguments), context.gathering, context.server.settings.attempts)
    return await carry_out(plan, Consent(arguments.dry_run, usd(arguments.max_cost_usd)), context)


async def asked_conversion(arguments: ConvertGguf, context: CallContext) -> ConversionAsked:
    """Return what was asked, with the model of a job in the place of its id.

    Raises UnknownJob, InvalidArguments for a job that has made no model to convert.
    """
    asked = ConversionAsked(arguments.model, arguments.quantizations, arguments.base_model)
    if not is_job_id(arguments.model):
        return asked
    job = await find_job(arguments.model, context)
    if job.kind == KIND or job.method in _NO_TEXT:
        raise InvalidArguments(
            f"{job.id} ({job.method}) makes no model that writes text.", next_step="Nothing was started."
        )
    if job.stage is not Stage.COMPLETED:
        following = call(ToolName.START_JOB, id=job.id) if job.stage.is_terminal else _wait_for(job.id)
        raise InvalidArguments(
            f"{job.id} is {job.stage}; its model is not finished.", next_step=f"{following} first. Nothing was started."
        )
    place = job.output_path if job.namespace == LOCAL else job.output_repo
    return ConversionAsked(place, arguments.quantizations, arguments.base_model, job.run)


def _wait_for(job_id: str) -> str:
    return call(ToolName.JOB_STATUS, job_id=job_id, wait_seconds=20)


TOOL = Tool(
    name=ToolName.CONVERT_GGUF,
    title="Convert to GGUF",
    arguments=ConvertGguf,
    result=SubmissionResult,
    run=convert_gguf,
)
