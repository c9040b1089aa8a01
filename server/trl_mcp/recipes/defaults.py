"""The defaults of each method and tuning, each with its source."""

from trl_mcp.recipes.method import Default
from trl_mcp.recipes.methods import METHODS

_TRL_LORA = "TRL's own default (ModelConfig, trl 1.16.0)"
_LORA: dict[str, Default] = {
    "r": Default(16, _TRL_LORA),
    "lora_alpha": Default(32, _TRL_LORA),
    "lora_dropout": Default(0.0, "PEFT's own default; adapters on experts (all-linear) take no other"),
    "target_modules": Default("all-linear", "works for every architecture; PEFT's own table knows only some"),
}


def default(method: str, tuning: str, name: str) -> Default:
    """Return the default of an argument: the tuning's own, else that of full fine-tuning.

    Raises KeyError for an argument that the method does not have.
    """
    found = METHODS[method].default(name, tuning)
    if found is None:
        raise KeyError(name)
    return found


def lora_defaults() -> dict[str, object]:
    """Return the LoraConfig values used where none are given."""
    return {name: entry.value for name, entry in _LORA.items()}
