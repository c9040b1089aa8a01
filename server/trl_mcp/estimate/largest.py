"""The most that fits a machine, solved by halving: rows in a pass, tokens in a row."""

from collections.abc import Callable
from dataclasses import replace

from trl_mcp.estimate.duration import Job
from trl_mcp.estimate.machine import usable_gb
from trl_mcp.estimate.memory import peak, verdict
from trl_mcp.estimate.options import setup_for, solve_batch
from trl_mcp.values import Flavor, ModelShape

_MOST_ROWS = 65_536
_MOST_TOKENS = 1_048_576


def largest_batch(shape: ModelShape, job: Job, flavor: Flavor, tuning: str) -> int:
    """Return the most rows of the job's longest length whose pass fits with a fifth to spare; 0 where not even one does."""
    return _largest(lambda rows: _fits(shape, job, flavor, tuning, rows), _MOST_ROWS)


def largest_length(shape: ModelShape, job: Job, flavor: Flavor, tuning: str) -> int:
    """Return the most tokens that rows may have where as few a pass as it takes are, up to the model's context.

    0 where none fits.
    """

    def fits(tokens: int) -> bool:
        longer = replace(job, longest=tokens)
        if job.device_batch:
            return _fits(shape, longer, flavor, tuning, job.device_batch)
        return solve_batch(shape, longer, flavor, tuning) is not None

    return _largest(fits, shape.context or _MOST_TOKENS)


def _fits(shape: ModelShape, job: Job, flavor: Flavor, tuning: str, rows: int) -> bool:
    room = usable_gb(flavor)
    return verdict(peak(shape, setup_for(shape, job, flavor, tuning, rows), room).process, room) == "fits"


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that fits, where all smaller ones do too; 0 where 1 does not."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
