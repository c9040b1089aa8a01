"""How long estimate_cost takes on an emulated Hub, cold and warm: `python -m tests.benchmarks.estimate_cost`."""

import asyncio
import os
import statistics
import tempfile
import time

from mcp import Client

from tests.estimate.stored_models import stored_files
from tests.face.answer import answer_of
from tests.hub import EmulatedHub
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

ROUNDS = 7
GOALS_S = {"cold": 1.5, "warm": 0.3}
MODELS = ("qwen3-0.6b", "qwen3-8b", "llama-3-70b")


async def measure(environ: dict[str, str], model: str, method: str) -> tuple[float, float]:
    """Return the seconds of a server's first call, and the median of those that follow."""
    given = {"method": method, "model": f"acme/{model}", "rows": 5000, "tokens_per_row": 500}
    taken: list[float] = []
    async with Client(TrainingServer(Settings.from_environ(environ))) as client:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = answer_of(await client.call_tool("estimate_cost", given))
            taken.append(time.perf_counter() - began)
            assert answer.result["options"], answer.text
    return taken[0], statistics.median(taken[1:])


def main() -> None:
    """Print seconds, and what they are of the goals."""
    with EmulatedHub.start() as hub, tempfile.TemporaryDirectory() as home:
        for name in MODELS:
            hub.add_repo(f"acme/{name}", stored_files(name))
        own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "TRL_MCP_HOME": home}
        environ = {"PATH": os.environ["PATH"], **own}
        print(f"{'':20}{'cold, s':>9}{'of goal':>9}{'warm, s':>9}{'of goal':>9}")
        for model in MODELS:
            for method in ("sft", "grpo"):
                cold, warm = asyncio.run(measure(environ, model, method))
                shares = f"{cold:9.3f}{cold / GOALS_S['cold']:9.0%}{warm:9.3f}{warm / GOALS_S['warm']:9.0%}"
                print(f"{model + ' ' + method:20}{shares}")


if __name__ == "__main__":
    main()
