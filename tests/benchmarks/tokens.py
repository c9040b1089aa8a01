"""Rows a second of the token worker beside the libraries it stands on: `python -m tests.benchmarks.tokens`.

TOKENS_PYTHON names the interpreter of the worker's environment where one is there already.
"""

import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from tests.templates.count_tokens_desk import CORPUS, make_tokenizer, token_python
from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import SampledRow
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.data.tokens import TokenWishes, measure_tokens

ROWS = 4_000
ROUNDS = 3
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}"
)
# The same rows through the libraries alone: one call for all, no masks counted, nothing cut, nothing sent.
LIBRARY = """
import json, sys, time
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows, masks = json.load(open(sys.argv[2], encoding="utf-8")), sys.argv[3] == "masks"
took = []
for _ in range(3):
    began = time.perf_counter()
    if "text" in rows[0]:
        tokenizer([row["text"] for row in rows], return_attention_mask=False)
    else:
        tokenizer.apply_chat_template(
            [row["messages"] for row in rows], return_dict=True, return_assistant_tokens_mask=masks
        )
    took.append(time.perf_counter() - began)
print(min(took))
"""


def make_rows(kind: str) -> list[dict[str, Any]]:
    """Return rows of some 1,500 characters, all different."""
    chance = random.Random(0)
    words = " ".join(CORPUS).split()

    def text(count: int) -> str:
        return " ".join(chance.choices(words, k=count))

    if kind == "texts":
        return [{"text": text(300)} for _ in range(ROWS)]
    extras: dict[str, Any] = {"tools": None, "chat_template_kwargs": {}}
    roles = ("user", "assistant") * 2
    return [{"messages": [{"role": role, "content": text(75)} for role in roles], **extras} for _ in range(ROWS)]


def library_seconds(python: str, folder: Path, rows: list[dict[str, Any]], masks: str) -> float:
    """Return how long the libraries alone take for the rows."""
    file = folder / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    command = [python, "-c", LIBRARY, str(folder), str(file), masks]
    environ = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return float(done.stdout.splitlines()[-1])


async def timed(worker: TokenWorker, folder: Path, rows: list[dict[str, Any]], config: dict[str, Any]) -> float:
    """Return how long a report on the rows takes."""
    sample = [SampledRow(number, len(json.dumps(row)), row) for number, row in enumerate(rows)]
    lengths = Lengths().add(row.characters for row in sample)
    began = time.perf_counter()
    found = await measure_tokens(worker, TokenWishes(str(folder), "sft", config, seconds=60), sample, lengths)
    assert found.report.rows_measured == len(rows)
    return time.perf_counter() - began


async def compare(home: Path, python: str, folder: Path) -> None:
    """Print the first and the warm call, and rows a second beside the libraries."""
    configs: dict[str, dict[str, Any]] = {
        "texts": {},
        "conversations": {},
        "conversations, answers only": {"assistant_only_loss": True},
    }
    async with TokenWorker(home, os.environ) as worker:
        small = make_rows("conversations")[:20]
        first, warm = await timed(worker, folder, small, {}), await timed(worker, folder, small, {})
        print(f"first call {first:.2f} s, warm call {warm:.3f} s (20 rows)")
        print(f"{'rows a second':32}{'worker':>10}{'libraries':>12}{'ratio':>8}")
        for name, config in configs.items():
            rows = make_rows(name.partition(",")[0])
            own = min([await timed(worker, folder, rows, config) for _ in range(ROUNDS)])
            other = library_seconds(python, folder, rows, "masks" if config else "plain")
            print(f"{name:32}{ROWS / own:10.0f}{ROWS / other:12.0f}{other / own:8.2f}")


def main() -> None:
    """Make an environment and a tokenizer, and measure."""
    run: Callable[..., None] = anyio.run
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        python = token_python(home)
        run(compare, home, python, make_tokenizer(Path(name) / "model", "bpe", TEMPLATE, eos="<|im_end|>"))


if __name__ == "__main__":
    main()
