"""The pre-flight of a plan: what was gathered and settled, handed to the checks."""

from trl_mcp.checks.check import Gathered
from trl_mcp.checks.registry import run_checks
from trl_mcp.hub.values import OutputRepo
from trl_mcp.plan.gather import Facts
from trl_mcp.plan.settling import Known, Settled
from trl_mcp.values import Finding

_HOUR = 3600


def check_findings(
    settled: Settled, facts: Facts, known: Known, repo: OutputRepo | None, timeout_s: int | None
) -> list[Finding]:
    """Return what the checks find; `timeout_s` is the timeout that was named, None where it follows from the estimate."""
    place = settled.place
    gathered = Gathered(
        recipe=settled.recipe,
        model=facts.model,
        data=facts.data,
        shape=known.shapes.model if known.shapes else None,
        config=known.shapes.config if known.shapes else {},
        others=facts.others,
        flavor=place.flavor,
        timeout_s=timeout_s,
        expected_s=_expected_s(settled),
        is_published=repo is not None and not place.private,
    )
    return run_checks(gathered)


def _expected_s(settled: Settled) -> tuple[float, float] | None:
    found = settled.estimate
    if found is None or found.hours_low is None or found.hours_high is None:
        return None
    return found.hours_low * _HOUR, found.hours_high * _HOUR
