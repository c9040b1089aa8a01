"""A data set looked at for its own sake: the question that validate_dataset asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from trl_mcp.data.wishes import RowWishes
from trl_mcp.plan.gather import model_report
from trl_mcp.plan.looking import Look, LookedModel, Looking, look, with_reward_columns
from trl_mcp.plan.place import Gathering
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.references import dataset_reference, model_reference
from trl_mcp.recipes.rewards import read_rewards
from trl_mcp.recipes.trainer_arguments import check_trainer_arguments
from trl_mcp.recipes.wishes import take_wishes
from trl_mcp.values import DataReport, Finding


@dataclass(frozen=True, slots=True)
class DataQuestion:
    """The arguments of validate_dataset; None where nothing was said."""

    dataset: str
    method: str | None = None
    model: str | None = None
    dataset_split: str = "train"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    max_length: int | None = None
    trainer_args: Mapping[str, object] = field(default_factory=dict[str, object])
    rewards: tuple[str, ...] = ()
    reward_code: str | None = None


async def look_at_data(question: DataQuestion, gathering: Gathering) -> tuple[DataReport, tuple[Finding, ...]]:
    """Return what a training would see of the data, and what could not be looked at.

    Raises what recipes say of arguments, and files and Hub of references, that cannot be used.
    """
    config = _config(question)
    needed, remarks = _reward_columns(question)
    looked_model, has_template = await _model(question.model, gathering)
    wishes = RowWishes(
        question.method,
        question.dataset_split,
        columns=question.columns,
        system_prompt=question.system_prompt,
        has_chat_template=has_template or "chat_template_path" in config,
    )
    looking = Looking(dataset_reference(question.dataset), wishes, None, looked_model, config)
    found = await look(looking, gathering, completes=True)
    report = with_reward_columns(found.report, needed)
    return _with_length(report, question, found), (*found.findings, *remarks)


def _config(question: DataQuestion) -> dict[str, object]:
    """Return the fields of the trainer's config that were named. Raises InvalidArguments."""
    given = take_wishes(question.trainer_args).trainer_args
    config = check_trainer_arguments(METHODS[question.method or "sft"].config_name, given).config
    return config | ({"max_length": question.max_length} if question.max_length is not None else {})


def _reward_columns(question: DataQuestion) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    if question.method is None or not (question.rewards or question.reward_code):
        return (), ()
    method = METHODS[question.method]
    rubric = take_wishes(question.trainer_args).judge_rubric
    wished = read_rewards(method, question.rewards, question.reward_code, question.system_prompt, rubric)
    return wished.columns, wished.findings


async def _model(text: str | None, gathering: Gathering) -> tuple[LookedModel | None, bool]:
    """Return the model to count tokens for, and whether conversations can be rendered (as far as is known)."""
    if text is None:
        return None, True
    reference = model_reference(text)
    report = await model_report(reference, gathering)
    name = reference.short_name if reference.is_folder else reference.id
    revision = report.fingerprint if reference.is_folder else cast(str, report.commit)
    return LookedModel(reference, revision, name), report.has_chat_template is not False


def _with_length(report: DataReport, question: DataQuestion, found: Look) -> DataReport:
    """Return the report with the max_length that the rows call for among the arguments to pass on."""
    if question.model is None or found.max_length is None or question.max_length == found.max_length:
        return report
    return replace(report, use={**report.use, "max_length": found.max_length})
