"""What the local backend costs: `python -m tests.benchmarks.local_backend`, exit code 1 if a budget is exceeded.

Over `uv run script.py` by hand, in memory while a job runs, and for the end of a large log.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uv

from tests.backends.desk import HEADER, SLEEP, Desk, until
from trl_mcp.backends.log_file import read_tail

ROUNDS = 5
LOG_BYTES = 1_000_000_000
BODY = "print('done')\n"


@dataclass(frozen=True)
class Figure:
    """One measurement beside what it may be at most."""

    what: str
    measured: float
    budget: float
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.measured < self.budget else "TOO MUCH"
        return f"{self.what:<58} {self.measured:>9.3f} {self.unit:<3} (under {self.budget:g} {self.unit})  {verdict}"


def _median_seconds(act: Callable[[], object]) -> float:
    def once() -> float:
        begin = time.perf_counter()
        act()
        return time.perf_counter() - begin

    return statistics.median(once() for _ in range(ROUNDS))


def overhead(desk: Desk) -> list[Figure]:
    """Measure a whole job against the same script run by hand, both with their environment made."""
    script = desk.home / "by_hand.py"
    script.write_text(HEADER + BODY)
    by_hand = [uv.find_uv_bin(), "run", "--quiet", str(script)]

    def run_by_hand() -> None:
        subprocess.run(by_hand, env=desk.environ, check=True, stdout=subprocess.DEVNULL)

    run_by_hand()
    desk.run(BODY)
    hand = _median_seconds(run_by_hand)
    job = _median_seconds(lambda: desk.run(BODY))
    print(f"by hand {hand:.3f} s, as a job {job:.3f} s")
    submit = _median_seconds(lambda: desk.start(BODY))
    until(lambda: not any((desk.home / "locks" / "queue").iterdir()), "the queue is empty")
    return [Figure("a job, over `uv run script.py` by hand", job - hand, 1, "s"), Figure("submit", submit, 0.5, "s")]


def memory(desk: Desk) -> list[Figure]:
    """Measure the supervisor while its job runs."""
    job = desk.start_and_see_up(SLEEP)
    rss = desk.supervisor(job).memory_info().rss / 1e6
    desk.cancel(job)
    desk.ended(job)
    return [Figure("supervisor, resident", rss, 25, "MB")]


def large_log(folder: Path) -> list[Figure]:
    """Measure the last 40 lines of a log of 1 GB that was really written."""
    log = folder / "log.txt"
    block = b"".join(b"{'loss': 1.2345, 'step': %07d, 'text': 'a line of a usual length'}\n" % i for i in range(10_000))
    with log.open("wb") as file:
        while file.tell() < LOG_BYTES:
            file.write(block)
    seconds = _median_seconds(lambda: read_tail(log, 40, finished=False))
    tracemalloc.start()
    read_tail(log, 40, finished=False)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    log.unlink()
    return [Figure("tail of a log of 1 GB", seconds * 1e3, 50, "ms"), Figure("its memory", peak, 4, "MB")]


def main() -> int:
    """Print every figure beside its budget."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        desk = Desk(Path(folder) / "home", environ | {"UV_CACHE_DIR": f"{folder}/uv", "CUDA_VISIBLE_DEVICES": ""})
        desk.home.mkdir()
        try:
            figures = [*overhead(desk), *memory(desk), *large_log(Path(folder))]
        finally:
            desk.clear()
    print(*figures, sep="\n")
    return int(any(figure.measured >= figure.budget for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
