"""How long a whole job takes: start-up, steps, generation, evaluation, saving. Seconds; p50 and p90."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trl_mcp.estimate.calibration import CALIBRATION
from trl_mcp.estimate.cards import Card
from trl_mcp.estimate.setup import METHODS, Lora, Setup, adapter_numbers
from trl_mcp.estimate.speed import matrix_rate, step
from trl_mcp.values import ModelShape

#: Assumed, not measured on Hugging Face Jobs: seconds until a container runs, to install torch and TRL (more with
#: vLLM), GB/s from and to the Hub, from disk, rows/s to tokenise, seconds to make a repository and commit.
_CONTAINER_S, _INSTALL_S, _INSTALL_VLLM_S = 60.0, 90.0, 120.0
_DOWNLOAD_GBS, _PUSH_GBS, _DISK_GBS = 0.25, 0.1, 1.0
_TOKENIZE_ROWS_S, _COMMIT_S = 1500.0, 30.0
#: Of rows not used for fitting (Transformers only), nine in ten took less than 1.14 times the predicted time, 95 in 100
#: less than 1.2 times; rows of known length though, which data never is. How long answers get is assumed.
_LATE, _LATE_GENERATING, _LATE_START = 1.25, 1.6, 2.0
_TIMEOUT_FACTOR, _TIMEOUT_SPARE_S, _QUARTER_HOUR_S = 1.5, 900, 900
SPREAD = (
    f"hours_high takes {_LATE:g} times as long to train and evaluate, {_LATE_GENERATING:g} times to write answers, "
    f"{_LATE_START:g} times to start, load and save; timeout_s is {_TIMEOUT_FACTOR:g} times the steps and "
    f"{_TIMEOUT_SPARE_S // 60} minutes more, in whole quarters of an hour"
)
_GB = 1e9
_VLLM_TOKEN_S, _GENERATE_LAYER_S = 0.004, 0.001
_SPREAD_OF_LENGTHS = 0.42
#: A job saves a checkpoint whenever so much time has passed: save_minutes of the templates.
_SAVED_EVERY_S = 600
#: What one call of a judge is taken to need; a job keeps so many under way at a time.
JUDGE_CALL_S, JUDGES_AT_ONCE = 2, 8


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained, as it is asked for. Rows and tokens are those of the data, tokens of one sequence.

    `tokens_per_row` is the mean and `longest` the longest sequence after truncation; with packing all sequences have
    `longest`. `batch_size` counts rows (prompts, where the method generates) per optimizer step over all devices.
    `device_batch` 0: as memory allows; `strategy` empty: multi_gpu where there are several. `frozen` are models named
    for rewards or teaching, held in 16 bits. `judges` are models that a provider asks for scores. `liger` is
    use_liger_kernel. `dtype` empty: as the templates load on that card. `checkpoints` None: as their clock wants them.
    """

    method: str
    rows: int
    tokens_per_row: float
    longest: int
    batch_size: int = 16
    epochs: float = 1.0
    max_steps: int = 0
    packing: bool = False
    lora: Lora = field(default_factory=Lora)
    optimizer: str = "adamw_torch_fused"
    checkpointing: bool = True
    attention: str = "sdpa"
    liger: bool = False
    strategy: str = ""
    device_batch: int = 0
    dtype: str = ""
    evaluations: int = 0
    eval_rows: int = 0
    generations: int = 8
    completion: int = 256
    vllm: bool = False
    vllm_share: float = 0.3
    reference: bool | None = None
    frozen: tuple[ModelShape, ...] = ()
    judges: int = 0
    merge: bool = False
    checkpoints: int | None = None
    save_only_model: bool = False

    @property
    def sequences(self) -> int:
        """Sequences per optimizer step over all devices."""
        method = METHODS[self.method]
        grouped = self.generations if self.method in {"grpo", "rloo"} else 1
        return self.batch_size * method.sequences * grouped

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.max_steps > 0:
            return self.max_steps
        rows = self.rows * self.epochs
        if self.packing:
            rows *= min(1.0, self.tokens_per_row / self.longest)
        return max(1, math.ceil(rows / self.batch_size))


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a job, part by part; `expected` is the median, `late` what nine in ten stay below."""

    starting: float
    loading: float
    training: float
    generating: float
    evaluating: float
    saving: float
    expected: float
    late: float

    @property
    def timeout_s(self) -> int:
        """A limit with room to spare, in whole quarters of an hour."""
        spare = self.expected - self.training - self.generating
        limit = max(_TIMEOUT_FACTOR * (self.training + self.generating), self.late - spare) + spare + _TIMEOUT_SPARE_S
        return math.ceil(limit / _QUARTER_HOUR_S) * _QUARTER_HOUR_S


def padded_length(mean: float, longest: int, batch: int) -> int:
    """Return the expected longest of `batch` sequences, to which the others are padded; lengths vary by half."""
    return max(1, min(longest, round(mean * (1 + _SPREAD_OF_LENGTHS * math.log(max(1, batch))))))


def duration(
    shape: ModelShape, setup: Setup, job: Job, card: Card, speed: Mapping[str, float] = CALIBRATION.speed
) -> Duration:
    """Return how long a job takes on cards of one kind; `setup` is that of its longest batch."""
    usual = setup if job.packing else replace(setup, length=_usual_length(job, setup))
    found = step(shape, usual, card, speed)
    forward = found.total * 2 / (2 + (4 if setup.tuning == "full" else 2) + 2 * setup.checkpointing)
    method = METHODS[job.method]
    one = setup.accumulation * (found.total * (1 + method.values) + forward * method.passes) + found.optimizer
    answering = _generation(shape, usual, job, card) if method.generates else 0.0
    generating = (answering + judging_s(job)) * job.steps
    training = one * job.steps
    passes = math.ceil(job.eval_rows * method.sequences / (setup.gpus * setup.batch))
    evaluating = job.evaluations * passes * forward
    starting = _CONTAINER_S + _INSTALL_S + (_INSTALL_VLLM_S if job.vllm else 0) + job.rows / _TOKENIZE_ROWS_S
    loaded = download_gb(shape, job)
    loading = loaded / _DOWNLOAD_GBS + loaded / _DISK_GBS
    timed = int((training + generating + evaluating) / _SAVED_EVERY_S)
    checkpoint = saved_gb(shape, setup) if job.save_only_model else checkpoint_gb(shape, setup)
    checkpoints = timed if job.checkpoints is None else job.checkpoints
    saving = checkpoints * checkpoint / _DISK_GBS + _pushing(shape, setup, job)
    expected = starting + loading + training + generating + evaluating + saving
    late = _LATE_START * (starting + loading + saving) + _LATE * (training + evaluating) + _LATE_GENERATING * generating
    return Duration(starting, loading, training, generating, evaluating, saving, expected, late)


def download_gb(shape: ModelShape, job: Job) -> float:
    """Return the size of all models to fetch in GB."""
    return sum(model.bytes_on_disk or 2 * model.parameters for model in (shape, *job.frozen)) / _GB


def judging_s(job: Job) -> float:
    """Return how long the judges take over the answers of a step."""
    return job.judges * job.sequences * JUDGE_CALL_S / JUDGES_AT_ONCE


def _usual_length(job: Job, setup: Setup) -> int:
    return padded_length(job.tokens_per_row, setup.length, setup.batch)


def _pushing(shape: ModelShape, setup: Setup, job: Job) -> float:
    saved = saved_gb(shape, setup) + (2 * shape.parameters / _GB if job.merge and setup.tuning != "full" else 0)
    return saved / _DISK_GBS + saved / _PUSH_GBS + _COMMIT_S


def saved_gb(shape: ModelShape, setup: Setup) -> float:
    """Return the size of the finished model or adapter in GB."""
    if setup.tuning == "full":
        return setup.trained_bytes * shape.parameters / _GB
    return 4 * adapter_numbers(shape, setup.lora) / _GB


def checkpoint_gb(shape: ModelShape, setup: Setup) -> float:
    """Return the size of a checkpoint in GB: what is saved, and the optimizer's two moments of each number."""
    return 3 * saved_gb(shape, setup)


def _generation(shape: ModelShape, setup: Setup, job: Job, card: Card) -> float:
    """Return the seconds to write all answers of one optimizer step, token after token.

    A token takes as long as reading weights and cache, or as computing all sequences, whichever is longer, and what the
    host needs: some 4 ms with vLLM, 1 ms a layer with Transformers.
    """
    each = setup.accumulation * setup.batch
    cache = each * setup.length * 4 * shape.layers * shape.kv_heads * shape.head_dim
    active = shape.active_parameters or shape.parameters
    reading = (2 * active + cache) / (0.75 * card.memory_gbs * _GB)
    computing = 2 * active * each / (0.5 * matrix_rate(setup, card, CALIBRATION.speed))
    host = _VLLM_TOKEN_S if job.vllm else _GENERATE_LAYER_S * shape.layers
    return job.completion * (max(reading, computing) + host)
