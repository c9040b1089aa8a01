"""The recipe: what the user wants, validated and complete."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.defaults import default_value, lora_defaults
from trl_mcp.recipes.names import OWNED
from trl_mcp.recipes.references import DatasetReference, ModelReference, dataset_reference, model_reference
from trl_mcp.recipes.trainer_arguments import argument_table, check_trainer_arguments
from trl_mcp.values import Finding, Severity

RECIPE_VERSION = 1
_CONFIGS = {"sft": "SFTConfig"}
_LARGEST_DEVICE_BATCH = 8
_HOLD_OUT = 0.05

TUNINGS = ("lora", "full")


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a training as they were given; None where nothing was said."""

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


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training with every default spelled out.

    `config` holds the fields of the trainer's config, `lora` those of LoraConfig (None for full fine-tuning).
    `identity` is what names the run: what was asked with fixed defaults, nothing measured or derived.
    """

    method: str
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
    findings: tuple[Finding, ...] = ()


def make_recipe(asked: Asked) -> Recipe:
    """Return the complete recipe of what was asked. Raises InvalidArguments with every fault found."""
    checked = check_trainer_arguments(_CONFIGS[asked.method], asked.trainer_args)
    if asked.tuning == "full" and checked.lora:
        given = ", ".join(checked.lora)
        raise InvalidArguments(
            f'{given}: only for tuning "lora".', next_step="Leave it out, or set tuning to lora. Nothing was started."
        )
    config = _merge_tool_arguments(asked, checked.config)
    findings = list(checked.findings)
    batch_size = _split_batch(asked, config)
    check_ranges(config)
    check_nested(config)
    eval_split = _evaluation(asked, config, findings)
    _best_model(config, findings)
    lora = lora_defaults() | checked.lora if asked.tuning == "lora" else None
    recipe = Recipe(
        method=asked.method,
        model=model_reference(asked.model),
        dataset=dataset_reference(asked.dataset),
        dataset_split=asked.dataset_split,
        eval_split=eval_split,
        columns=dict(asked.columns),
        system_prompt=asked.system_prompt,
        tuning=asked.tuning,
        batch_size=batch_size,
        config=config,
        lora=lora,
        identity={},
        findings=tuple(findings),
    )
    return replace(recipe, identity=_identity(recipe, asked, given=checked.config))


def one_line(run: Mapping[str, object], model: str) -> str:
    """Return the RUN literal of a training in one line, the defaults that matter spelled out."""
    config, lora = (cast(Mapping[str, object], run[name] or {}) for name in ("config", "lora"))
    trainer = argument_table(_CONFIGS[str(run["method"])])
    shown = {name: trainer[name].default for name in _SPELLED_OUT if name in trainer} | dict(config)
    device, steps = (cast(int, shown.pop(name)) for name in _BATCH_SPLIT)
    max_steps, epochs = cast(int, shown.pop("max_steps", -1)), cast(float, shown.pop("num_train_epochs", 0))
    parts = [
        f"{run['method']} {run['tuning']} of {model}",
        f"{max_steps} steps" if max_steps > 0 else f"{epochs:g} epochs",
        f"batch_size {device * steps} ({device} per device x {steps} accumulated)",
        *(f"{name} {_plain(value)}" for name, value in shown.items()),
        *(f"lora_{name.removeprefix('lora_')} {_plain(value)}" for name, value in lora.items()),
    ]
    return ", ".join(parts)


_BATCH_SPLIT = ("per_device_train_batch_size", "gradient_accumulation_steps")
_SPELLED_OUT = ("learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "packing", "seed")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _merge_tool_arguments(asked: Asked, config: dict[str, object]) -> dict[str, object]:
    """Return the config with the tool's own arguments in it, defaults where neither names them."""
    merged: dict[str, object] = {}
    for field_name, argument in (
        ("num_train_epochs", "epochs"),
        ("learning_rate", "learning_rate"),
        ("max_length", "max_length"),
    ):
        value = cast(float | None, getattr(asked, argument))
        if value is not None and config.get(field_name, value) != value:
            raise InvalidArguments(
                f"{argument} is {value} and trainer_args has {field_name}={config[field_name]}.",
                next_step="Give it once. Nothing was started.",
            )
        chosen = (
            value if value is not None else config.get(field_name, default_value(asked.method, asked.tuning, argument))
        )
        merged[field_name] = chosen
    return merged | {name: value for name, value in config.items() if name not in merged}


