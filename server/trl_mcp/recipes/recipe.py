"""The recipe: what the user wants, validated and complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.batch import group_size, split_batch
from trl_mcp.recipes.defaults import lora_defaults
from trl_mcp.recipes.evaluation import best_model, evaluation
from trl_mcp.recipes.extras import dependencies
from trl_mcp.recipes.limits import check_nested, check_ranges
from trl_mcp.recipes.method import Method
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.references import DatasetReference, ModelReference, dataset_reference, model_reference
from trl_mcp.recipes.rewards import Reward, read_rewards, reward_models
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.recipes.sharding import check_strategy, shards
from trl_mcp.recipes.trainer_arguments import TrainerArguments, argument_table, check_trainer_arguments
from trl_mcp.recipes.tuning import check_tuning
from trl_mcp.recipes.wishes import take_wishes
from trl_mcp.values import Finding

RECIPE_VERSION = 1
TUNINGS = ("lora", "qlora", "full")
_TEACHER = "teacher_model_name_or_path"


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a training as they were given; None where nothing was said.

    `made_by` maps models that jobs have made, by their folder or repository, to the key of the run; `after` are the
    local jobs among them that are not finished yet.
    """

    method: str
    model: str
    dataset: str
    dataset_split: str = "train"
    eval_split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    tuning: str = "lora"
    epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    trainer_args: Mapping[str, object] = field(default_factory=dict[str, object])
    rewards: tuple[str, ...] = ()
    reward_code: str | None = None
    merge: bool = False
    made_by: Mapping[str, str] = field(default_factory=dict[str, str])
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training with every default spelled out.

    `config` holds the fields of the trainer's config, `lora` those of LoraConfig (None for full fine-tuning).
    `dependencies` are packages that the script needs beside its template's own, `reward_columns` the columns of the
    data that the rewards read. `identity` is what names the run: what was asked with fixed defaults, nothing measured
    or derived.
    """

    method: str
    template: str
    model: ModelReference
    dataset: DatasetReference
    dataset_split: str
    eval_split: str | float | None
    columns: dict[str, str]
    system_prompt: str | None
    tuning: str
    batch_size: int
    config: dict[str, object]
    lora: dict[str, object] | None
    identity: dict[str, object]
    merge: bool = False
    strategy: str | None = None
    report_to: tuple[str, ...] = ()
    rewards: tuple[Reward, ...] = ()
    reward_code: str | None = None
    reward_columns: tuple[str, ...] = ()
    teacher: ModelReference | None = None
    dependencies: tuple[str, ...] = ()
    made_by: Mapping[str, str] = field(default_factory=dict[str, str])
    findings: tuple[Finding, ...] = ()

    @property
    def reward_models(self) -> tuple[ModelReference, ...]:
        """The reward models that the job loads."""
        return reward_models(self.rewards)

    @property
    def max_length_given(self) -> bool:
        """Whether somebody named the max_length; else it follows from the rows."""
        return "max_length" in cast(Mapping[str, object], self.identity["config"])


def make_recipe(asked: Asked) -> Recipe:
    """Return the complete recipe of what was asked. Raises InvalidArguments with the faults found."""
    method, wishes = METHODS[asked.method], take_wishes(asked.trainer_args)
    checked = check_trainer_arguments(method.config_name, wishes.trainer_args)
    lora, targets = check_tuning(asked.tuning, checked, merge=asked.merge)
    check_strategy(wishes.strategy, asked.method, asked.tuning, merge=asked.merge)
    rewards = read_rewards(method, asked.rewards, asked.reward_code, asked.system_prompt, wishes.judge_rubric)
    config = _merge_tool_arguments(asked, method, checked.config)
    eval_split, held_out = evaluation(method, asked.eval_split, config)
    best = best_model(method, config)
    batch_size = split_batch(method, asked.tuning, asked.batch_size, config)
    check_ranges(config)
    check_nested(config)
    _check_rules(method, config)
    if wishes.report_to:
        config["report_to"] = list(wishes.report_to)
    libraries = [reward.name for reward in rewards.rewards if reward.kind == "trl"]
    recipe = Recipe(
        method=asked.method,
        template=asked.method,
        model=model_reference(asked.model),
        dataset=dataset_reference(asked.dataset),
        dataset_split=asked.dataset_split,
        eval_split=eval_split,
        columns=dict(asked.columns),
        system_prompt=asked.system_prompt,
        tuning=asked.tuning,
        batch_size=batch_size,
        config=config,
        lora=None if lora is None else lora_defaults() | lora,
        identity={},
        merge=asked.merge,
        made_by=asked.made_by,
        strategy=wishes.strategy,
        report_to=wishes.report_to,
        rewards=rewards.rewards,
        reward_code=asked.reward_code,
        reward_columns=rewards.columns,
        teacher=_teacher(method, config),
        dependencies=dependencies(asked.tuning, config, libraries, wishes.report_to, wishes.strategy),
        findings=_findings(checked, targets, held_out, best) + rewards.findings,
    )
    return replace(recipe, identity=_identity(recipe, asked, given=checked.config))


def _findings(checked: TrainerArguments, *others: Finding | None) -> tuple[Finding, ...]:
    return (*checked.findings, *(finding for finding in others if finding is not None))


def one_line(run: Mapping[str, object], model: str, devices: int = 1) -> str:
    """Return the RUN literal of a training on so many devices in one line, the defaults that matter spelled out."""
    method = METHODS[str(run["method"])]
    config, lora = (cast(Mapping[str, object], run[name] or {}) for name in ("config", "lora"))
    trainer = argument_table(method.config_name)
    shown = {name: trainer[name].default for name in _SPELLED_OUT if name in trainer} | dict(config)
    device, steps = (cast(int, shown.pop(name)) for name in _BATCH_SPLIT)
    summed = f"accumulated x {devices} devices" if devices > 1 else "accumulated"
    max_steps, epochs = cast(int, shown.pop("max_steps", -1)), cast(float, shown.pop("num_train_epochs", 0))
    parts = [
        f"{run['method']} {run['tuning']} of {model}",
        f"{max_steps} steps" if max_steps > 0 else f"{epochs:g} epochs",
        f"batch_size {device * steps * devices // group_size(method, config)} ({device} per device x {steps} {summed})",
        *(f"{name} {_plain(value)}" for name, value in shown.items()),
        *(f"lora_{name.removeprefix('lora_')} {_plain(value)}" for name, value in lora.items()),
        *_reward_names(run),
    ]
    return ", ".join(parts)


_BATCH_SPLIT = (DEVICE_BATCH, ACCUMULATION)
_SPELLED_OUT = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "packing",
    "beta",
    "num_generations",
    "seed",
)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(_plain(each) for each in cast(list[object], value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reward_names(run: Mapping[str, object]) -> list[str]:
    entries = cast(list[dict[str, object]], run.get("rewards") or [])
    weighed = (f"{each['name']}" + (f":{_plain(each['weight'])}" if each.get("weight") else "") for each in entries)
    return [f"rewards {' '.join(weighed)}"] if entries else []


def _merge_tool_arguments(asked: Asked, method: Method, config: dict[str, object]) -> dict[str, object]:
    """Return the config with the tool's own arguments in it, defaults where neither names them."""
    _refuse_length(asked, method)
    merged: dict[str, object] = {}
    for field_name, argument in _OF_THE_TOOL:
        value = cast(float | None, getattr(asked, argument))
        if value is not None and config.get(field_name, value) != value:
            raise InvalidArguments(
                f"{argument} is {value} and trainer_args has {field_name}={config[field_name]}.",
                next_step="Give it once. Nothing was started.",
            )
        default = method.default(argument, asked.tuning)
        if default is not None:
            merged[field_name] = value if value is not None else config.get(field_name, default.value)
    return merged | dict(method.fields) | {name: value for name, value in config.items() if name not in merged}


