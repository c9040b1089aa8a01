"""What a paid job still needs before it starts: room in the budget of the day, and a person's word."""

from trl_mcp.backends.base import SCRIPT
from trl_mcp.context import CallContext
from trl_mcp.estimate.money import at_most, in_usd
from trl_mcp.plan.money import day_finding
from trl_mcp.plan.place import LOCAL
from trl_mcp.plan.plan import Plan
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings
from trl_mcp.values import Finding, Severity

_NOT_ASKED = "Use a client that can ask (MCP elicitation), or let the operator unset TRL_MCP_CONFIRM."


def local_code_findings(plan: Plan, settings: Settings) -> list[Finding]:
    """Return an error where a job on this machine would run a caller's code and the operator has not allowed that."""
    if plan.namespace != LOCAL or settings.allows_local_code or not (what := _callers_code(plan)):
        return []
    message = f"{what} would run on this machine, which its operator has not allowed."
    fix = "Let the operator set TRL_MCP_ALLOW_LOCAL_CODE=1 for the server, or name a flavor of Hugging Face Jobs."
    return [Finding("auth.local_code", Severity.ERROR, message, fix)]


def _callers_code(plan: Plan) -> str:
    """Return what of a plan a caller has written, nothing where it is all this server's own."""
    if plan.kind == SCRIPT:
        return "The script"
    return "reward_code" if plan.kind == "training" and read_run(plan.script).get("reward_code") is not None else ""


async def day_findings(plan: Plan, context: CallContext) -> list[Finding]:
    """Return an error where what is left of the operator's limit of the day does not allow the plan.

    Raises NotPossible where that cannot be known, HubError.
    """
    if plan.usd_ceiling is None:
        return []
    spending = await context.hf(plan.namespace).spending()
    if spending is None or plan.usd_ceiling <= spending.left:
        return []
    return [day_finding(plan, spending, context.server.clock())]


async def obstacles(plan: Plan, context: CallContext) -> list[Finding]:
    """Return what keeps a plan that was agreed on from being started now; nothing for a run that exists already.

    Raises what `day_findings` and the client raise.
    """
    settings = context.server.settings
    if plan.usd_ceiling is None or not (settings.asks_person or settings.max_usd_per_day is not None):
        return []
    found = await day_findings(plan, context)
    if not found and not settings.asks_person:
        return []
    # Asked last: a run that was started meanwhile, by the same call, is what the day has no room left for.
    if await context.hf(plan.namespace).current(plan.run) is not None:
        return []
    return found or await _unconfirmed(plan, context)


async def _unconfirmed(plan: Plan, context: CallContext) -> list[Finding]:
    """Ask a person, and return an error unless they agree."""
    answer = await context.ask_person(question(plan))
    if answer:
        return []
    if answer is None:
        message = "The operator wants a person to agree to paid jobs, and this client cannot ask one."
        return [Finding("money.confirm", Severity.ERROR, message, _NOT_ASKED)]
    message = "The person who was asked does not want this job to start."
    return [Finding("money.confirm", Severity.ERROR, message, "Ask them what should be different.")]


def question(plan: Plan) -> str:
    """Return what a person is asked: what would run, where, and what it costs at most."""
    assert plan.usd_ceiling is not None
    expected = plan.estimate.usd_expected if plan.estimate else None
    likely = f", {in_usd(expected)} expected" if expected is not None else ""
    return (
        f"Start this paid job on Hugging Face Jobs? It costs at most {at_most(plan.usd_ceiling)}{likely}, paid by "
        f"{plan.namespace}.\nRecipe: {plan.recipe}\nData: {plan.data}\nMachine: {plan.hardware} for at most "
        f"{plan.timeout_s} s\n{_where_to(plan)}"
    )


def _where_to(plan: Plan) -> str:
    if plan.kind != SCRIPT:
        return f"Model goes to: {plan.output_repo}"
    return f"Secrets it is given: {', '.join(plan.secrets or ()) or 'none'}"
