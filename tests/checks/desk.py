"""What the tests of checks share: a training that is right, and what was gathered for it."""

from dataclasses import replace
from typing import Any

from trl_mcp.checks.check import Gathered
from trl_mcp.checks.registry import run_checks
from trl_mcp.recipes.recipe import Asked, make_recipe
from trl_mcp.values import DataReport, Finding, Flavor, ModelReport, ModelShape

MODEL = "Qwen/Qwen3-0.6B"
ASKED = Asked(method="sft", model=MODEL, dataset="trl-lib/Capybara")
DATA = DataReport(
    "trl-lib/Capybara", "trl-lib/Capybara@1", rows_total=1000, rows_checked=1000, rows_kept=1000, complete=True
)
SHAPE = ModelShape(596_049_920, 28, 1024, 16, 8, 128, 3072, 151_936)
T4 = Flavor("t4-small", "Nvidia T4 - small", 4, 15, 50, "T4", 1, 16, 6667)


def report(name: str = MODEL, **values: Any) -> ModelReport:
    """Return a model that has all that is needed but for these values."""
    right = ModelReport(name, f"{name}@1", has_chat_template=True, licence="apache-2.0", files=("model.safetensors",))
    return replace(right, **values)


def gathered(*, model: ModelReport | None = None, asked: dict[str, Any] | None = None, **facts: Any) -> Gathered:
    """Return what was gathered for a training that is right but for what is given."""
    model = model or report()
    recipe = make_recipe(replace(ASKED, **({"model": model.name} | (asked or {}))))
    return replace(Gathered(recipe, model, DATA, SHAPE), **facts)


def found(facts: Gathered) -> dict[str, Finding]:
    """Return what the checks find, by code."""
    return {finding.code: finding for finding in run_checks(facts)}
