"""What estimate_cost says of usual models, as a table: `python -m tests.benchmarks.estimate_table` writes its page."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client

from tests.estimate.stored_models import stored_files
from tests.face.answer import answer_of
from tests.hub import EmulatedHub
from tests.hub.hardware import PRICE_LIST
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "estimates.md"
MODELS = ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b", "llama-3-70b")
METHODS = ("sft", "dpo", "grpo")
TUNINGS = ("lora", "qlora", "full")
CARDS = {"t4-small": "T4", "l4x1": "L4", "l40sx1": "L40S", "a100-large": "A100", "h200": "H200"}
ROWS, TOKENS = 5000, 500
_MARKS = {"fits": "yes", "tight": "tight", "no": "no"}


async def page() -> str:
    """Return the page as the estimates make it now, over MCP on an emulated Hub."""
    with EmulatedHub.start() as hub, tempfile.TemporaryDirectory() as home:
        for name in MODELS:
            hub.add_repo(f"acme/{name}", stored_files(name))
        own = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "TRL_MCP_HOME": home}
        environ = {"PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": "", **own}
        async with Client(TrainingServer(Settings.from_environ(environ))) as client:
            tables = [await _table(client, method) for method in METHODS]
    return "\n".join([*_heading(), *[line for table in tables for line in table]])


def _heading() -> list[str]:
    source = json.loads(PRICE_LIST.read_text(encoding="utf-8"))["source"]
    return [
        "# What fits, for how long, for how much",
        "",
        "Written by `python -m tests.benchmarks.estimate_table`, which asks `estimate_cost` on an emulated Hub; a test",
        "keeps it fresh. The formulas and how far off they are: [the calibration](calibration/README.md).",
        "",
        f"Each line is a training on {ROWS:,} rows of {TOKENS} tokens in the mean (grpo: prompts of {TOKENS}, answers of up",
        "to 512), all else as by default. The columns in the middle say whether one card of the kind holds it: yes means",
        "with a fifth to spare. Then the cheapest machine that holds it so, the memory at the peak, the hours that half and",
        "nine in ten such runs stay below, and the money expected. Where only fsdp2 makes it fit, the machine is named with it",
        "and the memory is that without. Shapes of models:",
        "[architectures.json](calibration/architectures.json).",
        "",
        f"Prices are a snapshot: {source}. The tools ask for today's.",
    ]


async def _table(client: Client, method: str) -> list[str]:
    heading = ["", f"## {method}", ""]
    columns = ["model", "tuning", *CARDS.values(), "cheapest", "peak GB", "hours", "USD"]
    rows = [row for model in MODELS for row in await _rows(client, method, model)]
    return [*heading, _line(columns), _line(["---"] * len(columns)), *map(_line, rows)]


async def _rows(client: Client, method: str, model: str) -> list[list[str]]:
    cards: dict[str, dict[str, str]] = {tuning: {} for tuning in TUNINGS}
    for flavor in CARDS:
        for option in await _ask(client, method, model, hardware=flavor):
            cards[option["tuning"]][flavor] = _MARKS[option["verdict"]]
    rows: list[list[str]] = []
    for tuning in TUNINGS:
        best = (await _ask(client, method, model, tuning=tuning))[0]
        rows.append([model, tuning, *(cards[tuning][flavor] for flavor in CARDS), *_cheapest(best)])
    return rows


def _cheapest(option: dict[str, Any]) -> list[str]:
    if option["verdict"] == "no":
        spread = "strategy=fsdp2" in option["reason"]
        return [f"{option['hardware']} with fsdp2" if spread else "none", f"{option['peak_gb']:.0f}", "", ""]
    name = option["hardware"] + (" (tight)" if option["verdict"] == "tight" else "")
    hours = f"{option['hours_low']:.1f} to {option['hours_high']:.1f}"
    return [name, f"{option['peak_gb']:.0f}", hours, f"{option['usd_expected']:.2f}"]


async def _ask(client: Client, method: str, model: str, **arguments: Any) -> list[dict[str, Any]]:
    given = {"method": method, "model": f"acme/{model}", "rows": ROWS, "tokens_per_row": TOKENS, **arguments}
    answer = answer_of(await client.call_tool("estimate_cost", given))
    assert not answer.is_error, answer.text
    return answer.result["options"]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(f"{asyncio.run(page())}\n", encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
