"""What a chat template leaves out of rows is told, and nothing is said of one that writes all."""

import subprocess
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.templates.count_tokens_desk import make_tokenizer
from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import SampledRow
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.data.tokens import TokenWishes, measure_tokens
from trl_mcp.values import DataProblem

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content']|trim + '<|im_end|>\n' }}{% endfor %}"
)
ANSWERS_ALONE = CHATML.replace("{{", "{% if m['role'] != 'system' %}{{").replace("}}", "}}{% endif %}")
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}
THOUGHT = "<think>\nOne and one?\n</think>\n\n"
QUESTION = {"role": "user", "content": " What is one and one? "}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def row(*turns: dict[str, Any], tools: Any = None) -> dict[str, Any]:
    return {"messages": list(turns), "tools": tools, "chat_template_kwargs": {}}


@pytest.fixture
async def worker(tokens_home: Path, environ: Mapping[str, str]) -> AsyncGenerator[TokenWorker]:
    async with TokenWorker(tokens_home, environ) as worker:
        yield worker


@pytest.fixture
def qwen3(training_python: str) -> str:
    find = "import trl.chat_template_utils as t; print(t.__file__)"
    where = subprocess.run([training_python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    return (Path(where).parent / "chat_templates/qwen3.jinja").read_text(encoding="utf-8")


async def losses(
    worker: TokenWorker, folder: Path, rows: list[dict[str, Any]], method: str = "sft"
) -> dict[str, DataProblem]:
    """Return what is told of losses, by code."""
    sample = [SampledRow(number, 10, row) for number, row in enumerate(rows)]
    wishes = TokenWishes(str(folder), method, {"max_length": 1000})
    measured = await measure_tokens(worker, wishes, sample, Lengths().add([10] * len(rows)))
    return {each.code: each for each in measured.report.problems if each.code in ("tmpl.lost", "tmpl.doubled")}


async def test_a_system_turn_and_tools_that_the_template_does_not_write_are_told_with_their_rows(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", ANSWERS_ALONE, eos="<|im_end|>")
    system = {"role": "system", "content": "Be short."}
    rows = [
        row(QUESTION, answer("Two.")),
        row(system, QUESTION, answer("Two.")),
        row(QUESTION, answer("2"), tools=[TOOL]),
    ]
    found = (await losses(worker, folder, rows))["tmpl.lost"]
    assert (found.severity, found.count, found.rows) == ("warning", 2, (1, 2))
    assert "the system turn (in 1 of 3 rows looked at), the tools (in 1 of 3 rows looked at)" in found.message
    assert "first question" in found.fix
    whole = make_tokenizer(tmp_path / "whole", "bpe", CHATML, eos="<|im_end|>")
    assert await losses(worker, whole, rows[:2]) == {}


async def test_tools_are_told_of_where_the_trainer_hands_none_to_the_template(
    worker: TokenWorker, tmp_path: Path
) -> None:
    knows = "{% if tools %}{{ tools[0]['function']['name'] }}{% endif %}" + CHATML
    folder = make_tokenizer(tmp_path / "model", "bpe", knows, eos="<|im_end|>")
    assert await losses(worker, folder, [row(QUESTION, answer("2"), tools=[TOOL])]) == {}
    prompts = [{"prompt": [QUESTION], "tools": [TOOL]}]
    assert "the tools" in (await losses(worker, folder, prompts, "grpo"))["tmpl.lost"].message
    assert await losses(worker, folder, prompts, "ppo") == {}


@pytest.mark.training
async def test_reasoning_that_a_thinking_template_writes_of_the_last_answer_only_is_told(
    worker: TokenWorker, tmp_path: Path, qwen3: str
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", qwen3, eos="<|im_end|>")
    call: dict[str, Any] = {"type": "function", "function": {"name": "add", "arguments": {}}}
    called: list[dict[str, Any]] = [
        QUESTION,
        answer("") | {"tool_calls": [call]},
        {"role": "tool", "name": "add", "content": "2"},
    ]
    last = row({"role": "system", "content": "Be short."}, *called, answer(f"{THOUGHT}Two."), tools=[TOOL])
    assert await losses(worker, folder, [last]) == {}
    earlier = row(QUESTION, answer(f"{THOUGHT}Two."), QUESTION, answer("<think>\nOnce more.\n</think>\n\nTwo again."))
    found = (await losses(worker, folder, [last, earlier]))["tmpl.lost"]
    assert (found.count, found.rows) == (1, (1,))
    assert "the reasoning of an answer (in 1 of 2 rows looked at)" in found.message


async def test_a_token_that_the_tokenizer_adds_to_a_text_that_has_it_is_told(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "unigram")
    found = (await losses(worker, folder, [{"text": "one two"}, {"text": "<s>one two"}]))["tmpl.doubled"]
    assert (found.count, found.rows) == (1, (1,))
    assert "<s> (in 1 of 2 rows looked at)" in found.message
    assert await losses(worker, folder, [{"text": "one two</s>"}]) == {}
