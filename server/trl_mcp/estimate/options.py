"""Where a training can run: what fits, how long it takes, what it costs, and which of these to take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from trl_mcp.estimate.activations import trains_nothing
from trl_mcp.estimate.cards import Card
from trl_mcp.estimate.duration import Duration, Job, duration
from trl_mcp.estimate.few_bits import cannot_train, in_memory
from trl_mcp.estimate.machine import card_of, disk_gb, host_gb, usable_gb
from trl_mcp.estimate.memory import Memory, peak, verdict
from trl_mcp.estimate.money import at_most, ceiling, cost, in_usd
from trl_mcp.estimate.setup import BYTES, METHODS, SCORING_METHODS, Setup
from trl_mcp.recipes.sharding import cannot_shard
from trl_mcp.values import Flavor, ModelShape

TUNINGS = ("full", "lora", "qlora")
DISK = "disk"
_VERDICTS = ("fits", "tight", "no")
_MOST_TOKENS = 16_384
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Option:
    """One machine and tuning for a job. Hours and money are None where the machine's speed is not known.

    `usd_p90` is what nine in ten such runs stay below. `reason` says in words why it fits or not and what bounds it;
    `is_unable` that no memory would help, `remedy` (part of the reason) what would make it fit on this machine. `bound`
    is what decides: DISK, RAM, or the memory of a card.
    """

    hardware: str
    tuning: str
    verdict: str
    peak_gb: float
    usable_gb: float
    breakdown: Memory
    device_batch: int
    accumulation: int
    strategy: str
    reason: str
    duration: Duration | None = None
    hours_low: float | None = None
    hours_high: float | None = None
    usd_expected: Decimal | None = None
    usd_p90: Decimal | None = None
    timeout_s: int | None = None
    micro_usd_per_minute: int = 0
    is_unable: bool = False
    remedy: str = ""
    bound: str = ""

    @property
    def possible(self) -> bool:
        """Whether it can be tried at all."""
        return self.verdict != "no"


def option(shape: ModelShape, job: Job, flavor: Flavor, tuning: str) -> Option:
    """Return what a job of one tuning needs on one machine; the device batch follows from memory unless it is given."""
    card, room = card_of(flavor), usable_gb(flavor)
    fitting = solve_batch(shape, job, flavor, tuning)
    setup = fitting or setup_for(shape, job, flavor, tuning, 1)
    needed = peak(shape, setup, room)
    unable = _unable(shape, setup, job, flavor)
    judged, reason, bound = ("no", unable, "") if unable else _judge(shape, setup, job, flavor, needed)
    remedy = _remedy(shape, setup, job, room) if judged == "no" and not unable else ""
    found = Option(
        hardware=flavor.name,
        tuning=tuning,
        verdict=judged,
        peak_gb=round(needed.process if flavor.gpu_count else host_gb(shape, setup, job, flavor, needed), 1),
        usable_gb=round(room if flavor.gpu_count else flavor.ram_gb, 1),
        breakdown=needed,
        device_batch=setup.batch // METHODS[job.method].sequences,
        accumulation=setup.accumulation,
        strategy=setup.strategy,
        reason=f"{reason}; {remedy}" if remedy else reason,
        is_unable=bool(unable),
        remedy=remedy,
        bound=bound,
    )
    return _timed(found, duration(shape, setup, job, card), flavor) if card else found


def _timed(found: Option, taken: Duration, flavor: Flavor) -> Option:
    price = flavor.micro_usd_per_minute
    return replace(
        found,
        duration=taken,
        hours_low=taken.expected / 3600,
        hours_high=taken.late / 3600,
        usd_expected=cost(price, taken.expected),
        usd_p90=cost(price, taken.late),
        timeout_s=taken.timeout_s,
        micro_usd_per_minute=price,
        reason=f"{found.reason}; {_spent_on(taken)}" if found.possible else found.reason,
    )


def _spent_on(taken: Duration) -> str:
    parts = {
        "training": taken.training,
        "generating answers": taken.generating,
        "evaluating": taken.evaluating,
        "starting and loading": taken.starting + taken.loading,
        "saving": taken.saving,
    }
    longest = max(parts, key=lambda name: parts[name])
    return f"{parts[longest] / taken.expected:.0%} of the time is {longest}"


def setup_for(shape: ModelShape, job: Job, flavor: Flavor, tuning: str, device_batch: int) -> Setup:
    """Return how a job runs on one machine with so many rows in a pass."""
    card, gpus = card_of(flavor), max(1, flavor.gpu_count)
    method = METHODS[job.method]
    sequences = device_batch * method.sequences
    full = tuning == "full"
    references = method.references if job.reference is None else int(job.reference)
    copies = (references if full else 0) + (method.judges if not job.frozen else 0)
    dtype = job.dtype or _dtype(card, flavor, tuning)
    frozen = (2 * sum(model.parameters for model in job.frozen) + BYTES[dtype] * copies * shape.parameters) / _GB
    share = max(1, job.sequences // gpus)
    return Setup(
        tuning=tuning,
        length=job.longest,
        batch=sequences,
        accumulation=max(1, share // sequences),
        dtype=dtype,
        quantization=in_memory(shape.quantization, tuning),
        optimizer=job.optimizer,
        checkpointing=1.0 if job.checkpointing and flavor.gpu_count else 0.0,
        attention=job.attention,
        loss="chunked" if job.liger and method.loss != "none" else method.loss,
        lora=None if full else job.lora,
        gpus=gpus,
        strategy=(job.strategy or "multi_gpu") if gpus > 1 else "single_gpu",
        trained_copies=1 + method.values,
        frozen_gb=frozen,
        server_share=job.vllm_share if method.generates and job.vllm else 0.0,
        answers=share if method.generates and not job.vllm else 0,
        dropout=method.dropout and job.lora.dropout,
        scored=min(1.0, job.completion / job.longest) if method.generates else 1.0,
    )


def _dtype(card: Card | None, flavor: Flavor, tuning: str) -> str:
    """Return the type the templates load weights in: 16 bits, but 32 to train whole weights without bfloat16."""
    if not flavor.gpu_count:
        return "float32"
    if card and not card.bf16:
        return "float32" if tuning == "full" else "float16"
    return "bfloat16"


def solve_batch(shape: ModelShape, job: Job, flavor: Flavor, tuning: str) -> Setup | None:
    """Return the fastest setup of those that fit with room to spare; None where not even one row a pass does.

    A device batch divides the rows of a step. A larger one uses a card better and pads more; beyond some 16,000 tokens
    in a pass nothing is gained.
    """
    method, card, room = METHODS[job.method], card_of(flavor), usable_gb(flavor)
    if job.device_batch:
        return setup_for(shape, job, flavor, tuning, job.device_batch)
    rows = max(1, job.sequences // method.sequences // max(1, flavor.gpu_count))
    most = max(1, _MOST_TOKENS // (method.sequences * job.longest))
    setups = [setup_for(shape, job, flavor, tuning, count) for count in _divisors(rows) if count <= most]
    fitting = [setup for setup in setups if verdict(peak(shape, setup, room).process, room) == "fits"]
    if card is None:
        return (fitting[-1] if flavor.gpu_count else fitting[0]) if fitting else None
    return min(fitting, key=lambda setup: duration(shape, setup, job, card).expected, default=None)


def _divisors(number: int) -> list[int]:
    return [count for count in range(1, number + 1) if number % count == 0]


def _judge(shape: ModelShape, setup: Setup, job: Job, flavor: Flavor, needed: Memory) -> tuple[str, str, str]:
    """Return the verdict on memory of card and host, and disk, with the reason and with which of them decides."""
    room = usable_gb(flavor)
    what = f"the {flavor.accelerator}" if flavor.gpu_count else "the machine"
    limits = {
        f"memory of {what}": (needed.process, room) if flavor.gpu_count else (0.0, 1.0),
        "RAM": (host_gb(shape, setup, job, flavor, needed), flavor.ram_gb or float("inf")),
        DISK: (disk_gb(shape, setup, job), flavor.disk_gb or float("inf")),
    }
    judged = {
        name: verdict(need, limit) if name.startswith("memory") or not flavor.gpu_count else _enough(need, limit)
        for name, (need, limit) in limits.items()
    }
    worst = max(judged, key=lambda name: (_VERDICTS.index(judged[name]), limits[name][0] / limits[name][1]))
    need, limit = limits[worst]
    if judged[worst] == "fits":
        worst = next(iter(limits)) if flavor.gpu_count else "RAM"
        need, limit = limits[worst]
    words = {"fits": "fits", "tight": "may run out:", "no": "does not fit:"}[judged[worst]]
    most = "" if worst == DISK else f", {_largest(needed)}"
    return judged[worst], f"{words} {need:.1f} GB of {limit:.1f} GB {worst}{most}", worst


def _remedy(shape: ModelShape, setup: Setup, job: Job, room: float) -> str:
    """Return what would make a training fit on the same machine; empty where nothing is known to."""
    if setup.gpus == 1 or job.strategy or cannot_shard("fsdp2", job.method, setup.tuning):
        return ""
    spread = peak(shape, replace(setup, strategy="fsdp2"), room).process
    return "strategy=fsdp2 spreads it over the GPUs and fits" if verdict(spread, room) == "fits" else ""


def _enough(need: float, limit: float) -> str:
    return "fits" if need <= limit else "no"


def _largest(needed: Memory) -> str:
    parts = needed.parts()
    name = max(parts, key=lambda part: parts[part])
    return f"most of it {name} ({parts[name]:.1f} GB)"


def _unable(shape: ModelShape, setup: Setup, job: Job, flavor: Flavor) -> str:
    """Return why a machine cannot run a training whatever its memory; empty where it can."""
    card = card_of(flavor)
    rows = job.sequences // METHODS[job.method].sequences
    if setup.tuning == "qlora" and card is not None and not card.bf16:
        return f"qlora computes in bfloat16, which a {card.name} does not: take lora"
    if stored := cannot_train(shape.quantization, setup.tuning, card):
        return stored
    if shape.encoder and job.method not in SCORING_METHODS:
        return f"the model only encodes ({shape.model_type}), and {job.method} trains models that write"
    if setup.tuning != "full" and trains_nothing(shape, setup):
        return "the adapter's target_modules name nothing that the model has"
    if rows % setup.gpus:
        return f"{rows} rows per step cannot be split over {setup.gpus} GPUs: take a batch_size that can"
    return ""


def options(shape: ModelShape, job: Job, flavors: Sequence[Flavor], tunings: Sequence[str] = TUNINGS) -> list[Option]:
    """Return every machine and tuning, those that fit before those that may, the cheaper first."""
    found = [option(shape, job, flavor, tuning) for flavor in flavors for tuning in tunings]
    return sorted(found, key=lambda one: (_VERDICTS.index(one.verdict), *_price_and_time(one)))


def _price_and_time(one: Option) -> tuple[Decimal, float]:
    unknown = Decimal("Infinity")
    return (unknown if one.usd_expected is None else one.usd_expected, one.hours_low or float("inf"))


def _eligible(found: Sequence[Option]) -> list[Option]:
    """Return the options that fit, or else those that may, of known price."""
    known = [one for one in found if one.usd_expected is not None]
    return [one for one in known if one.verdict == "fits"] or [one for one in known if one.verdict == "tight"]


def cheapest(found: Sequence[Option]) -> Option | None:
    """Return the one expected to cost least; of equals the faster."""
    return min(_eligible(found), key=_price_and_time, default=None)


def fastest(found: Sequence[Option]) -> Option | None:
    """Return the one expected to end first; of equals the cheaper."""
    return min(_eligible(found), key=lambda one: (one.hours_low, one.usd_expected), default=None)


def best_value(found: Sequence[Option]) -> Option | None:
    """Return the one with the least product of money and time."""
    return min(_eligible(found), key=lambda one: float(one.usd_expected or 0) * (one.hours_low or 0), default=None)


def choose(
    found: Sequence[Option], max_cost_usd: Decimal | None = None, attempts: int = 1
) -> tuple[Option | None, str]:
    """Return the machine for hardware="auto" and why: the cheapest that fits and whose ceiling stays below the limit.

    The ceiling is the price of the whole timeout, as often as it may be tried. None with the reason where none does.
    """
    fitting = [one for one in _eligible(found) if one.verdict == "fits"]
    if not fitting:
        return None, _why_none(found)
    affordable = [one for one in fitting if max_cost_usd is None or highest_cost(one, attempts) <= max_cost_usd]
    chosen = cheapest(affordable)
    if chosen is None:
        least = min(highest_cost(one, attempts) for one in fitting)
        return (
            None,
            f"Nothing that fits stays below {in_usd(max_cost_usd or Decimal(0))}: at least {at_most(least)} is needed.",
        )
    return chosen, f"the cheapest that fits: {chosen.reason}"


def highest_cost(one: Option, attempts: int) -> Decimal:
    """Return the most a run can cost: all its attempts run into their timeout."""
    return ceiling(one.micro_usd_per_minute, one.timeout_s or 0, attempts)


def lack(one: Option) -> tuple[bool, bool, float, int]:
    """Return how far a machine is from running a training, the nearest first; of equals the cheaper."""
    share = one.peak_gb / one.usable_gb if one.usable_gb else float("inf")
    return one.is_unable, not (one.remedy or one.possible), 0.0 if one.is_unable else share, one.micro_usd_per_minute


def _why_none(found: Sequence[Option]) -> str:
    if not found:
        return "There is no machine on offer."
    nearest = min(found, key=lack)
    if nearest.verdict == "fits":
        return f"It fits {nearest.hardware}, and how long it takes there is not known."
    if nearest.is_unable:
        return f"No machine can run it: {nearest.reason}."
    what = f"{nearest.tuning} on {nearest.hardware}: {nearest.reason}"
    return f"No machine has room for it with a fifth to spare. Nearest: {what}."