def _split_batch(asked: Asked, config: dict[str, object]) -> int:
    """Write device batch and accumulation into the config and return rows per optimizer step.

    Until memory is estimated the device batch is the largest divisor of the batch size up to 8.
    """
    device = cast(int | None, config.get("per_device_train_batch_size"))
    steps = cast(int | None, config.get("gradient_accumulation_steps"))
    for name, number in (
        ("batch_size", asked.batch_size),
        ("per_device_train_batch_size", device),
        ("gradient_accumulation_steps", steps),
    ):
        if number is not None and number < 1:
            raise InvalidArguments(
                f"{name} is {number}; it is a whole number from 1.", next_step="Nothing was started."
            )
    if asked.batch_size is None and device and steps:
        batch = device * steps
    else:
        batch = asked.batch_size or max(int(default_value(asked.method, asked.tuning, "batch_size")), device or 1)
    if device is None:
        device = batch // steps if steps else _largest_divisor(batch)
    steps = steps or max(1, batch // device)
    if device * steps != batch:
        raise InvalidArguments(
            f"batch_size {batch} is not per_device_train_batch_size {device} x gradient_accumulation_steps {steps}.",
            next_step="Give batch_size alone: the split follows from it. Nothing was started.",
        )
    config |= {"per_device_train_batch_size": device, "gradient_accumulation_steps": steps}
    return batch


def _largest_divisor(batch: int) -> int:
    return max(size for size in range(1, _LARGEST_DEVICE_BATCH + 1) if batch % size == 0)


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "num_train_epochs": (lambda value: 0 < value <= 1000, "above 0 and at most 1000"),
    "learning_rate": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "max_length": (lambda value: 8 <= value <= 1_000_000, "8 to 1000000"),
    "max_steps": (lambda value: value == -1 or value >= 1, "a whole number from 1"),
    "logging_steps": (lambda value: value > 0, "above 0"),
    "save_steps": (lambda value: value > 0, "above 0"),
    "eval_steps": (lambda value: value > 0, "above 0"),
}


def check_ranges(config: Mapping[str, object]) -> None:
    """Raise InvalidArguments for a number that the trainer takes but no training can run with."""
    for name, (is_right, allowed) in _RANGES.items():
        value = config.get(name)
        if isinstance(value, (int, float)) and not is_right(value):
            raise InvalidArguments(f"{name} cannot be {value}: it is {allowed}.", next_step="Nothing was started.")
    if config.get("report_to") not in (None, "none", ["none"], []):
        raise InvalidArguments(
            f"report_to cannot be {config['report_to']} in this version: it is none.",
            next_step="Loss and metrics are in job_status. Leave it out. Nothing was started.",
        )


def check_nested(config: Mapping[str, object]) -> None:
    """Raise InvalidArguments for what the server owns, given inside another argument such as model_init_kwargs."""
    for name, value in config.items():
        inside = set(cast(dict[str, object], value)) if isinstance(value, dict) else set[str]()
        for owned, argument in (("trust_remote_code", "trust_remote_code"), ("token", "hub_token")):
            if owned in inside:
                raise InvalidArguments(
                    f"{owned} cannot be given in {name}.", next_step=f"{OWNED[argument]} Nothing was started."
                )


def _evaluation(asked: Asked, config: dict[str, object], findings: list[Finding]) -> str | float | None:
    """Return the evaluation split; eval_steps or an eval_strategy imply a hold-out, a hold-out implies a strategy."""
    split = _share_or_name(asked.eval_split)
    wants = "eval_steps" in config or config.get("eval_strategy", "no") != "no"
    if split is None and wants:
        split = _HOLD_OUT
        findings.append(
            Finding("eval.hold_out", Severity.INFO, f"{_HOLD_OUT:.0%} of the rows are held out to evaluate on.")
        )
    if split is not None and "eval_strategy" not in config:
        config["eval_strategy"] = "steps" if "eval_steps" in config else "epoch"
    return split


def _share_or_name(text: str | None) -> str | float | None:
    try:
        share = float(text) if text is not None else None
    except ValueError:
        return text
    if share is not None and not 0 < share < 1:
        raise InvalidArguments(
            f"eval_split cannot be {text}: it is a split's name, or a share such as 0.05.",
            next_step="Nothing was started.",
        )
    return share


def _best_model(config: dict[str, object], findings: list[Finding]) -> None:
    """Make load_best_model_at_end mean what it says: every evaluation has a checkpoint to choose from."""
    if not config.get("load_best_model_at_end"):
        return
    if config.get("eval_strategy", "no") == "no":
        raise InvalidArguments(
            "load_best_model_at_end needs an evaluation.",
            next_step="Give eval_split, and eval_steps. Nothing was started.",
        )
    config.setdefault("save_strategy", config["eval_strategy"])
    if config["save_strategy"] == "steps":
        config.setdefault("save_steps", config.get("eval_steps", 500))
    config.setdefault("metric_for_best_model", "eval_loss")
    findings.append(
        Finding("save.best", Severity.INFO, "Checkpoints are saved at every evaluation, the best by eval_loss is kept.")
    )


def _identity(recipe: Recipe, asked: Asked, given: Mapping[str, object]) -> dict[str, object]:
    """Return what names the run: the arguments with fixed defaults, without what was derived."""
    derived = _DERIVED - set(given) - ({"max_length"} if asked.max_length is not None else set[str]())
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
    }


_DERIVED = {"per_device_train_batch_size", "gradient_accumulation_steps", "save_steps", "save_strategy", "max_length"}
