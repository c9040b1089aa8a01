"""Check the data and start one training run."""

from dataclasses import fields
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from trl_mcp.context import CallContext
from trl_mcp.plan.place import Wish
from trl_mcp.plan.training import plan_training
from trl_mcp.recipes.defaults import default_value
from trl_mcp.recipes.recipe import TUNINGS, Asked
from trl_mcp.schema import Arguments, NameTexts, NameValues
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.submission import Consent, SubmissionResult, carry_out, usd
from trl_mcp.tools.translation import translate_training
from trl_mcp.values import ToolName


def _defaults(name: str) -> str:
    """Return the defaults of an argument in words: one for all tunings, or each tuning's own."""
    values = {tuning: f"{default_value('sft', tuning, name):g}" for tuning in TUNINGS}
    if len(set(values.values())) == 1:
        return f"Default {values['full']}"
    return "Default " + ", ".join(f"{value} {tuning}" for tuning, value in values.items())


class SubmitTraining(Arguments):
    """What to train, on what, and how."""

    method: Literal["sft"] = Field(description="sft: supervised fine-tuning")
    model: str = Field(description="Hub id (owner/name@revision) or absolute path of a model folder")
    dataset: str = Field(
        description="Absolute path of a .jsonl, .json, .csv (each also .gz) or .parquet file or a folder of them; "
        "or a Hub id (owner/name:config@revision), or an https URL of such a file"
    )
    dataset_split: str = Field("train", description='split, slices work: "train[:10%]". Default train')
    eval_split: str | None = Field(None, description='a split, or a share of the rows to hold out: "0.05"')
    columns: NameTexts = Field(
        {},
        description='["target=source"] where the data names its columns otherwise; targets: prompt and completion, '
        "or messages, or text",
    )
    system_prompt: str | None = Field(None, description="put before every conversation")
    tuning: Literal["lora", "full"] = Field("lora", description="Default lora")
    epochs: Annotated[float, Field(ge=0)] | None = Field(
        None, description=f"{_defaults('epochs')}; max_steps in trainer_args wins"
    )
    learning_rate: Annotated[float, Field(ge=0)] | None = Field(None, description=_defaults("learning_rate"))
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description=f"rows per optimizer step. {_defaults('batch_size')}"
    )
    max_length: Annotated[int, Field(ge=8)] | None = Field(
        None, description=f"tokens a row is cut at. {_defaults('max_length')}"
    )
    trainer_args: NameValues = Field(
        {}, description='["name=value"]: any other field of TRL\'s SFTConfig or of LoraConfig (lora_r, lora_alpha, ...)'
    )
    output_repo: str | None = Field(
        None,
        description="Hub repository for the model, made where missing; a local job pushes only to one that is named",
    )
    private: bool = Field(True, description="Default true")
    hardware: str = Field(
        "auto",
        description="local: this machine, free; or a flavor of Hugging Face Jobs (cpu-basic, t4-small, a100-large, ...): "
        "paid; the resource hardware://all lists them with their prices",
    )
    timeout: str = Field("auto", description="90m, 2h, ...: needed for a paid job; auto: none")
    namespace: str | None = Field(None, description="user or organisation that pays. Default: yours")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="cap on price x timeout; a paid job without it comes back as a plan"
    )
    dry_run: bool = Field(False, description="only check; returns a plan for start_job")


async def submit_training(arguments: SubmitTraining, context: CallContext) -> SubmissionResult:
    """Fine-tune a model on a data set: checks the arguments and every row, starts the run in the background and
    returns its job_id at once. What would fail or train on nothing is refused and nothing is started. The same call
    twice is one job. Follow the run with job_status.
    """
    attempts = context.server.settings.attempts
    plan = await plan_training(asked(arguments), _wish(arguments), context.gathering, attempts, context.findings)
    return await carry_out(plan, Consent(arguments.dry_run, usd(arguments.max_cost_usd)), context)


def asked(arguments: SubmitTraining) -> Asked:
    """Return what was asked of the training, apart from where it runs."""
    return Asked(**arguments.model_dump(include={field.name for field in fields(Asked)}))


def _wish(arguments: SubmitTraining) -> Wish:
    return Wish(**arguments.model_dump(include={field.name for field in fields(Wish)}))


TOOL = Tool(
    name=ToolName.SUBMIT_TRAINING,
    title="Start a training",
    arguments=SubmitTraining,
    result=SubmissionResult,
    run=submit_training,
    translate=partial(translate_training, SubmitTraining),
)
