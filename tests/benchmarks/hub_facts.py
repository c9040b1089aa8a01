"""How long the facts of a plan take on a Hub whose every answer is slow: `python -m tests.benchmarks.hub_facts`."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import INHERITED, without_counting
from tests.estimate.stored_models import stored_files
from tests.face.answer import answer_of
from tests.hub import EmulatedHub, Fault
from tests.paid.desk import ROWS, PaidDesk

LATENCY_S = 0.4
STORED: dict[str, Any] = {"model": "alice/qwen3-0.6b", "timeout": None}
CASES: dict[str, dict[str, Any]] = {
    "a named flavor": STORED | {"hardware": "t4-small"},
    "hardware auto": STORED | {"hardware": "auto"},
    "a reward model": {
        **STORED,
        "method": "grpo",
        "rewards": ["alice/reward"],
        "hardware": "l4x1",
    },
}


def desk_of(hub: EmulatedHub, home: Path) -> PaidDesk:
    """Return a desk whose server has just started and knows nothing yet."""
    without_counting(home)
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    places = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "TRL_MCP_HOME": str(home)}
    return PaidDesk(hub, kept | places | {"HF_TOKEN": hub.tokens["alice"]})


async def measure(hub: EmulatedHub, home: Path, given: dict[str, Any], latency_s: float) -> str:
    """Return how long one dry run takes, with how many requests."""
    desk = desk_of(hub, home)
    hub.faults.clear()
    if latency_s:
        hub.faults.add(Fault(kind="slow", delay_s=latency_s, times=100_000))
    async with desk.client() as client:
        await client.list_tools()
        hub.clear_requests()
        began = time.perf_counter()
        answer = answer_of(await client.call_tool("submit_training", _arguments(given)))
        took = time.perf_counter() - began
    asked = len(hub.requests())
    return f"{took:.2f} s, {asked} requests, at most {hub.most_at_once()} at once ({answer.result['status']})"


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    training = {"method": "sft", "dataset": "alice/sums", "dry_run": True} | given
    return {name: value for name, value in training.items() if value is not None}


def main() -> None:
    """Print each case without and with the latency."""
    with tempfile.TemporaryDirectory() as folder, EmulatedHub.start(Path(folder) / "hub") as hub:
        for name in ("qwen3-0.6b", "reward"):
            hub.add_repo(f"alice/{name}", stored_files("qwen3-0.6b"))
        hub.add_repo("alice/sums", {"train.jsonl": ROWS}, repo_type="dataset")
        hub.hold_jobs()
        for case, given in CASES.items():
            for latency_s in (0.0, LATENCY_S):
                home = Path(tempfile.mkdtemp(dir=folder))
                print(f"{case}, {latency_s:.1f} s an answer: {asyncio.run(measure(hub, home, given, latency_s))}")


if __name__ == "__main__":
    main()