_OF_THE_TOOL = (("num_train_epochs", "epochs"), ("learning_rate", "learning_rate"), ("max_length", "max_length"))


def _refuse_length(asked: Asked, method: Method) -> None:
    if asked.max_length is None or method.default("max_length", asked.tuning) is not None:
        return
    raise InvalidArguments(
        f"{method.name} has no max_length: prompts are taken whole, and the model's own answers are limited.",
        next_step=f"Use {method.answer_length} in trainer_args. Nothing was started.",
    )


def _teacher(method: Method, config: dict[str, object]) -> ModelReference | None:
    """Return the model to learn from, its id without a revision left in the config."""
    if not method.needs_teacher:
        return None
    name = config.get(_TEACHER)
    if not isinstance(name, str):
        raise InvalidArguments(
            f"{method.name} needs a teacher to learn from.",
            next_step='Give trainer_args=["teacher_model=<a larger model of the same family>"]. Nothing was started.',
        )
    reference = model_reference(name)
    config[_TEACHER] = reference.id
    return reference


def _check_rules(method: Method, config: Mapping[str, object]) -> None:
    faults = [fault for rule in method.rules if (fault := rule(config)) is not None]
    if faults:
        raise InvalidArguments(" ".join(faults), next_step="Nothing was started.")


def _identity(recipe: Recipe, asked: Asked, given: Mapping[str, object]) -> dict[str, object]:
    """Return what names the run: the arguments with fixed defaults, without what was derived."""
    derived = _DERIVED - set(given) - ({"max_length"} if asked.max_length is not None else set[str]())
    rewards = {"rewards": [reward.as_run() for reward in recipe.rewards], "reward_code": recipe.reward_code}
    return {
        "method": recipe.method,
        "dataset_split": recipe.dataset_split,
        "eval_split": recipe.eval_split,
        "columns": recipe.columns,
        "system_prompt": recipe.system_prompt,
        "tuning": recipe.tuning,
        "batch_size": recipe.batch_size,
        "config": {name: value for name, value in recipe.config.items() if name not in derived},
        "lora": recipe.lora,
        **(rewards if recipe.rewards else {}),
        **({"merge": True} if recipe.merge else {}),
        **({"strategy": recipe.strategy} if shards(recipe.strategy) else {}),
        **({"teacher_revision": recipe.teacher.revision} if recipe.teacher else {}),
    }


_DERIVED = {
    DEVICE_BATCH,
    ACCUMULATION,
    "per_device_eval_batch_size",
    "save_steps",
    "save_strategy",
    "max_length",
    "report_to",
}
