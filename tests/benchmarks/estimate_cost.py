"""How long estimate_cost takes on an emulated Hub, cold and warm: `python -m tests.benchmarks.estimate_cost`."""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from mcp import Client

from tests.data.desk import talks
from tests.estimate.stored_models import stored_files
from tests.face.answer import answer_of
from tests.hub import EmulatedHub
from tests.templates.count_tokens_desk import make_tokenizer, token_python
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

ROUNDS = 7
GOALS_S = {"cold": 1.5, "warm": 0.3}
MODELS = ("qwen3-0.6b", "qwen3-8b", "llama-3-70b")
DATA_ROWS = 20_000
CHATML = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"


async def measure(environ: dict[str, str], method: str, model: str, **given: object) -> tuple[float, float]:
    """Return the seconds of the first call, and the median of those that follow; a data set is looked at before."""
    taken: list[float] = []
    asked = {"method": method, "model": model, **given}
    async with Client(TrainingServer(Settings.from_environ(environ))) as client:
        if "dataset" in given:
            seen = answer_of(await client.call_tool("validate_dataset", {"dataset": given["dataset"], "model": model}))
            assert seen.result["rows_kept"] == DATA_ROWS, seen.text
            assert seen.result["tokens"], seen.text
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = answer_of(await client.call_tool("estimate_cost", asked))
            taken.append(time.perf_counter() - began)
            assert answer.result["options"], answer.text
    return taken[0], statistics.median(taken[1:])


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a tokenizer made on the spot."""
    return {path.name: path.read_bytes() for path in make_tokenizer(folder, "bpe", CHATML).iterdir()}


def tell(name: str, taken: tuple[float, float]) -> None:
    """Print seconds, and what they are of the goals."""
    shares = "".join(f"{value:9.3f}{value / goal:9.0%}" for value, goal in zip(taken, GOALS_S.values(), strict=True))
    print(f"{name:36}{shares}")


def main() -> None:
    """Print how long it takes for described rows, and for data that was looked at before."""
    with EmulatedHub.start() as hub, tempfile.TemporaryDirectory() as home:
        token_python(Path(home))
        tokenizer, data = (
            tokenizer_files(Path(home) / "tokenizer"),
            "\n".join(map(json.dumps, talks(DATA_ROWS))).encode(),
        )
        for name in MODELS:
            hub.add_repo(f"acme/{name}", {**stored_files(name), **tokenizer})
        hub.add_repo("acme/chats", {"train.jsonl": data}, repo_type="dataset")
        here = Path(home) / "chats.jsonl"
        here.write_bytes(data)
        own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "TRL_MCP_HOME": home}
        environ = {"PATH": os.environ["PATH"], **own}
        asked: Mapping[str, dict[str, object]] = {
            "5,000 rows of 500": {"rows": 5000, "tokens_per_row": 500},
            "20,000 rows on the Hub": {"dataset": "acme/chats"},
            "20,000 rows here": {"dataset": str(here)},
        }
        print(f"{'':36}{'cold, s':>9}{'of goal':>9}{'warm, s':>9}{'of goal':>9}")
        for model in MODELS:
            for words, given in asked.items():
                tell(f"{model} sft, {words}", asyncio.run(measure(environ, "sft", f"acme/{model}", **given)))
            rows = asked["5,000 rows of 500"]
            tell(f"{model} grpo, 5,000 rows of 500", asyncio.run(measure(environ, "grpo", f"acme/{model}", **rows)))


if __name__ == "__main__":
    main()
