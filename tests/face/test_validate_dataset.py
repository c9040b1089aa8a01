"""What validate_dataset says of data as their publishers ship them, in every form in which they may lie about."""

import csv
import gzip
import io
import json
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.data.desk import talk, talks, write_parquet
from tests.data.test_web_source import Web
from tests.face.answer import Answer, answer_of
from tests.face.conftest import Ask
from tests.story.agent import connected
from tests.templates.count_tokens_desk import make_tokenizer
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
DATA = Path(__file__).resolve().parents[3] / "shared/data/datasets"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets of ../shared/data/datasets are not here")
PROMPTED = ["grpo", "rloo", "online_dpo", "ppo", "distillation"]
ANSWERED = ["sft", "gkd", *PROMPTED]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PAIRS = "conversations (from/value) + chosen (from/value) + rejected (from/value) pairs"
REAL = [
    ("gsm8k_train.jsonl", "sft", "question + answer", 7473, ANSWERED),
    ("gsm8k_test.jsonl", "grpo", "question", 1319, ANSWERED),
    ("alpaca_en_demo.json", "sft", "instruction + input + output", 999, ANSWERED),
    ("sharegpt_dummy_conversation.json", "sft", "conversations (from/value)", 500, ANSWERED),
    ("dpo_en_demo.json", "dpo", PAIRS, 300, ["kto", "dpo", "orpo", "cpo", "reward", *PROMPTED]),
    ("kto_en_demo.json", "kto", "messages + label", 300, ["sft", "gkd", "kto", *PROMPTED]),
]


@pytest.fixture
async def ask_counting(counting_settings: Settings) -> AsyncGenerator[Ask]:
    """Ask one server that can count tokens."""
    async with Client(TrainingServer(counting_settings)) as client:

        async def call(tool: str, /, **arguments: Any) -> Answer:
            return answer_of(await client.call_tool(tool, arguments))

        yield call


@pytest.fixture
def chat_model(tmp_path: Path) -> Path:
    """Return the folder of a model with a tokenizer made on the spot, whose template marks turns as ChatML does."""
    folder = make_tokenizer(tmp_path / "chat", "bpe", CHATML, eos="<|im_end|>")
    (folder / "config.json").write_text('{"model_type": "qwen3", "max_position_embeddings": 32768}', encoding="utf-8")
    (folder / "model.safetensors").touch()
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Generator[Web]:
    with Web.serving(tmp_path) as server:
        yield server


