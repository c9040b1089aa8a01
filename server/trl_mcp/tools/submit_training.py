"""Check the data and start one training run."""

from dataclasses import fields
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from trl_mcp.context import CallContext
from trl_mcp.plan.training import plan_training
from trl_mcp.recipes.recipe import Asked
from trl_mcp.schema import Arguments, NameTexts, NameValues, Texts
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.fields import AcceptedCodes, MethodName
from trl_mcp.tools.ready_made import fetching, with_ready_made
from trl_mcp.tools.submission import Consent, SubmissionResult, carry_out, place_wish, usd
from trl_mcp.tools.trained_models import with_trained_models
from trl_mcp.tools.translation import translate_training
from trl_mcp.values import ToolName


class SubmitTraining(Arguments):
    """What to train, on what, and how."""

    method: MethodName = Field(
        description="sft: learn answers; dpo, orpo, cpo, kto: preferences; reward, prm: make a reward model; grpo, rloo, "
        "online_dpo, ppo: learn from rewards; distillation, gkd: learn from a teacher"
    )
    model: str = Field(
        description="Hub id (owner/name@revision), absolute path of a model folder, or the job id of a finished run, "
        "whose adapter is continued"
    )
    dataset: str = Field(
        description="Absolute path of a .jsonl, .json, .csv (each also .gz) or .parquet file or a folder of them; "
        "or a Hub id (owner/name:config@revision), or an https URL of such a file"
    )
    dataset_split: str = Field("train", description='split, slices work: "train[:10%]". Default train')
    eval_split: str | None = Field(None, description='a split, or a share of the rows to hold out: "0.05"')
    columns: NameTexts = Field(
        {},
        description='["target=source"], rarely needed: layouts are recognised; targets: prompt, completion, messages, '
        "text, chosen, rejected, label, system, tools or a column a reward reads; a source is a column, a path (turns.0), a "
        'text with {columns} or "answer | after ####"; role.bot=assistant names a speaker',
    )
    system_prompt: str | None = Field(None, description="put before every conversation")
    tuning: Literal["lora", "qlora", "full"] = Field("lora", description="Default lora")
    epochs: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Default: the method's; max_steps in trainer_args wins"
    )
    learning_rate: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Default: the method's, for adapters ten times that of full"
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="rows (grpo, rloo: prompts) per optimizer step over all devices. Default: the method's"
    )
    max_length: Annotated[int, Field(ge=8)] | None = Field(
        None, description="tokens a row is cut at. Default: what 99 % of the rows fit in, 4096 at most"
    )
    trainer_args: NameValues = Field(
        {},
        description='["name=value"]: any other field of the method\'s TRL config or of LoraConfig (lora_r, lora_alpha, '
        "...), report_to (trackio), teacher_model, strategy, preset (trl-jobs), config (text or https URL of a TRL YAML)",
    )
    rewards: Texts = Field(
        (),
        description="for methods that learn from rewards: functions of reward_code, TRL's (accuracy_reward, ...), a "
        "reward model's Hub id, folder or job id, or judge:<Hub id>: a chat model on Inference Providers, paid apart, "
        'that scores 0 to 1 by judge_rubric in trainer_args (a text with {columns}); ":0.2" behind it weighs',
    )
    reward_code: str | None = Field(
        None,
        description="Python functions over plain strings: def name(completions, prompts, <data columns>) -> one number "
        "per completion",
    )
    output_repo: str | None = Field(
        None,
        description="Hub repository for the model, made where missing; a local job pushes only to one that is named",
    )
    private: bool = Field(True, description="Default true")
    merge: bool = Field(False, description="with an adapter, also write the merged model. Default false")
    hardware: str = Field(
        "auto",
        description="auto: the cheapest that fits, without a token this machine; local: this machine, free; or a flavor "
        "of Hugging Face Jobs (t4-small, a100-large, ...): the resource hardware://all lists them with their prices",
    )
    timeout: str = Field("auto", description="auto: from the estimate, on this machine none; or 90m, 2h, ...")
    namespace: str | None = Field(None, description="user or organisation that pays. Default: yours")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="cap on price x timeout; a paid job without it comes back as a plan"
    )
    accept: AcceptedCodes = Field(
        (), description="codes of error findings to go on with; never money, permission, secrets or no row left"
    )
    dry_run: bool = Field(False, description="only check; returns a plan for start_job")


async def submit_training(arguments: SubmitTraining, context: CallContext) -> SubmissionResult:
    """Fine-tune a model on a data set: checks the arguments and every row, starts the run in the background and
    returns its job_id at once. What would fail or train on nothing is refused and nothing is started. The same call
    twice is one job. Follow the run with job_status.
    """
    arguments, brought = await with_ready_made(arguments, fetching(context))
    attempts = context.server.settings.attempts
    limits = [usd(arguments.max_cost_usd), context.server.settings.max_usd_per_job]
    cap = min((limit for limit in limits if limit is not None), default=None)
    wanted = await with_trained_models(asked(arguments), context)
    said = (*context.findings, *brought)
    plan = await plan_training(wanted, place_wish(arguments), context.gathering, attempts, said, cap)
    consent = Consent(arguments.dry_run, usd(arguments.max_cost_usd), accept=arguments.accept)
    return await carry_out(plan, consent, context)


def asked(arguments: SubmitTraining) -> Asked:
    """Return what was asked of the training, apart from where it runs."""
    given = {field.name for field in fields(Asked)} & set(SubmitTraining.model_fields)
    return Asked(**arguments.model_dump(include=given))


TOOL = Tool(
    name=ToolName.SUBMIT_TRAINING,
    title="Start a training",
    arguments=SubmitTraining,
    result=SubmissionResult,
    run=submit_training,
    translate=partial(translate_training, SubmitTraining),
)
