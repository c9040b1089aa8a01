"""Frozen values that rooms hand to each other, and the names that must exist only once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class ToolName(StrEnum):
    """The tools an agent can call."""

    SUBMIT_TRAINING = "submit_training"
    START_JOB = "start_job"
    JOB_STATUS = "job_status"
    JOB_LOGS = "job_logs"
    CANCEL_JOB = "cancel_job"
    VALIDATE_DATASET = "validate_dataset"
    CONVERT_GGUF = "convert_gguf"
    SUBMIT_SCRIPT = "submit_script"
    ESTIMATE_COST = "estimate_cost"


class Severity(StrEnum):
    """How much a finding matters: an error stops the submission unless it is accepted by its code."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: what is wrong or was translated, and the mend."""

    code: str
    severity: Severity
    message: str
    fix: str = ""


class Verdict(StrEnum):
    """What can be done with data as it is: train, train once the caller has said which column is which, nothing."""

    READY = "ready"
    NEEDS_COLUMNS = "needs_columns"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class DataProblem:
    """What is wrong with `count` rows of the data; `rows` are the numbers of the first ones, from 0 in the split."""

    code: str
    severity: Severity
    count: int
    rows: tuple[int, ...]
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class TokenReport:
    """How long the kept rows are in tokens, measured on `rows_measured` of them and carried over to the others.

    Shares are in percent: of rows cut at max_length, and of tokens that are trained on. `untrained_rows` have no
    trained token left. `example` is one row as the model sees it, the trained part between marks.
    """

    p50: int
    p95: int
    p99: int
    longest: int
    total: int
    rows_measured: int
    truncated_pct: float
    trained_pct: float
    untrained_rows: int
    example: str = ""
    problems: tuple[DataProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class DataReport:
    """What is known of a data set for one method. Counts are rows; `rows_total` is None where it is not known.

    `layout` names what the rows hold, `conversion` says in one sentence what becomes of them, `use` are the arguments
    to pass on, `complete` is false where time or size set an end before the last row, `columns` are those of the data.
    """

    name: str
    fingerprint: str
    layout: str = ""
    conversion: str = ""
    verdict: Verdict = Verdict.READY
    use: Mapping[str, object] = field(default_factory=dict[str, object])
    methods_ok: tuple[str, ...] = ()
    rows_total: int | None = None
    rows_checked: int = 0
    rows_kept: int = 0
    complete: bool = False
    revision: str | None = None
    columns: tuple[str, ...] = ()
    problems: tuple[DataProblem, ...] = ()
    tokens: TokenReport | None = None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of a model without loading it; None where it was not looked at, or has no commit.

    `licence`, `base_model`, `library` and `files` are what the Hub says of a repository; empty for a folder.
    """

    name: str
    fingerprint: str
    has_chat_template: bool | None = None
    commit: str | None = None
    licence: str = ""
    base_model: str = ""
    library: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flavor:
    """A kind of machine on offer. GB are 10^9 bytes, `vram_gb` of all its GPUs; the price is per started minute."""

    name: str
    pretty_name: str
    vcpu: int
    ram_gb: float
    disk_gb: float
    accelerator: str
    gpu_count: int
    vram_gb: float
    micro_usd_per_minute: int


@dataclass(frozen=True, slots=True)
class DaySpending:
    """What paid jobs of one UTC day cost, in USD: `spent` by those that have ended, `reserved` by those that have not.

    `limit` is the operator's; jobs that have not ended count with the most they can cost.
    """

    limit: Decimal
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """What a further job may cost at most."""
        return max(Decimal(0), self.limit - self.spent - self.reserved)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory and time of a model follow from. Parameters are counts of all stored numbers, GB play no part here.

    `active_parameters` are those one token passes through (fewer than all with experts), `vision_parameters` those
    outside the text part. `intermediate` is the width of a dense layer's feed-forward part, `expert_intermediate`
    that of one expert; `sparse_layers` are the layers that have experts. `dtype` and `quantization` are those of the
    stored files. `guessed` says that the sizes were derived from the parameter count, not read.
    """

    parameters: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    active_parameters: int = 0
    gated: bool = True
    tied: bool = False
    context: int = 0
    model_type: str = ""
    dtype: str = "bfloat16"
    quantization: str = ""
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    sparse_layers: int = 0
    vision_parameters: int = 0
    encoder: bool = False
    bytes_on_disk: int = 0
    guessed: bool = False

    @property
    def embedding(self) -> int:
        """Numbers in the token embedding; the head has as many, its own unless `tied`."""
        return self.vocab * self.hidden

    @property
    def linear(self) -> int:
        """Numbers in the layers of the text part: what quantisation and adapters work on."""
        tables = 1 if self.tied or self.encoder else 2
        return max(0, self.parameters - self.vision_parameters - tables * self.embedding)

    @property
    def active_linear(self) -> int:
        """Numbers of `linear` that one token is multiplied with."""
        return max(0, self.linear - (self.parameters - (self.active_parameters or self.parameters)))


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What the GPUs of a job do at one moment: the mean use in percent, memory of all of them in GB (10^9 bytes)."""

    gpus: int
    utilization: float
    memory_used_gb: float
    memory_total_gb: float


def call(tool: ToolName, **arguments: object) -> str:
    """Return the literal call of a tool that an agent can make next."""
    given = ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items())
    return f"{tool}({given})"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
