"""Say what a training would need, where it could run, how long it takes and what it costs."""

from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trl_mcp.context import CallContext
from trl_mcp.estimate.options import TUNINGS, Option, highest_cost
from trl_mcp.plan.costing import CostQuestion, answer_cost
from trl_mcp.plan.place import AUTO, LOCAL
from trl_mcp.recipes.recipe import Asked
from trl_mcp.schema import Arguments, NameTexts, NameValues, Result
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.fields import MethodName
from trl_mcp.tools.ready_made import fetching, with_ready_made
from trl_mcp.tools.submission import usd
from trl_mcp.tools.trained_models import with_trained_models
from trl_mcp.tools.translation import translate_training
from trl_mcp.values import ToolName


class EstimateCost(Arguments):
    """What would be trained; the arguments of submit_training that matter for memory and time."""

    method: MethodName = Field(description="as in submit_training")
    model: str = Field(description="Hub id, absolute path of a model folder, or job id")
    dataset: str | None = Field(None, description="as in submit_training; or give rows and tokens_per_row")
    rows: Annotated[int, Field(ge=1)] | None = Field(None, description="with tokens_per_row")
    tokens_per_row: Annotated[float, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="mean tokens of a row; of pairs: prompt and one answer; where answers are written: the prompt",
    )
    dataset_split: str = Field("train", description="Default train")
    columns: NameTexts = Field({}, description='["target=source"], as in submit_training')
    tuning: Literal["lora", "qlora", "full"] | None = Field(None, description="none: compares all three")
    epochs: Annotated[float, Field(ge=0)] | None = Field(None, description="Default: the method's")
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="rows per optimizer step over all devices. Default: the method's"
    )
    max_length: Annotated[int, Field(ge=8)] | None = Field(None, description="tokens a row is cut at")
    trainer_args: NameValues = Field({}, description='["name=value"], as in submit_training')
    hardware: str = Field(AUTO, description="auto: the best few; local; or a flavor of Hugging Face Jobs")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="leaves out what could cost more: price x timeout"
    )


class OptionResult(BaseModel):
    """One machine and tuning; hours and USD are missing where it does not fit or its speed is not known."""

    model_config = ConfigDict(frozen=True)

    hardware: str
    tuning: str
    verdict: Literal["fits", "tight", "no"]
    peak_gb: float
    hours_low: float | None = None
    hours_high: float | None = None
    usd_expected: float | None = None
    usd_p90: float | None = None
    usd_ceiling: float | None = None
    timeout_s: int | None = None
    device_batch: int
    reason: str


class CostResult(Result):
    """The options, the best first."""

    options: list[OptionResult]
    cheapest: str | None = None
    fastest: str | None = None
    assumptions: list[str]
    price_age_s: float | None = Field(None, description="age of the prices")


async def estimate_cost(arguments: EstimateCost, context: CallContext) -> CostResult:
    """Estimate before anything is paid: does a training fit (with a fifth to spare), how many hours (half of such runs
    stay below hours_low, nine in ten below hours_high), what it costs, which hardware and tuning to take. Needs the
    data, or rows and tokens_per_row. Costs nothing and starts nothing.
    """
    arguments, brought = await with_ready_made(arguments, fetching(context))
    given = arguments.model_dump(include=set(Asked.__dataclass_fields__) - {"dataset", "tuning"})
    asked = await with_trained_models(Asked(**given, dataset=arguments.dataset or ""), context)
    question = CostQuestion(
        asked=asked,
        tunings=(arguments.tuning,) if arguments.tuning else TUNINGS,
        rows=arguments.rows,
        tokens_per_row=arguments.tokens_per_row,
        hardware=arguments.hardware,
        cap=usd(arguments.max_cost_usd),
        attempts=context.server.settings.attempts,
    )
    found = await answer_cost(question, context.gathering)
    return CostResult(
        options=[option_result(each, question.attempts) for each in found.options],
        cheapest=_name(found.cheapest),
        fastest=_name(found.fastest),
        assumptions=[*found.assumptions, *(finding.message for finding in brought)],
        price_age_s=None if found.price_age_s is None else round(found.price_age_s, 1),
    )


def option_result(found: Option, attempts: int) -> OptionResult:
    """Return an option as a client gets it, with what all attempts can cost at most."""
    told = found.possible
    timeout_s = found.timeout_s if told and found.hardware != LOCAL else None
    hours = [round(value, 2) if told and value is not None else None for value in (found.hours_low, found.hours_high)]
    money = [float(value) if told and value is not None else None for value in (found.usd_expected, found.usd_p90)]
    return OptionResult(
        hardware=found.hardware,
        tuning=found.tuning,
        verdict=found.verdict,  # pyright: ignore[reportArgumentType] # one of the three
        peak_gb=found.peak_gb,
        hours_low=hours[0],
        hours_high=hours[1],
        usd_expected=money[0],
        usd_p90=money[1],
        usd_ceiling=float(highest_cost(found, attempts)) if timeout_s else None,
        timeout_s=timeout_s,
        device_batch=found.device_batch,
        reason=found.reason,
    )


def _name(found: Option | None) -> str | None:
    return f"{found.tuning} on {found.hardware}" if found else None


TOOL = Tool(
    name=ToolName.ESTIMATE_COST,
    title="Estimate a training",
    arguments=EstimateCost,
    result=CostResult,
    run=estimate_cost,
    reads_only=True,
    translate=partial(translate_training, EstimateCost),
)
