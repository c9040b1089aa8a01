"""Show what a model will see of a data set, before it costs anything."""

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trl_mcp.context import CallContext
from trl_mcp.plan.validation import DataQuestion, look_at_data
from trl_mcp.schema import Arguments, NameTexts, NameValues, Result, Texts
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.fields import MethodName
from trl_mcp.tools.trained_models import finished_model
from trl_mcp.values import DataProblem, DataReport, Severity, ToolName, Verdict


class ValidateDataset(Arguments):
    """Which data, and for what."""

    dataset: str = Field(
        description="Hub id (owner/name:config@revision), https URL, or absolute path of a .jsonl, .json, .csv (each "
        "also .gz) or .parquet file or a folder of them"
    )
    method: MethodName | None = Field(None, description="what to train with it; none: says which methods it suits")
    model: str | None = Field(
        None, description="Hub id, absolute path or job id: rows are counted in its tokens; none: no token counts"
    )
    dataset_split: str = Field("train", description='split, slices work: "train[:10%]". Default train')
    columns: NameTexts = Field(
        {}, description='["target=source"], only where the verdict needs_columns asks for it; "use" has what to pass'
    )
    system_prompt: str | None = Field(None, description="put before every conversation")
    max_length: Annotated[int, Field(ge=8)] | None = Field(
        None, description="tokens a row is cut at; none: the length that 99 % of the rows fit in"
    )
    trainer_args: NameValues = Field(
        {}, description='["name=value"] that decide what is trained on: packing, assistant_only_loss, eos_token, ...'
    )
    rewards: Texts = Field((), description="as in submit_training: checked against the columns of the data")
    reward_code: str | None = Field(None, description="as in submit_training: parsed, never run here")


class ProblemResult(BaseModel):
    """A fault of some rows: how many, the numbers of the first ones (from 0), the mend."""

    model_config = ConfigDict(frozen=True)

    code: str
    severity: str
    count: int
    rows: list[int]
    message: str
    fix: str = ""


class TokensResult(BaseModel):
    """Tokens in a row as the model sees it; `total` is of all kept rows."""

    model_config = ConfigDict(frozen=True)

    p50: int
    p95: int
    p99: int
    max: int
    total: int
    rows_measured: int


class UseResult(BaseModel):
    """Arguments to pass on as they stand."""

    model_config = ConfigDict(frozen=True)

    method: str | None = None
    dataset: str | None = None
    dataset_split: str | None = None
    columns: list[str] | None = None
    system_prompt: str | None = None
    max_length: int | None = None
    trainer_args: list[str] | None = None


class DataResult(Result):
    """What the rows hold, what becomes of them, and what is wrong with them."""

    verdict: Verdict = Field(description="ready; needs_columns: pass columns as in use; invalid: no row can be used")
    layout: str = Field("", description="what the rows hold")
    conversion: str = Field("", description="what becomes of a row, in one sentence")
    use: UseResult = Field(description="the exact arguments to pass on")
    methods_ok: list[str] = Field(description="methods the data suits")
    rows_total: int | None = None
    rows_checked: int
    rows_kept: int
    problems: list[ProblemResult] = Field(default_factory=list[ProblemResult])
    tokens: TokensResult | None = None
    truncated_pct: float | None = Field(None, description="share of rows cut or dropped at max_length")
    trained_pct: float | None = Field(None, description="share of tokens that are trained on")
    untrained_rows: int | None = Field(None, description="rows without a trained token")
    example: str | None = Field(None, description="one row as the model sees it, the trained part marked")
    revision: str | None = Field(None, description="commit of the data set")


async def validate_dataset(arguments: ValidateDataset, context: CallContext) -> DataResult:
    """Check every row of a data set and show what a model would see of it: layout, how it is converted, what is wrong
    with which rows, lengths in tokens, how much is trained on. Without a method it says which methods the data suits.
    Costs nothing and starts nothing.
    """
    question = DataQuestion(**arguments.model_dump())
    if question.model is not None:
        question = replace(question, model=await finished_model(question.model, context))
    report, findings = await look_at_data(question, context.gathering)
    notes = [DataProblem(each.code, each.severity, 0, (), each.message, each.fix) for each in findings]
    return data_result(replace(report, problems=(*report.problems, *notes)))


def data_result(report: DataReport) -> DataResult:
    """Return a report as a client gets it."""
    tokens = report.tokens
    found = [*report.problems, *(tokens.problems if tokens else ())]
    problems = sorted(found, key=lambda problem: list(Severity).index(problem.severity))
    lengths = tokens and TokensResult(
        p50=tokens.p50,
        p95=tokens.p95,
        p99=tokens.p99,
        max=tokens.longest,
        total=tokens.total,
        rows_measured=tokens.rows_measured,
    )
    return DataResult(
        verdict=report.verdict,
        layout=report.layout,
        conversion=report.conversion,
        use=UseResult.model_validate(report.use),
        methods_ok=list(report.methods_ok),
        rows_total=report.rows_total,
        rows_checked=report.rows_checked,
        rows_kept=report.rows_kept,
        problems=[problem_result(problem) for problem in problems],
        tokens=lengths,
        truncated_pct=tokens and tokens.truncated_pct,
        trained_pct=tokens and tokens.trained_pct,
        untrained_rows=tokens and tokens.untrained_rows,
        example=(tokens and tokens.example) or None,
        revision=report.revision,
    )


def problem_result(problem: DataProblem) -> ProblemResult:
    """Return a problem as a client gets it."""
    return ProblemResult(
        code=problem.code,
        severity=problem.severity.value,
        count=problem.count,
        rows=list(problem.rows),
        message=problem.message,
        fix=problem.fix,
    )


TOOL = Tool(
    name=ToolName.VALIDATE_DATASET,
    title="Check a data set",
    arguments=ValidateDataset,
    result=DataResult,
    run=validate_dataset,
    reads_only=True,
)
