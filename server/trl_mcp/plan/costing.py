"""The question that estimate_cost asks: what a training would need, where it could run, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from trl_mcp.errors import InvalidArguments
from trl_mcp.estimate.largest import largest_batch, largest_length
from trl_mcp.estimate.money import at_most, in_usd
from trl_mcp.estimate.options import TUNINGS, Option, best_value, cheapest, fastest, highest_cost, lack
from trl_mcp.plan.cost_notes import assumptions, course
from trl_mcp.plan.estimation import is_quick_enough, weigh
from trl_mcp.plan.machines import able
from trl_mcp.plan.place import AUTO, LOCAL, Gathering, Place, Wish, find_place
from trl_mcp.plan.settling import Known, find_known, gather_all
from trl_mcp.plan.workload import DataSize, Workload, fitting_length, measured_size, stated_size, used_part
from trl_mcp.recipes.method import Rewards
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.values import Flavor, ToolName, call

MOST_OPTIONS = 6
_NEAREST = 3
_EPOCHS = (2.0, 1.0, 0.5, 0.2, 0.1)
_DESCRIBED = "described/rows"
#: What a method that needs rewards is given to be complete: neither changes what the estimate counts.
_REWARDS = {Rewards.NONE: (), Rewards.ANY: (f"judge:{_DESCRIBED}",), Rewards.ONE_MODEL: (_DESCRIBED,)}
_HERE = Place(LOCAL, LOCAL)
_VERDICTS = ("fits", "tight", "no")


@dataclass(frozen=True, slots=True)
class CostQuestion:
    """What is to be trained (`asked.dataset` empty: the rows are described), on what, below which ceiling in USD.

    `tunings` are those to compare; `hardware` "auto": whatever is on offer, this machine among it.
    """

    asked: Asked
    tunings: tuple[str, ...] = TUNINGS
    rows: int | None = None
    tokens_per_row: float | None = None
    hardware: str = AUTO
    cap: Decimal | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """The options, the best first, what they rest on, and how old the prices are in seconds (None: none were asked)."""

    options: list[Option]
    cheapest: Option | None
    fastest: Option | None
    assumptions: list[str]
    price_age_s: float | None


async def answer_cost(question: CostQuestion, gathering: Gathering) -> CostAnswer:
    """Return what a training would cost. Starts nothing.

    Raises what recipes say of arguments, Hub and files of references that cannot be used, InvalidArguments for a model
    whose size is not known, for data that is described twice or not at all and for hardware that cannot run it, HubError
    without a list of prices.
    """
    _check_data(question)
    recipes, notes = _recipes(question)
    flavors, age_s = await _flavors(question, gathering)
    works, machine = await _works(question, recipes, gathering)
    if question.hardware in (AUTO, LOCAL):
        flavors = [*flavors, machine]
    flavors = able(recipes[0], flavors, flavors)
    machines = {flavor.name: flavor for flavor in flavors}
    weighed = [[weigh(work, flavor) for flavor in flavors] for work in works]
    found = [each for of_tuning in weighed for each in of_tuning]
    if question.hardware == AUTO:
        found = [each for of_tuning in weighed for each in _few(of_tuning, machines, question, alone=len(works) == 1)]
    shown = _in_order(found)[:MOST_OPTIONS]
    notes = [course(works[0]), *notes, *assumptions(works[0], shown, machines)]
    if age_s is None and question.hardware == AUTO:
        notes.append("without a token, or offline, only this machine is looked at")
    below = [each for each in shown if not _is_above(each, question)]
    if question.hardware == AUTO and any(each.verdict == "fits" for each in below):
        shown = [each for each in below if each.possible]
    quick = [each for of_tuning in weighed for each in of_tuning if is_quick_enough(each, machines)]
    by_tuning = {work.recipe.tuning: work for work in works}
    notes += _out_of_reach(quick if question.hardware == AUTO else shown, question, by_tuning, machines)
    told = [_with_most(_with_cap(each, question), by_tuning[each.tuning], machines[each.hardware]) for each in shown]
    return CostAnswer(told, cheapest(below), fastest(below), notes, age_s)


def _check_data(question: CostQuestion) -> None:
    described = [question.rows is not None, question.tokens_per_row is not None]
    if all(described) if not question.asked.dataset else not any(described):
        return
    raise InvalidArguments(
        "estimate_cost needs either dataset, or rows and tokens_per_row.",
        allowed='For example dataset="owner/name", or rows=5000 and tokens_per_row=400.',
        next_step="Nothing was started.",
    )


def _recipes(question: CostQuestion) -> tuple[list[Recipe], list[str]]:
    """Return a recipe for each tuning that the other arguments allow. Raises InvalidArguments where none does."""
    method = METHODS[question.asked.method]
    asked = replace(question.asked, dataset=question.asked.dataset or _DESCRIBED, rewards=_REWARDS[method.rewards])
    recipes: list[Recipe] = []
    failed: dict[str, InvalidArguments] = {}
    for tuning in question.tunings:
        try:
            recipes.append(replace(make_recipe(replace(asked, tuning=tuning)), rewards=()))
        except InvalidArguments as error:
            failed[tuning] = error
    if not recipes:
        raise next(iter(failed.values()))
    return recipes, [f"without {tuning}: {error.what}" for tuning, error in failed.items()]


async def _flavors(question: CostQuestion, gathering: Gathering) -> tuple[list[Flavor], float | None]:
    """Return the flavors to look at and the age of their prices. Raises what find_place raises of hardware."""
    if question.hardware == LOCAL or not gathering.token or gathering.is_offline:
        await find_place(Wish(question.hardware), gathering, 1, may_be_open=True)
        return [], None
    flavors, age_s = await gathering.hub.flavors(gathering.token)
    if question.hardware == AUTO:
        return flavors, age_s
    place = await find_place(Wish(question.hardware), gathering, 1, may_be_open=True)
    return [place.flavor] if place.flavor else [], age_s


async def _works(
    question: CostQuestion, recipes: Sequence[Recipe], gathering: Gathering
) -> tuple[list[Workload], Flavor]:
    """Return the work of each recipe, and this machine."""
    if question.rows is not None and question.tokens_per_row is not None:
        size = stated_size(question.rows, question.tokens_per_row, recipes[0])
        return _each(recipes, size, await find_known(recipes[0], _HERE, gathering), None)
    facts, known = await gather_all(recipes[0], _HERE, gathering, is_agreed=False)
    if facts.data.rows_checked and not facts.data.rows_kept:
        problem = next((each.message for each in facts.data.problems), "")
        raise InvalidArguments(
            f"No row of {facts.data.name} is left to train on. {problem}".strip(),
            next_step=f"{call(ToolName.VALIDATE_DATASET, dataset=question.asked.dataset)} says more. Nothing was started.",
        )
    return _each(recipes, measured_size(recipes[0], facts.data), known, facts.max_length)


def _each(
    recipes: Sequence[Recipe], size: DataSize, known: Known, max_length: int | None
) -> tuple[list[Workload], Flavor]:
    if known.shapes is None:
        assert known.error is not None
        raise known.error
    assert known.machine is not None
    length = max_length or fitting_length(size, known.shapes.model.context)
    return [Workload(_with_length(recipe, length), known.shapes, size) for recipe in recipes], known.machine


def _with_length(recipe: Recipe, length: int) -> Recipe:
    if recipe.max_length_given or "max_length" not in recipe.config:
        return recipe
    return replace(recipe, config={**recipe.config, "max_length": length})


def _few(
    found: Sequence[Option], machines: Mapping[str, Flavor], question: CostQuestion, *, alone: bool
) -> list[Option]:
    """Return the best of one tuning: the cheapest and the fastest, alone also the best value and the next cheapest.

    Where nothing can be tried it is what is nearest to fitting, with the reason.
    """
    quick = [each for each in found if is_quick_enough(each, machines)] or list(found)
    fitting = [each for each in quick if each.verdict == "fits"] or [each for each in quick if each.possible]
    if not fitting:
        return sorted(quick, key=lack)[: _NEAREST if alone else 1]
    fitting = [each for each in fitting if not _is_above(each, question)] or fitting
    best = [cheapest(fitting), fastest(fitting), *([best_value(fitting), *sorted(fitting, key=_rank)] if alone else ())]
    known = [each for each in best if each is not None] or fitting
    return list({(each.hardware, each.tuning): each for each in known}.values())[: MOST_OPTIONS if alone else 2]


def _in_order(found: Sequence[Option]) -> list[Option]:
    """Return what can be tried before what cannot, the cheaper and the nearer first."""
    possible = [each for each in found if each.possible]
    return [*sorted(possible, key=_rank), *sorted((each for each in found if not each.possible), key=lack)]


def _rank(found: Option) -> tuple[int, Decimal, float]:
    unknown = Decimal("Infinity")
    money = unknown if found.usd_expected is None else found.usd_expected
    return _VERDICTS.index(found.verdict), money, found.hours_low or float("inf")


def _is_above(found: Option, question: CostQuestion) -> bool:
    return question.cap is not None and highest_cost(found, question.attempts) > question.cap


def _with_cap(found: Option, question: CostQuestion) -> Option:
    if question.cap is None or not _is_above(found, question):
        return found
    note = f"its ceiling {at_most(highest_cost(found, question.attempts))} is above max_cost_usd {in_usd(question.cap)}"
    return replace(found, reason=f"{found.reason}; {note}")


def _out_of_reach(
    found: Sequence[Option], question: CostQuestion, works: Mapping[str, Workload], machines: Mapping[str, Flavor]
) -> list[str]:
    """Return the least that a training could cost at most, where everything that fits could cost more than the cap.

    `works` are by tuning; some fewer epochs are tried.
    """
    known = [each for each in found if each.verdict == "fits" and each.usd_expected is not None]
    if question.cap is None or not known or not all(_is_above(each, question) for each in known):
        return []
    least = min(known, key=lambda each: highest_cost(each, question.attempts))
    amount = at_most(highest_cost(least, question.attempts))
    nearest = f"{least.tuning} on {least.hardware} has the lowest ceiling, {amount}"
    less = _fewer_epochs(question, works[least.tuning], machines[least.hardware])
    return [f"nothing that fits stays below max_cost_usd {in_usd(question.cap)}: {nearest}; {less}"]


def _fewer_epochs(question: CostQuestion, work: Workload, machine: Flavor) -> str:
    """Return the most epochs, of a few that are tried, with which a training stays below the cap; else what helps."""
    job = work.job()
    for fewer in (each for each in _EPOCHS if each < job.epochs and job.max_steps <= 0):
        recipe = replace(work.recipe, config={**work.recipe.config, "num_train_epochs": fewer})
        cut = weigh(replace(work, recipe=recipe), machine)
        if not _is_above(cut, question):
            return f"with epochs={fewer:g} it is {at_most(highest_cost(cut, question.attempts))}"
    return "fewer rows or epochs, shorter rows or a smaller model lower it"


def _with_most(found: Option, work: Workload, machine: Flavor) -> Option:
    """Add to the reason what fits at most, where memory is what decides."""
    if found.is_unable or not machine.gpu_count or (not found.possible and found.peak_gb <= found.usable_gb):
        return found
    part = used_part(machine, work.recipe.strategy)
    given = (work.shapes.model, work.job(max(1, part.gpu_count)), part, found.tuning)
    if not found.possible:
        tokens = largest_length(*given)
        shorter = f"; rows of up to {tokens} tokens would fit" if tokens else ""
        return replace(found, reason=found.reason + shorter)
    rows, tokens = largest_batch(*given), largest_length(*given)
    most = f"; at most {_rows(rows)} a pass, or rows of up to {tokens} tokens, fit" if rows and tokens else ""
    return replace(found, reason=found.reason + most)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
