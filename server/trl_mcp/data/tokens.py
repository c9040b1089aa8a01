"""How many tokens rows have for a model: a sample measured by the token worker, carried over to all kept rows."""

import json
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import SampledRow
from trl_mcp.data.token_losses import Losses
from trl_mcp.data.token_problems import TokenFacts, find_problems, refused_problem, template_missing
from trl_mcp.data.token_weighing import MeasuredRow, Weighed, weigh
from trl_mcp.data.token_worker import TokensOverrun, TokensRefused, TokenWorker
from trl_mcp.errors import NotPossible
from trl_mcp.values import DataProblem, TokenReport

LADDER = (256, 512, 1024, 2048, 4096)
COVERED = 0.99
_FIRST_BATCH = 32
_LARGEST_BATCH = 1024
_BATCH_S = 0.4
_GRACE_S = 3.0
# What a trainer's config says about tokens; its other fields are no business of the worker.
_READ = (
    "assistant_only_loss",
    "chat_template_kwargs",
    "chat_template_path",
    "completion_only_loss",
    "eos_token",
    "max_completion_length",
    "packing",
    "packing_strategy",
    "response_length",
    "step_separator",
    "train_on_last_step_only",
    "truncation_mode",
)
_EXAMPLE_CHARACTERS = 4_000
_LOOKED_AT_FOR_LOSSES = 200


@dataclass(frozen=True, slots=True)
class TokenWishes:
    """What is asked: the tokenizer's folder, the method, the trainer's config, and the seconds that it may take.

    `config` holds fields of TRL's config; `chat_template_path` in it is a folder or file of this machine. Without
    `max_length` the one that fits the rows is taken. `model` is the name the user knows the model by.
    """

    folder: str
    method: str
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    seconds: float = 8.0
    model: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A report, the max_length it holds for (None: no limit), and how many tokens the model reads at most, if known."""

    report: TokenReport
    max_length: int | None
    context_length: int | None


class MeasurementMemory:
    """The measurements made last, each by what it depends on."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._kept = OrderedDict[str, Measurement]()

    def find(self, data: str, model: str, wishes: TokenWishes) -> Measurement | None:
        """Return the measurement of this data (its fingerprint) for this model (its revision), if it was made."""
        return self._kept.get(_key(data, model, wishes))

    def keep(self, data: str, model: str, wishes: TokenWishes, measurement: Measurement) -> None:
        """Keep a measurement, and let the oldest go."""
        key = _key(data, model, wishes)
        self._kept[key] = measurement
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


async def measure_tokens(
    worker: TokenWorker, wishes: TokenWishes, sample: Sequence[SampledRow], lengths: Lengths
) -> Measurement:
    """Measure the sample, or as much of it as there is time for, and carry it over to the rows that `lengths` counts.

    Raises NotPossible where nothing can be measured: the worker is not ready, the tokenizer cannot be opened, or the
    first rows already take too long.
    """
    config = {name: wishes.config[name] for name in _READ if wishes.config.get(name) is not None}
    asked: dict[str, Any] = {"folder": wishes.folder, "config": config, "method": wishes.method}
    deadline = monotonic() + wishes.seconds
    try:
        raw = await worker.ask("open", wishes.seconds, **asked)
        facts = TokenFacts.of(raw, wishes.method, wishes.model, config, sample)
        if facts.is_chat and not facts.has_template:
            return _hindered(template_missing(facts), facts.context_length)
        return await _measurement(worker, asked, (wishes, facts), (sample, lengths), deadline)
    except TokensRefused as refusal:
        return _hindered(refused_problem(refusal.code, refusal.what))


async def _measurement(
    worker: TokenWorker,
    asked: Mapping[str, Any],
    about: tuple[TokenWishes, TokenFacts],
    rows: tuple[Sequence[SampledRow], Lengths],
    deadline: float,
) -> Measurement:
    (wishes, facts), (sample, lengths) = about, rows
    limits = _limits(wishes, facts)
    measured = await _measure(worker, {**asked, "limits": limits}, _spread(sample), deadline)
    weighed = weigh(measured, sample, lengths)
    place = _fitting_place(limits, weighed, facts)
    losses = await _losses(worker, asked, measured)
    report = replace(
        _report(weighed, place, trains=facts.trains_on_rows),
        example=await _example(worker, asked, limits[place], measured),
        problems=find_problems(facts, weighed, place, limits, losses),
    )
    return Measurement(report, limits[place], facts.context_length)


def _hindered(problem: DataProblem, context_length: int | None = None) -> Measurement:
    """Return the measurement of nothing, with what stands in its way."""
    nothing = TokenReport(0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, problems=(problem,))
    return Measurement(nothing, None, context_length)


