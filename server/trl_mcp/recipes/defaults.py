"""The defaults of each method and tuning, each with its source."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Default:
    """A default value and where it comes from."""

    value: object
    source: str


_TRL = "TRL's own default (SFTConfig, trl 1.16.0)"
_TRL_LORA = "TRL's own default (ModelConfig, trl 1.16.0)"

_DEFAULTS: dict[tuple[str, str], dict[str, Default]] = {
    ("sft", "full"): {
        "epochs": Default(3.0, _TRL),
        "learning_rate": Default(2e-5, _TRL),
        "batch_size": Default(16, "small batches lose nothing and give more steps: LoRA Without Regret, 2025"),
        "max_length": Default(1024, _TRL),
    },
    ("sft", "lora"): {
        "learning_rate": Default(2e-4, "ten times full fine-tuning: TRL documentation, PEFT integration"),
    },
}

_LORA: dict[str, Default] = {
    "r": Default(16, _TRL_LORA),
    "lora_alpha": Default(32, _TRL_LORA),
    "lora_dropout": Default(0.05, _TRL_LORA),
    "target_modules": Default("all-linear", "works for every architecture; PEFT's own table knows only some"),
}


def default(method: str, tuning: str, name: str) -> Default:
    """Return the default of an argument: the tuning's own, else that of full fine-tuning."""
    own = _DEFAULTS[method, tuning].get(name)
    return own if own is not None else _DEFAULTS[method, "full"][name]


def default_value(method: str, tuning: str, name: str) -> float:
    """Return the default of a number."""
    value = default(method, tuning, name).value
    if not isinstance(value, (int, float)):
        raise TypeError(f"the default of {name} is no number")
    return value


def lora_defaults() -> dict[str, object]:
    """Return the LoraConfig values used where none are given."""
    return {name: entry.value for name, entry in _LORA.items()}
