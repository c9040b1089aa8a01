"""What stands between a plan and its price: the caller's cap, the operator's limits of a job and of a day."""

from datetime import UTC, datetime
from decimal import Decimal

from trl_mcp.estimate.money import at_most, in_usd
from trl_mcp.plan.plan import Plan
from trl_mcp.settings import Settings
from trl_mcp.values import DaySpending, Finding, Severity


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


def day_finding(plan: Plan, spending: DaySpending, now: datetime) -> Finding:
    """Return the error of a plan whose ceiling is above what is left of the day. It cannot be accepted away."""
    message = (
        f"TRL_MCP_MAX_USD_PER_DAY allows {in_usd(spending.limit)} a day (UTC): {in_usd(spending.spent)} are spent, "
        f"{in_usd(spending.reserved)} reserved for jobs that have not ended, {in_usd(spending.left)} left; "
        f"this one asks for {at_most(plan.usd_ceiling or Decimal(0))} ({price_words(plan)})."
    )
    return Finding("money.day", Severity.ERROR, message, f"{_way_on(plan, spending.left)} {_later(now)}")


def _later(now: datetime) -> str:
    minutes = 24 * 60 - now.astimezone(UTC).hour * 60 - now.astimezone(UTC).minute
    return (
        f"What a job does not use is free again when it ends; a new day begins in {minutes // 60} h {minutes % 60} min."
    )


def price_words(plan: Plan) -> str:
    """Return how a ceiling comes about: price x timeout x attempts."""
    hourly = in_usd(Decimal(plan.price_micro_usd or 0) * 60 / 1_000_000)
    attempts = f" x {plan.attempts} attempts" if plan.attempts > 1 else ""
    return f"{plan.hardware} at {hourly}/h x {plan.timeout_s} s{attempts}"


def _way_on(plan: Plan, limit: Decimal) -> str:
    """Return what passes a limit: other hardware, a shorter timeout; where neither does, the least that is needed."""
    ways = [way for way in (_cheapest(plan, limit), _shorter(plan, limit)) if way]
    return f"{' or '.join(ways)}." if ways else _least(plan)


def _least(plan: Plan) -> str:
    offers = plan.estimate.offers if plan.estimate else {}
    if not offers:
        return "Choose cheaper hardware."
    name = min(offers, key=lambda hardware: offers[hardware])
    needed = f'At least {at_most(offers[name])} is needed, with hardware="{name}" and timeout="auto"'
    return f"{needed}; fewer rows or epochs, shorter rows or a smaller model take less."


def _cheapest(plan: Plan, limit: Decimal) -> str:
    offers = plan.estimate.offers if plan.estimate else {}
    name = min(offers, key=lambda hardware: offers[hardware], default=None)
    if name is None or name == plan.hardware or offers[name] > limit:
        return "Choose cheaper hardware" if not offers else ""
    return f'Choose hardware="{name}" with timeout="auto" (at most {at_most(offers[name])})'


def _shorter(plan: Plan, limit: Decimal) -> str:
    per_minute = Decimal(plan.price_micro_usd or 0) * plan.attempts / 1_000_000
    minutes = int(limit / per_minute) if per_minute else 0
    expected = (plan.estimate.hours_low if plan.estimate else None) or 0.0
    is_enough = minutes >= max(1, 60 * expected)
    return f"a timeout of at most {minutes}m, which this hardware gets for that" if is_enough else ""
