"""What a machine needs besides the memory of its cards, and what each of its cards can do."""

from trl_mcp.estimate.cards import Card, card_named, usable
from trl_mcp.estimate.duration import Job, checkpoint_gb, download_gb, saved_gb
from trl_mcp.estimate.memory import Memory
from trl_mcp.estimate.setup import Setup
from trl_mcp.estimate.states import weight_bytes
from trl_mcp.values import Flavor, ModelShape

_GB = 1e9
#: A Python process with torch, TRL and its CUDA libraries; the system; the environment on disk, more with vLLM. Assumed.
_PROCESS_GB, _SYSTEM_GB = 3.5, 1.5
_ENVIRONMENT_GB, _VLLM_GB = 12.0, 10.0
_SHARD_GB = 5.0
_CHECKPOINTS = 2
_ROWS_PER_GB = 2_000_000


def card_of(flavor: Flavor) -> Card | None:
    """Return what is known of a machine's cards; None without any, or for cards that are not in the table."""
    return card_named(flavor.accelerator, card_size(flavor)) if flavor.gpu_count else None


def card_size(flavor: Flavor) -> float:
    """Return the memory of one card in GB as offered."""
    return flavor.vram_gb / max(1, flavor.gpu_count)


def usable_gb(flavor: Flavor) -> float:
    """Return the memory one training process can use: that of a card, without cards the machine's own."""
    if not flavor.gpu_count:
        return max(0.0, flavor.ram_gb - _SYSTEM_GB)
    card = card_of(flavor)
    return card.usable_gb if card else usable(card_size(flavor))


def host_gb(shape: ModelShape, setup: Setup, job: Job, flavor: Flavor, needed: Memory) -> float:
    """Return the memory of the host that a run needs in GB.

    One process reads a file of weights at a time straight to its card; of several, each loads the model whole before it
    moves it, under ZeRO 3 the first one for all. Without a card everything lies here.
    """
    data = job.rows / _ROWS_PER_GB
    if not flavor.gpu_count:
        return _SYSTEM_GB + _PROCESS_GB + data + needed.reserved
    weights = weight_bytes(shape, setup) / _GB
    loading = min(weights, _SHARD_GB) if setup.gpus == 1 else weights * (1 if setup.strategy == "zero3" else setup.gpus)
    return _SYSTEM_GB + setup.gpus * _PROCESS_GB + loading + data


def disk_gb(shape: ModelShape, setup: Setup, job: Job) -> float:
    """Return the disk that a run needs in GB: environment, models, two checkpoints and the one being written, result."""
    environment = _ENVIRONMENT_GB + (_VLLM_GB if job.vllm else 0)
    kept = (_CHECKPOINTS + 1) * checkpoint_gb(shape, setup) + saved_gb(shape, setup)
    merged = 2 * shape.parameters / _GB if job.merge and setup.tuning != "full" else 0
    return environment + download_gb(shape, job) + kept + merged