def facts(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return (result["verdict"], result["rows_total"], result["rows_checked"], result["rows_kept"])


@needs_data
@pytest.mark.parametrize(("name", "method", "layout", "rows", "methods"), REAL)
async def test_real_data_are_understood_without_a_word_about_columns(
    ask: Ask, name: str, method: str, layout: str, rows: int, methods: list[str]
) -> None:
    answer = await ask("validate_dataset", dataset=str(DATA / name), method=method)
    assert facts(answer.result) == ("ready", rows, rows, rows)
    assert (answer.result["layout"], sorted(answer.result["methods_ok"])) == (layout, sorted(methods))
    assert answer.result["use"] == {"method": method, "dataset": str(DATA / name)}
    unasked = (await ask("validate_dataset", dataset=str(DATA / name))).result
    assert (unasked["verdict"], unasked["methods_ok"]) == ("ready", answer.result["methods_ok"])
    assert unasked["use"]["method"] in methods


@needs_data
async def test_real_data_are_counted_in_the_models_own_tokens(ask_counting: Ask, chat_model: Path) -> None:
    for name, method, _, rows, _ in REAL:
        dataset, model = str(DATA / name), str(chat_model)
        result = (await ask_counting("validate_dataset", dataset=dataset, method=method, model=model)).result
        tokens = result["tokens"]
        assert facts(result) == ("ready", rows, rows, rows)
        assert 0 < tokens["p50"] <= tokens["p95"] <= tokens["p99"] <= tokens["max"] <= tokens["total"]
        assert (tokens["rows_measured"] == rows) == (rows <= 4000)
        assert "«" in result["example"] or method == "grpo", result["example"]
        cuts = method != "grpo"
        assert result["use"].get("max_length") in ((256, 512, 1024, 2048, 4096) if cuts else (None,))
        assert 0 < result["trained_pct"] <= 100 or not cuts


@needs_data
async def test_answers_marked_as_bad_are_not_trained_on_unsaid(ask: Ask) -> None:
    dataset = str(DATA / "kto_en_demo.json")
    rows = json.loads((DATA / "kto_en_demo.json").read_text(encoding="utf-8"))[:100]
    bad = sum(row["label"] is False for row in rows)
    assert bad > 0
    (found,) = [
        each
        for each in (await ask("validate_dataset", dataset=dataset, method="sft")).result["problems"]
        if each["code"] == "data.bad_answers"
    ]
    assert (found["severity"], found["count"]) == ("warning", bad)
    assert "method=kto" in found["fix"]
    judged = (await ask("validate_dataset", dataset=dataset, method="kto")).result["problems"]
    assert "data.bad_answers" not in [each["code"] for each in judged]


@needs_data
@pytest.mark.parametrize(
    ("name", "method", "words"),
    [
        ("alpaca_en_demo.json", "dpo", ["no two answers to one prompt", "The data suits: sft"]),
        ("gsm8k_train.jsonl", "dpo", ["no two answers to one prompt", "The data suits: sft"]),
        ("sharegpt_dummy_conversation.json", "kto", ["kto needs a label", "The data suits: sft"]),
        ("dpo_en_demo.json", "prm", ["prm needs prompt, completions", "The data suits: kto, dpo"]),
    ],
)
async def test_data_that_do_not_suit_a_method_are_refused_with_those_they_suit(
    ask: Ask, name: str, method: str, words: list[str]
) -> None:
    answer = await ask("validate_dataset", dataset=str(DATA / name), method=method)
    assert (answer.result["verdict"], answer.result["use"]) == ("invalid", {})
    assert [word for word in words if word not in answer.text] == [], answer.text


def as_csv(rows: list[dict[str, str]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


async def test_one_and_the_same_is_said_of_every_kind_of_file(ask: Ask, tmp_path: Path) -> None:
    rows = [{"question": f'What is "{n}", plus one?', "answer": f"It is\n{n + 1}."} for n in range(150)]
    rows[140]["answer"] = " "
    lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    forms = {
        "a.jsonl": lines,
        "b.jsonl.gz": gzip.compress(lines),
        "c.json": json.dumps(rows, indent=1).encode(),
        "d.csv": as_csv(rows),
        "e.csv.gz": gzip.compress(as_csv(rows)),
        "f.parquet": write_parquet(tmp_path / "made/a.parquet", rows).read_bytes(),
        "g/train-1.jsonl": lines,
    }
    reports: list[dict[str, Any]] = []
    for name, content in forms.items():
        path = tmp_path / "forms" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        dataset = str(path if path.parent.name == "forms" else path.parent)
        result = (await ask("validate_dataset", dataset=dataset, method="sft")).result
        assert result.pop("use") == {"method": "sft", "dataset": dataset}
        reports.append(result)
    assert facts(reports[0]) == ("ready", 150, 150, 149)
    assert [(each["code"], each["rows"]) for each in reports[0]["problems"]] == [("data.empty_completion", [140])]
    assert reports == [reports[0]] * len(forms)


async def test_a_folder_has_the_splits_that_its_names_tell_and_slices_of_them(ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    for name, count in {"train": 40, "validation": 7}.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in talks(count)))
    checked = {
        split: (await ask("validate_dataset", dataset=str(folder), method="sft", dataset_split=split)).result
        for split in ("train", "dev", "train[10:20]", "train[:25%]", "train[-3:]")
    }
    assert {split: result["rows_kept"] for split, result in checked.items()} == {
        "train": 40,
        "dev": 7,
        "train[10:20]": 10,
        "train[:25%]": 10,
        "train[-3:]": 3,
    }
    assert checked["train[-3:]"]["use"]["dataset_split"] == "train[-3:]"
    answer = await ask("validate_dataset", dataset=str(folder), dataset_split="tset")
    assert answer.is_error
    assert 'has no split "tset"' in answer.text
    assert "It has: train, validation." in answer.text


async def test_data_on_the_web_are_read_over_tls_whose_certificate_the_machine_trusts(
    environ: Mapping[str, str], web: Web, tmp_path: Path
) -> None:
    lines = "".join(f"{json.dumps(row)}\n" for row in talks(40)).encode()
    web.files = {"/talks.jsonl": lines}
    trusting = {"SSL_CERT_FILE": str(tmp_path / "server.pem"), "TRL_MCP_ALLOW_LOCAL_CODE": "1"}
    async with connected({**environ, **trusting}) as agent:
        result = await agent.call("validate_dataset", dataset=f"{web.address}/talks.jsonl", method="sft")
    assert facts(result) == ("ready", 40, 40, 40)
    assert not any("Authorization" in headers for headers in web.asked)


async def test_the_text_says_everything_in_few_lines(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [*talks(20), talk("What is 3 and one?", "It is 4."), talk("My key", "hf_" + "aB3dE6gH9jK" * 3)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    answer = await ask("validate_dataset", dataset=str(path), method="sft")
    problems = answer.result["problems"]
    order = ["error", "warning", "info"]
    assert [order.index(each["severity"]) for each in problems] == sorted(
        order.index(each["severity"]) for each in problems
    )
    assert {each["code"]: each["rows"] for each in problems} == {"data.duplicates": [20], "data.secret": [21]}
    for each in problems:
        assert each["message"] in answer.text
        assert f"code: {each['code']}, severity: {each['severity']}, count: 1, rows: {each['rows']}" in answer.text
    assert "[]" not in answer.text
    assert len(answer.text) < 1_000
