"""What a number in a trainer's config can be, whatever the method, and what cannot be given inside another argument."""

from collections.abc import Callable, Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.names import OWNED

_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "num_train_epochs": (lambda value: 0 < value <= 1000, "above 0 and at most 1000"),
    "learning_rate": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "max_length": (lambda value: 8 <= value <= 1_000_000, "8 to 1000000"),
    "max_steps": (lambda value: value == -1 or value >= 1, "a whole number from 1"),
    "logging_steps": (lambda value: value > 0, "above 0"),
    "save_steps": (lambda value: value > 0, "above 0"),
    "eval_steps": (lambda value: value > 0, "above 0"),
    "max_completion_length": (lambda value: value >= 1, "a whole number from 1"),
    "max_new_tokens": (lambda value: value >= 1, "a whole number from 1"),
    "response_length": (lambda value: value >= 1, "a whole number from 1"),
    "num_mini_batches": (lambda value: value >= 1, "a whole number from 1"),
    "temperature": (lambda value: value > 0, "above 0"),
}


def check_ranges(config: Mapping[str, object]) -> None:
    """Raise InvalidArguments for a number that the trainer takes but no training can run with."""
    for name, (is_right, allowed) in _RANGES.items():
        value = config.get(name)
        if isinstance(value, (int, float)) and not is_right(value):
            raise InvalidArguments(f"{name} cannot be {value}: it is {allowed}.", next_step="Nothing was started.")


def check_nested(config: Mapping[str, object]) -> None:
    """Raise InvalidArguments for what the server owns, given inside another argument such as model_init_kwargs."""
    for name, value in config.items():
        inside = set(cast(dict[str, object], value)) if isinstance(value, dict) else set[str]()
        for owned, argument in (("trust_remote_code", "trust_remote_code"), ("token", "hub_token")):
            if owned in inside:
                raise InvalidArguments(
                    f"{owned} cannot be given in {name}.", next_step=f"{OWNED[argument]} Nothing was started."
                )
