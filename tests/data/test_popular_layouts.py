"""The data sets that people train on most, as they lie on the Hub: each is understood, or asked about in words that work.

`popular/answers.jsonl` holds what validate_dataset says of each: the method that it takes the rows for (null: none), the
methods that suit (a: sft and gkd, t: sft alone, p: pairs, k: kto, m: prm, q: prompts), how many of four rows are kept,
the conversion, and the columns that other methods ask for.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client

from tests.conftest import Connect
from tests.data.desk import write_parquet
from tests.data.popular.chats import CHATS
from tests.data.popular.instructions import INSTRUCTIONS
from tests.data.popular.pairs import PAIRS
from tests.data.popular.prompts import PROMPTS
from tests.data.popular.texts import TEXTS
from tests.data.popular.words import Row
from tests.face.answer import answer_of
from tests.templates.count_tokens_desk import make_tokenizer
from tests.templates.job_modules import load_shared
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

parse_json = load_shared("texts").parse_json
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
SETS = {**CHATS, **INSTRUCTIONS, **TEXTS, **PAIRS, **PROMPTS}
TOLD: dict[str, dict[str, Any]] = {
    told["set"]: told
    for told in map(json.loads, (Path(__file__).parent / "popular/answers.jsonl").read_text("utf-8").splitlines())
}
SUITING = {
    "a": ["sft", "gkd"],
    "t": ["sft"],
    "k": ["kto"],
    "p": ["dpo", "orpo", "cpo", "reward"],
    "m": ["prm"],
    "q": ["grpo", "rloo", "online_dpo", "ppo", "distillation"],
}
ASKED = ("sft", "dpo", "kto", "prm", "grpo")
TRAINED = [name for name, told in TOLD.items() if {"a", "t"} & set(told["suits"]) or "sft" in told["columns"]]
# One set of each kind of conversion.
SHOWN = list({TOLD[name]["says"] or len(TOLD[name]["columns"]["sft"]): name for name in TRAINED}.values())
COUNT = 4
SPEAKERS = {"role", "from"}
MARKS = {"Human", "Assistant", "USER", "ASSISTANT", "SYSTEM", "FUNCTION", "RESPONSE", "endoftext"}
CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] or '') + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def rows_of(name: str) -> list[Row]:
    return [SETS[name](number) for number in range(COUNT)]


def columns_of(name: str, method: str) -> dict[str, str]:
    entries: list[str] = TOLD[name]["columns"].get(method, [])
    return {entry.partition("=")[0]: entry.partition("=")[2] for entry in entries}


async def validate(client: Client, data: Path, **arguments: Any) -> dict[str, Any]:
    return answer_of(await client.call_tool("validate_dataset", {"dataset": str(data), **arguments})).result


def test_every_set_has_its_answer() -> None:
    assert list(TOLD) == list(SETS)
    assert len(SETS) >= 160


@pytest.mark.parametrize("name", SETS)
async def test_a_popular_set_is_understood_or_asked_about(name: str, connect_newest: Connect, tmp_path: Path) -> None:
    data, told = write_parquet(tmp_path / "rows.parquet", rows_of(name)), TOLD[name]
    suiting = {method for letter in told["suits"] for method in SUITING[letter]}
    async with connect_newest() as client:
        found = await validate(client, data)
        asked = {method: await validate(client, data, method=method) for method in ASKED}
    assert (found["use"].get("method"), found["rows_kept"]) == (told["method"], told["kept"])
    assert (re.split("; (?:not read|passed on): ", found["conversion"])[0], found["rows_total"]) == (
        told["says"],
        COUNT,
    )
    assert set(found["methods_ok"]) == suiting
    assert found["verdict"] == ("ready" if suiting else "needs_columns" if told["columns"] else "invalid")
    needed = {method: each["use"]["columns"] for method, each in asked.items() if each["verdict"] == "needs_columns"}
    assert needed == told["columns"]
    assert {method for method, each in asked.items() if each["verdict"] == "ready"} == suiting & set(ASKED)
    refused = [each["problems"][0]["message"] for each in asked.values() if each["verdict"] == "invalid"]
    assert all(re.search(" needs |No row can be trained on", message) for message in refused), refused
    also = [each["fix"] for each in found["problems"] if each["code"] == "data.more_methods"]
    assert len(also) == (len(needed) if suiting else 0)


@pytest.mark.parametrize("name", [name for name, told in TOLD.items() if told["columns"]])
async def test_what_is_asked_for_then_works(name: str, connect_newest: Connect, tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "rows.parquet", rows_of(name))
    async with connect_newest() as client:
        for method, columns in TOLD[name]["columns"].items():
            found = await validate(client, data, method=method, columns=columns)
            assert found["verdict"] == "ready", found
            assert found["rows_kept"] in (COUNT, TOLD[name]["kept"])
            assert found["use"] == {"method": method, "dataset": str(data), "columns": columns}


def texts_in(value: object) -> Iterator[str]:
    """Yield the texts of a value but for the names of speakers; JSON is read."""
    if isinstance(value, Mapping):
        for name, inner in cast(Mapping[str, object], value).items():
            yield from texts_in(inner) if name not in SPEAKERS else ()
    elif isinstance(value, list | tuple):
        for inner in cast(Sequence[object], value):
            yield from texts_in(inner)
    elif isinstance(value, str) and value[:1] in ("[", "{") and (read := parse_json(value)) is not None:
        yield from texts_in(read)
    elif value is not None:
        yield str(value)


def words_in(value: object) -> set[str]:
    return {word for text in texts_in(value) for word in re.findall(r"\w+", text)}


def trained_rows(name: str) -> tuple[Any, list[Row]]:
    """Return the conversion of a job that trains with sft, and the rows that it makes."""
    rows, modules = rows_of(name), load_shared("conversion")
    conversion = modules.find_conversion(rows, modules.RowRules("sft", columns=columns_of(name, "sft")))
    kept = [row for row in rows if modules.converts(conversion.shaper, row)]
    return conversion, [made for row in kept for made in conversion.convert(row)]


@pytest.mark.parametrize("name", TRAINED)
def test_no_word_of_a_column_that_is_read_is_lost(name: str) -> None:
    conversion, made = trained_rows(name)
    parts = conversion.shaper.parts.values()
    read = set[str]().union(*(words_in(part.source.get(row)) for row in rows_of(name) for part in parts))
    marked = MARKS if any(part.kind == "transcript" for part in parts) else set[str]()
    assert read - words_in(made) - marked == set()
    assert len(read) > 5


def rendered(row: Row) -> str:
    """Return a row as the template writes it."""
    if "text" in row:
        return f"{row['text']}<|im_end|>"
    turns = row.get("messages") or [*row["prompt"], *row["completion"]]
    return "".join(f"<|im_start|>{turn['role']}\n{turn.get('content') or ''}<|im_end|>\n" for turn in turns)


async def test_the_example_is_a_row_as_the_job_converts_it(counting_settings: Settings, tmp_path: Path) -> None:
    model = make_tokenizer(tmp_path / "chat", "bpe", CHATML, eos="<|im_end|>")
    (model / "config.json").write_text('{"model_type": "qwen3", "max_position_embeddings": 32768}', encoding="utf-8")
    (model / "model.safetensors").touch()
    others: dict[str, str] = {}
    async with Client(TrainingServer(counting_settings)) as client:
        for number, name in enumerate(SHOWN):
            data = write_parquet(tmp_path / f"{number}.parquet", rows_of(name))
            columns = TOLD[name]["columns"].get("sft", [])
            found = await validate(client, data, method="sft", model=str(model), columns=columns)
            wanted = [rendered(row) for row in trained_rows(name)[1]]
            example = re.sub("[«»]", "", found.get("example", ""))
            if example not in wanted:
                others[name] = example
    assert others == {}
