"""What a training method is to a recipe: its trainer's config, its defaults, what it needs beside model and data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CURRENT_TRL = "1.16.0"
SMALL_BATCHES = "small batches lose nothing and give more steps: LoRA Without Regret, 2025"
TEN_TIMES = "ten times full fine-tuning: TRL documentation, PEFT integration"


# Returns what is wrong with the fields of a trainer's config and what to do about it; None where nothing is.
Rule = Callable[[Mapping[str, object]], str | None]


@dataclass(frozen=True, slots=True)
class Default:
    """A default value and where it comes from."""

    value: object
    source: str


class Rewards(StrEnum):
    """What a method learns from beside its data."""

    NONE = "none"
    ANY = "any"
    ONE_MODEL = "one model"


@dataclass(frozen=True, slots=True)
class Method:
    """A training method.

    `config` is the config class of its trainer, with its module where that is not `trl` itself; `trl` is the version
    that its template pins. `defaults` holds the tool's arguments for full fine-tuning, `adapter_defaults` those that
    are others with an adapter, `fields` the trainer's own fields that are set where nobody says otherwise, `rules`
    what must hold among the fields; `answer_length` is the field that limits answers the model makes while it trains.
    """

    name: str
    title: str
    config: str
    defaults: Mapping[str, Default]
    adapter_defaults: Mapping[str, Default]
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    trl: str = CURRENT_TRL
    rewards: Rewards = Rewards.NONE
    needs_teacher: bool = False
    evaluates: bool = True
    least_device_batch: int = 1
    answers_in_groups: bool = False
    answer_length: str | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def config_name(self) -> str:
        """The name of the config class."""
        return self.config.rpartition(".")[2]

    @property
    def is_experimental(self) -> bool:
        """Whether TRL may change or drop the method at any time."""
        return ".experimental." in self.config

    def default(self, name: str, tuning: str) -> Default | None:
        """Return the default of a tool's argument; None where the method does not have it."""
        own = None if tuning == "full" else self.adapter_defaults.get(name)
        return own or self.defaults.get(name)


def trl_default(value: object, config: str, trl: str = CURRENT_TRL) -> Default:
    """Return a default that is TRL's own."""
    return Default(value, f"TRL's own default ({config}, trl {trl})")
