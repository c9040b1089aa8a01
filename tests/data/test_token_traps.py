"""What TRL does to tokens in silence is told by both tools before a run, and refused where the run would fail."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.conftest import WriteRows
from tests.data.desk import talk, talks
from tests.face.answer import Answer, answer_of
from tests.templates.count_tokens_desk import make_tokenizer
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML = f"{{% for m in messages %}}{TURN}{{% endfor %}}{OPENING}"
NO_SYSTEM = f"{{% for m in messages if m['role'] != 'system' %}}{TURN}{{% endfor %}}{OPENING}"
LAST_THOUGHT = CHATML.replace("m['content']", "(m['content'] if loop.last else m['content'].split('</think>')[-1])")
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}
SYSTEM = {"role": "system", "content": "Be terse."}
THOUGHTS = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "<think>\nA digit.\n</think>\n\nYes."},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "<think>\nOne more.\n</think>\n\nNo."},
]
TEXTS = [{"text": f"one two {number}"} for number in range(9)]


@pytest.fixture
async def client(counting_settings: Settings) -> AsyncGenerator[Client]:
    async with Client(TrainingServer(counting_settings)) as client:
        yield client


async def ask_both(client: Client, **given: Any) -> tuple[Answer, Answer]:
    """Return what is said of the data, and of a dry run with them."""
    checked = await client.call_tool("validate_dataset", given)
    planned = await client.call_tool("submit_training", {**given, "dry_run": True})
    return answer_of(checked), answer_of(planned)


def make_model(folder: Path, template: str | None, kind: str = "bpe") -> str:
    make_tokenizer(folder, kind, template, eos="<|im_end|>" if template else "</s>")
    config = {"model_type": "qwen3", "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").touch()
    return str(folder)


@pytest.mark.parametrize(
    ("template", "rows", "fields", "told"),
    [
        (CHATML, talks(9), ["assistant_only_loss=true"], ("loss.assistant_only", "error")),
        (None, TEXTS, ["assistant_only_loss=true"], ("loss.assistant_only", "error")),
        (CHATML, talks(9), ["completion_only_loss=true"], ("loss.completion_only", "error")),
        (CHATML, talks(9), ["eos_token=<end>"], ("tmpl.unknown_eos", "error")),
        (NO_SYSTEM, [{"messages": [SYSTEM, *row["messages"]]} for row in talks(9)], [], ("tmpl.lost", "warning")),
        (CHATML, [talk() | {"tools": [TOOL]}], [], ("tmpl.lost", "warning")),
        (LAST_THOUGHT, [{"messages": THOUGHTS}], [], ("tmpl.lost", "warning")),
    ],
    ids=["no marker", "texts", "completion only", "unknown end", "system", "tools", "reasoning"],
)
async def test_what_the_chat_template_cannot_do_is_told_by_both_tools_and_refused_where_the_run_would_fail(
    client: Client, tmp_path: Path, template: str | None, rows: list[Any], fields: list[str], told: tuple[str, str]
) -> None:
    code, severity = told
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    given = {"method": "sft", "model": make_model(tmp_path / "model", template), "dataset": str(data)}
    checked, planned = await ask_both(client, **given, trainer_args=fields)
    (problem,) = [each for each in checked.result["problems"] if each["code"] == code]
    assert problem["severity"] == severity
    assert problem["fix"]
    assert planned.result["status"] == ("refused" if severity == "error" else "planned")
    assert [each["severity"] for each in planned.result["findings"] if each["code"] == code] == [severity]


async def test_a_token_that_stands_twice_around_texts_is_told_by_both_tools(
    client: Client, tmp_path: Path, write_rows: WriteRows
) -> None:
    rows = [{"text": f"<s>{row['text']}"} for row in TEXTS]
    given = {"method": "sft", "dataset": str(write_rows(rows=rows))}
    checked, planned = await ask_both(client, **given, model=make_model(tmp_path / "model", None, "unigram"))
    assert [each["code"] for each in checked.result["problems"]] == ["tmpl.doubled"]
    assert checked.result["example"].startswith("\u00ab<s><s>")
    assert [each["code"] for each in planned.result["findings"]] == ["tmpl.doubled"]


async def test_texts_filled_up_by_the_token_that_ends_them_learn_to_end_all_the_same(
    client: Client, tmp_path: Path, write_rows: WriteRows
) -> None:
    model = make_model(tmp_path / "model", None, "unigram_filled_by_end")
    checked, planned = await ask_both(client, method="sft", model=model, dataset=str(write_rows(rows=TEXTS)))
    assert (checked.result["example"], checked.result["trained_pct"]) == ("\u00abone two 0</s>\u00bb", 100.0)
    assert planned.result["status"] == "planned"
