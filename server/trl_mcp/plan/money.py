"""What stands between a plan and its price: the caller's cap and the operator's limit."""

from decimal import Decimal

from trl_mcp.estimate.money import at_most, in_usd
from trl_mcp.plan.plan import Plan
from trl_mcp.settings import Settings
from trl_mcp.values import Finding, Severity


def money_findings(plan: Plan, max_cost_usd: Decimal | None, settings: Settings) -> list[Finding]:
    """Return an error for each limit that the plan's ceiling is above. None of them can be accepted away."""
    ceiling = plan.usd_ceiling
    if ceiling is None:
        return []
    limits = {"max_cost_usd": max_cost_usd, "TRL_MCP_MAX_USD_PER_JOB": settings.max_usd_per_job}
    return [
        Finding(
            f"money.{'cap' if name == 'max_cost_usd' else 'limit'}",
            Severity.ERROR,
            f"The ceiling is {at_most(ceiling)} ({price_words(plan)}); {name} allows {in_usd(limit)}.",
            _way_on(plan, limit),
        )
        for name, limit in limits.items()
        if limit is not None and ceiling > limit
    ]


def price_words(plan: Plan) -> str:
    """Return how a ceiling comes about: price x timeout x attempts."""
    hourly = in_usd(Decimal(plan.price_micro_usd or 0) * 60 / 1_000_000)
    attempts = f" x {plan.attempts} attempts" if plan.attempts > 1 else ""
    return f"{plan.hardware} at {hourly}/h x {plan.timeout_s} s{attempts}"


def _way_on(plan: Plan, limit: Decimal) -> str:
    per_minute = Decimal(plan.price_micro_usd or 0) * plan.attempts / 1_000_000
    minutes = int(limit / per_minute) if per_minute else 0
    if minutes < 1:
        return "Choose cheaper hardware."
    return f"Choose cheaper hardware, or a timeout of at most {minutes}m, which this hardware gets for that."
