"""What is wrong with data is found before a run and told by row; what would train on nothing is never started."""

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextResourceContents

from tests.conftest import WriteRows
from tests.data.desk import parquet, pyarrow, talk, talks
from tests.face.answer import Answer, answer_of
from tests.face.conftest import Ask
from tests.templates.count_tokens_desk import make_tokenizer
from trl_mcp.app import TrainingServer
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ROWS = 200_000
DEADLINE_S = 25
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ENDLESS = CHATML + "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUGE = CHATML + "{{ 'x' * 30000000000 }}"
SUMS = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(20)]
MakeModel = Callable[..., str]


class Counting:
    """A client of one server that can count tokens."""

    def __init__(self, client: Client, home: Path) -> None:
        self._client = client
        self._home = home

    async def ask(self, tool: str, /, **arguments: Any) -> Answer:
        return answer_of(await self._client.call_tool(tool, arguments))

    async def plan(self, **arguments: Any) -> tuple[Answer, dict[str, Any]]:
        """Return the answer to a dry run, and RUN of its script."""
        answer = await self.ask("submit_training", **arguments, dry_run=True)
        assert answer.result.get("status") == "planned", answer.text
        (content,) = (await self._client.read_resource(answer.result["script_uri"])).contents
        assert isinstance(content, TextResourceContents)
        return answer, read_run(content.text)

    async def refused(self, *words: str, **arguments: Any) -> Answer:
        """Ask for a training that must be refused in these words, and start nothing."""
        answer = await self.ask("submit_training", **arguments)
        assert answer.result.get("status") == "refused", answer.text
        assert [word for word in (*words, "Nothing was started.") if word not in answer.text] == [], answer.text
        assert list(self._home.glob("jobs/*")) == []
        return answer


