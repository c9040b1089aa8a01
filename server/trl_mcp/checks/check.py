"""What a check is: a code, why it matters, and a pure function from what was gathered to what is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trl_mcp.recipes.recipe import Recipe
from trl_mcp.values import DataReport, Finding, Flavor, ModelReport, ModelShape, Severity


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that checks look at. `shape` is None where the model's files do not tell it, `flavor` on this machine.

    `config` is the config.json of the model, of an adapter that of its base; empty where it was not read.

    `others` are the teacher and the reward models by their id. `timeout_s` and `expected_s` are in seconds of one
    attempt: `expected_s` are those that half of such runs and nine in ten stay below, None where they are not known.
    `is_published` says that the result is pushed where everybody can read it.
    """

    recipe: Recipe
    model: ModelReport
    data: DataReport
    shape: ModelShape | None = None
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    others: Mapping[str, ModelReport] = field(default_factory=dict[str, ModelReport])
    flavor: Flavor | None = None
    timeout_s: int | None = None
    expected_s: tuple[float, float] | None = None
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in this case, and the mend."""

    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `looks_for` says what in general, `why` what would happen, `source` how that is known."""

    code: str
    severity: Severity
    looks_for: str
    why: str
    fix: str
    source: str
    find: Callable[[Gathered], Fault | None]

    def run(self, gathered: Gathered) -> Finding | None:
        """Return the finding, None where nothing is wrong."""
        fault = self.find(gathered)
        return None if fault is None else Finding(self.code, self.severity, fault.message, fault.fix)
