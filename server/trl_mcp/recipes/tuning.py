"""Tuning: an adapter, an adapter on a model in 4 bits, or the model itself, and what does not go together with each."""

from collections.abc import Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.trainer_arguments import TrainerArguments
from trl_mcp.values import Finding, Severity

_ALL_LINEAR = "all-linear"
_OUTPUT_LAYER = "lm_head"
_NOTHING_STARTED = "Nothing was started."


def check_tuning(
    tuning: str, checked: TrainerArguments, *, merge: bool
) -> tuple[dict[str, object] | None, Finding | None]:
    """Return the LoraConfig values that were given (None for full fine-tuning), and what was translated among them.

    Raises InvalidArguments for what the tuning cannot do.
    """
    if tuning == "full":
        _check_full(checked.lora, merge=merge)
        return None, None
    if tuning == "qlora":
        _check_four_bits(checked.config)
    return _targets(checked.lora)


def _check_full(lora: Mapping[str, object], *, merge: bool) -> None:
    if lora:
        raise InvalidArguments(
            f'{", ".join(lora)}: only for tuning "lora" and "qlora".',
            next_step=f"Leave it out, or set tuning to lora. {_NOTHING_STARTED}",
        )
    if merge:
        raise InvalidArguments(
            'merge: only for tuning "lora" and "qlora"; full fine-tuning saves a whole model in any case.',
            next_step=f"Leave it out. {_NOTHING_STARTED}",
        )


def _check_four_bits(config: Mapping[str, object]) -> None:
    if config.get("fp16") or config.get("bf16") is False:
        raise InvalidArguments(
            "qlora computes in bf16: neither fp16=true nor bf16=false can be given.",
            next_step=f"Leave both out, or set tuning to lora. {_NOTHING_STARTED}",
        )


def _targets(lora: dict[str, object]) -> tuple[dict[str, object], Finding | None]:
    """Return the values with target_modules as PEFT reads it: all-linear is a word, not a list of one."""
    targets = lora.get("target_modules")
    named = cast(list[object], targets) if isinstance(targets, list) else [targets]
    if _OUTPUT_LAYER in named:
        raise InvalidArguments(
            f"{_OUTPUT_LAYER} cannot be among target_modules: trainers read the output layer themselves.",
            next_step=f"Leave it out; modules_to_save trains it whole. {_NOTHING_STARTED}",
        )
    if targets != [_ALL_LINEAR]:
        return lora, None
    message = f'target_modules ["{_ALL_LINEAR}"] was taken as "{_ALL_LINEAR}".'
    return lora | {"target_modules": _ALL_LINEAR}, Finding("args.renamed", Severity.INFO, message)