@pytest.fixture
async def counting(counting_settings: Settings, home: Path) -> AsyncGenerator[Counting]:
    async with Client(TrainingServer(counting_settings)) as client:
        yield Counting(client, home)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Make the folder of a model with a tokenizer of its own, and a chat template where one is given."""

    def make(template: str | None = CHATML, most: int = 32768) -> str:
        folder = make_tokenizer(tmp_path / f"model-{most}", "bpe", template, eos="<|im_end|>" if template else "</s>")
        config = {"model_type": "qwen3", "max_position_embeddings": most}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "model.safetensors").touch()
        return str(folder)

    return make


def found(answer: Answer, code: str) -> dict[str, Any]:
    """Return the one problem of a code."""
    (problem,) = [each for each in answer.result["problems"] if each["code"] == code]
    return problem


async def test_every_planted_fault_among_200_000_rows_is_told_with_its_row_and_mend(ask: Ask, tmp_path: Path) -> None:
    usual: list[Any] = [row["messages"] for row in talks(ROWS)]
    planted: dict[int, Any] = {
        17: [{"role": "user", "content": "Hi"}, {"role": "asistant", "content": "Hello"}],
        40_001: [{"role": "user", "content": None}, {"role": "assistant", "content": "Hello"}],
        123_456: [{"role": "user", "content": "Long"}, {"role": "assistant", "content": "word " * 200_000}],
        199_999: [{"role": "user", "content": "My name is {{name}}"}, {"role": "assistant", "content": "Hello"}],
    }
    for number, turns in planted.items():
        usual[number] = turns
    turn = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    table = pyarrow.table({"messages": pyarrow.array(usual, pyarrow.list_(turn))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=20_000)
    answer = await ask("validate_dataset", dataset=str(tmp_path / "a.parquet"), method="sft")
    assert (answer.result["rows_checked"], answer.result["rows_kept"]) == (ROWS, ROWS - 2)
    assert {each["code"]: each["rows"] for each in answer.result["problems"]} == {
        "data.sharegpt_roles": [17],
        "data.none_values": [40_001],
        "data.placeholder": [199_999],
    }
    assert all(each["fix"] for each in answer.result["problems"])


async def test_a_row_of_a_million_characters_is_found_by_its_tokens(
    counting: Counting, make_model: MakeModel, write_rows: WriteRows
) -> None:
    rows = talks(200)
    rows[123] = talk("Long", "word " * 200_000)
    dataset, model = str(write_rows(rows=rows)), make_model()
    answer = await counting.ask("validate_dataset", dataset=dataset, method="sft", model=model)
    assert answer.result["use"]["max_length"] == 256
    assert found(answer, "data.len")["rows"] == [123]
    assert answer.result["tokens"]["max"] > 200_000


@pytest.mark.parametrize(
    ("odd", "kept", "code"),
    [
        ({"messages": json.dumps(talk("Hello?", "Hi.")["messages"])}, 39, "data.types"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 39, "data.vision"),
        ({"prompt": "Hi", "completion": "Hello"}, 39, "data.mixed_layout"),
        ({"messages": []}, 39, "data.last_assistant"),
    ],
)
async def test_a_row_in_another_layout_is_dropped_and_told(
    ask: Ask, write_rows: WriteRows, odd: dict[str, Any], kept: int, code: str
) -> None:
    rows: list[dict[str, Any]] = [*talks(39), odd]
    answer = await ask("validate_dataset", dataset=str(write_rows(rows=rows)), method="sft")
    assert (answer.result["verdict"], answer.result["rows_kept"]) == ("ready", kept)
    assert found(answer, code)["rows"] == [39]


async def test_conversations_kept_as_json_text_are_read(ask: Ask, write_rows: WriteRows) -> None:
    rows = [{"messages": json.dumps(row["messages"])} for row in talks(30)]
    answer = await ask("validate_dataset", dataset=str(write_rows(rows=rows)), method="sft")
    assert (answer.result["verdict"], answer.result["rows_kept"]) == ("ready", 30)


async def test_equal_answers_of_a_pair_are_told(ask: Ask, write_rows: WriteRows) -> None:
    rows = [{"prompt": f"{n}?", "chosen": f"It is {n} and more", "rejected": f"Nobody knew {n}"} for n in range(30)]
    rows[21]["rejected"] = rows[21]["chosen"]
    rows[22]["rejected"] = rows[22]["chosen"].upper()
    answer = await ask("validate_dataset", dataset=str(write_rows(rows=rows)), method="dpo")
    assert found(answer, "data.identical_pair")["rows"] == [21]
    assert found(answer, "data.near_pair")["rows"] == [22]


async def test_pictures_are_refused_with_the_reason(ask: Ask, write_rows: WriteRows) -> None:
    rows = [row | {"images": ["a.png"]} for row in talks(5)]
    answer = await ask("validate_dataset", dataset=str(write_rows(rows=rows)), method="sft")
    assert answer.result["verdict"] == "invalid"
    assert "the rows come with images, which a text model cannot read" in answer.text


@pytest.mark.parametrize(("template", "words"), [(ENDLESS, "did not end within"), (HUGE, "more memory is needed")])
async def test_a_hostile_chat_template_ends_no_call_late_and_no_server(
    counting: Counting, make_model: MakeModel, write_rows: WriteRows, template: str, words: str
) -> None:
    dataset, model = str(write_rows(rows=talks(30))), make_model(template)
    began = monotonic()
    answer = await counting.ask("validate_dataset", dataset=dataset, method="sft", model=model)
    assert monotonic() - began < DEADLINE_S
    assert (answer.result["verdict"], answer.result["rows_kept"]) == ("ready", 30)
    problem = found(answer, "tokens.unmeasured")
    assert problem["severity"] == "warning"
    assert words in problem["message"]
    assert "A chat template that" in problem["fix"]
    again = await counting.ask("validate_dataset", dataset=dataset, method="sft", model=make_model(most=4096))
    assert again.result["tokens"]["rows_measured"] == 30


async def test_what_would_train_on_nothing_is_refused(
    counting: Counting, make_model: MakeModel, write_rows: WriteRows
) -> None:
    long = [{"prompt": f"{n} " * 400, "completion": "Yes."} for n in range(20)]
    given = {"method": "sft", "model": make_model(), "dataset": str(write_rows("long.jsonl", long))}
    await counting.refused("data.nonempty", "no token is left", "larger max_length", **given, max_length=64)
    strangers = [{"messages": [{"role": "usr", "content": "Hi"}, {"role": "bot", "content": "Ho"}]}] * 3
    given["dataset"] = str(write_rows("strangers.jsonl", strangers))
    await counting.refused("data.nonempty", "No row can be trained on: 3 x a role that no chat template", **given)
    given |= {"model": make_model(None, most=2048), "dataset": str(write_rows("talks.jsonl", talks(9)))}
    await counting.refused("No row can be trained on: 9 x a conversation, but the model has no chat template", **given)


@pytest.mark.parametrize(("words", "most", "chosen"), [(5, 32768, 256), (150, 32768, 1024), (150, 300, 300)])
async def test_the_default_max_length_covers_the_rows_and_stands_in_recipe_and_run(
    counting: Counting, make_model: MakeModel, write_rows: WriteRows, words: int, most: int, chosen: int
) -> None:
    rows = [{"prompt": f"{n}?", "completion": "word " * words} for n in range(50)]
    given = {"method": "sft", "model": make_model(most=most), "dataset": str(write_rows(rows=rows))}
    answer, run = await counting.plan(**given)
    assert run["config"]["max_length"] == chosen
    assert f"max_length {chosen}," in answer.result["recipe"]
    assert "tokens in the middle" in answer.result["data"]
    cut = [each for each in answer.result.get("findings", []) if each["code"] == "data.len"]
    assert [f"take a model that reads more than {most}" in each["fix"] for each in cut] == (
        [True] if most < 1024 else []
    )


async def test_a_max_length_that_nobody_has_compared_with_the_rows_is_warned_of(
    ask: Ask, make_model: MakeModel, write_rows: WriteRows
) -> None:
    given = {"method": "sft", "model": make_model(), "dataset": str(write_rows(rows=SUMS)), "dry_run": True}
    unknown = await ask("submit_training", **given, max_length=64)
    (warning,) = [each for each in unknown.result["findings"] if each["code"] == "tokens.unmeasured"]
    assert "How many rows are longer than max_length 64 is not known." in warning["message"]
    assert "tokens.unmeasured" not in (await ask("submit_training", **given)).text


async def test_where_tokens_are_not_counted_1024_is_taken_and_the_run_is_the_same(
    ask: Ask, settings: Settings, make_model: MakeModel, write_rows: WriteRows, tokens_home: Path, home: Path
) -> None:
    given = {"method": "sft", "model": make_model(), "dataset": str(write_rows(rows=SUMS)), "dry_run": True}
    without = await ask("submit_training", **given)
    assert "max_length 1024," in without.result["recipe"]
    assert "tokens not counted" in without.result["data"]
    (home / "envs").rename(home / "other envs")
    (home / "envs").symlink_to(tokens_home / "envs")
    async with Client(TrainingServer(settings)) as client:
        counted = Counting(client, home)
        answer, run = await counted.plan(**{name: value for name, value in given.items() if name != "dry_run"})
    assert run["config"]["max_length"] == 256
    (home / "envs").unlink()
    (home / "other envs").rename(home / "envs")
    assert run["run_key"] == (await _run_of(settings, without))["run_key"]
    assert answer.result["plan_id"] != without.result["plan_id"]


async def _run_of(settings: Settings, answer: Answer) -> dict[str, Any]:
    async with Client(TrainingServer(settings)) as client:
        (content,) = (await client.read_resource(answer.result["script_uri"])).contents
    assert isinstance(content, TextResourceContents)
    return read_run(content.text)


@pytest.mark.parametrize(
    ("code", "columns", "missing"),
    [
        ("def close(completions, answer, **kwargs): return [0.0] * len(completions)", [], None),
        ("def close(completions, solution, **kwargs): return [0.0] * len(completions)", [], "solution"),
        ("def close(completions, solution, **kwargs): return [0.0] * len(completions)", ["solution=answer"], None),
        ("def close(completions, question, **kwargs): return [0.0] * len(completions)", [], "question"),
        (
            "def close(completions, question, **kwargs): return [0.0] * len(completions)",
            ["prompt=question", "question=question"],
            None,
        ),
    ],
)
async def test_a_reward_that_reads_what_it_is_not_given_is_told_before_the_run(
    ask: Ask, write_rows: WriteRows, model_folder: Path, code: str, columns: list[str], missing: str | None
) -> None:
    given = {"method": "grpo", "dataset": str(write_rows(rows=SUMS)), "reward_code": code, "columns": columns}
    answer = await ask("validate_dataset", **given)
    assert answer.result["verdict"] == ("needs_columns" if missing else "ready"), answer.text
    planned = await ask("submit_training", **given, model=str(model_folder), hardware="local", dry_run=True)
    if missing:
        assert f"The rewards read {missing}, which they are not given: they are given answer." in answer.text
        assert found(answer, "grpo.reward")["severity"] == "error"
    assert ("grpo.reward" in planned.text) is bool(missing), planned.text
    assert planned.result.get("status") != "planned" or missing is None