def _fitting(p99: int, context_length: int | None) -> int:
    """Return the smallest usual max_length that covers 99 % of rows, never above what the model can read."""
    chosen = next((length for length in LADDER if length >= p99), LADDER[-1])
    return min(chosen, context_length) if context_length else chosen


def _limits(wishes: TokenWishes, facts: TokenFacts) -> list[int | None]:
    """Return the max_lengths to measure with: the one that is set, else every one that may be chosen."""
    if "max_length" in wishes.config:
        given = wishes.config["max_length"]
        return [given if isinstance(given, int) else None]
    if not facts.has_max_length:
        return [None]
    return [*sorted({_fitting(length, facts.context_length) for length in LADDER})]


def _fitting_place(limits: Sequence[int | None], weighed: Weighed, facts: TokenFacts) -> int:
    return 0 if len(limits) == 1 else limits.index(_fitting(weighed.quantile(COVERED), facts.context_length))


def _spread(sample: Sequence[SampledRow]) -> list[SampledRow]:
    """Return the rows in an order of which any beginning holds short and long ones alike."""
    strata: dict[int, list[SampledRow]] = {}
    for row in sample:
        strata.setdefault(row.characters.bit_length(), []).append(row)
    ranked = [
        ((place + 0.5) / len(rows), stratum, row) for stratum, rows in strata.items() for place, row in enumerate(rows)
    ]
    return [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])]


async def _measure(
    worker: TokenWorker, asked: Mapping[str, Any], rows: Sequence[SampledRow], deadline: float
) -> list[MeasuredRow]:
    """Measure batch by batch until the deadline, each of a size that takes a fraction of a second."""
    found: list[MeasuredRow] = []
    size = _FIRST_BATCH
    while len(found) < len(rows) and (monotonic() < deadline or not found):
        batch = rows[len(found) : len(found) + size]
        began = monotonic()
        try:
            answers = await worker.ask(
                "measure", max(deadline - began, 0) + _GRACE_S, **asked, rows=[row.row for row in batch]
            )
        except NotPossible:
            if not found:
                raise
            break  # what was measured before speaks for itself
        found += [MeasuredRow.of(row, answer) for row, answer in zip(batch, answers, strict=True)]
        took = max(monotonic() - began, 1e-3)
        size = max(1, min(_LARGEST_BATCH, 2 * size, math.ceil(size * _BATCH_S / took)))
    return found


async def _losses(worker: TokenWorker, asked: Mapping[str, Any], measured: Sequence[MeasuredRow]) -> Losses:
    """Return what the chat template leaves out of the rows that were measured first, short and long ones alike."""
    rows = [row.sampled for row in measured if not row.refused][:_LOOKED_AT_FOR_LOSSES]
    try:
        answers = await worker.ask("losses", _GRACE_S, **asked, rows=[row.row for row in rows])
    except TokensOverrun:
        return Losses(0)
    found = Losses(len(rows))
    for row, answer in zip(rows, answers, strict=True):
        found.add(row.number, answer["lost"], answer["doubled"])
    return found


async def _example(
    worker: TokenWorker, asked: Mapping[str, Any], limit: int | None, measured: Sequence[MeasuredRow]
) -> str:
    """Return the first row of usual length, as the model sees it."""
    read = [row for row in measured if not row.refused]
    if not read:
        return ""
    usual = sorted(row.longest for row in read)[len(read) // 2]
    chosen = min(read, key=lambda row: (row.longest > usual, row.sampled.number))
    config = asked["config"] | {"max_length": limit}
    try:
        text = await worker.ask("example", _GRACE_S, **{**asked, "config": config}, rows=[chosen.sampled.row])
    except NotPossible:
        return ""
    return str(text)[:_EXAMPLE_CHARACTERS]


def _report(weighed: Weighed, place: int, *, trains: bool) -> TokenReport:
    kept, trained = weighed.left(place)
    return TokenReport(
        p50=weighed.quantile(0.5),
        p95=weighed.quantile(0.95),
        p99=weighed.quantile(0.99),
        longest=weighed.longest,
        total=weighed.total,
        rows_measured=weighed.rows_measured,
        truncated_pct=weighed.percent(weighed.cut(place)),
        trained_pct=round(100 * trained / kept, 2) if kept else 0.0,
        untrained_rows=weighed.untrained(place) if trains else 0,
    )


def _key(data: str, model: str, wishes: TokenWishes) -> str:
    config = {name: wishes.config[name] for name in (*_READ, "max_length") if name in wishes.config}
    return json.dumps([data, model, wishes.folder, wishes.method, config], sort_keys=True, default=str)
