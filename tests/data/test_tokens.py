"""Token reports: exact where every row is measured, carried over where not, and loud about what would train nothing."""

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.templates.count_tokens_desk import make_tokenizer, token_python
from trl_mcp.data.lengths import Lengths
from trl_mcp.data.sample import Sample, SampledRow
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.data.tokens import (
    Measurement,
    MeasurementMemory,
    TokenWishes,
    measure_tokens,
)
from trl_mcp.errors import NotPossible
from trl_mcp.values import DataProblem, Severity, TokenReport

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
UNMARKED = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUGE = "{{ 'x' * 30000000000 }}"


@pytest.fixture(scope="module")
def tokens_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tokens_home")
    token_python(home)
    return home


@pytest.fixture
async def worker(tokens_home: Path, environ: Mapping[str, str]) -> AsyncGenerator[TokenWorker]:
    async with TokenWorker(tokens_home, environ) as worker:
        yield worker


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def talk(question: str, answer: str) -> dict[str, Any]:
    messages = [turn("user", question), turn("assistant", answer)]
    return {"messages": messages, "tools": None, "chat_template_kwargs": {}}


def pair(question: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": [turn("user", question)],
        "completion": [turn("assistant", answer)],
        "tools": None,
        "chat_template_kwargs": {},
    }


def sampled(rows: list[dict[str, Any]]) -> list[SampledRow]:
    return [SampledRow(number, characters_of(row), row) for number, row in enumerate(rows)]


def characters_of(row: dict[str, Any]) -> int:
    if "text" in row:
        return len(row["text"])
    turns = row.get("messages") or row["prompt"] + row["completion"]
    return sum(len(each["content"]) for each in turns)


async def measure(
    worker: TokenWorker, folder: Path, rows: list[dict[str, Any]], method: str = "sft", **config: Any
) -> Measurement:
    sample = sampled(rows)
    wishes = TokenWishes(str(folder), method, config, model="Qwen/Qwen3-0.6B-Base")
    return await measure_tokens(worker, wishes, sample, Lengths().add(row.characters for row in sample))


def problem(measured: Measurement, code: str) -> DataProblem:
    found = {each.code: each for each in measured.report.problems}
    assert code in found, sorted(found)
    return found[code]


async def test_a_small_set_is_measured_whole_and_one_row_is_shown_with_its_trained_part_marked(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    rows = [pair("one?", "two"), pair("one two three?", "four five"), pair("a", "b")]
    measured = await measure(worker, folder, rows)
    report = measured.report
    assert (report.rows_measured, report.truncated_pct, report.untrained_rows) == (3, 0.0, 0)
    assert report.p50 <= report.p95 <= report.p99 == report.longest
    assert report.total == sum(lengths := await exact_lengths(worker, folder, rows)), lengths
    assert report.example == "<|im_start|>user\none?<|im_end|>\n<|im_start|>assistant\n\u00abtwo<|im_end|>\n\u00bb"
    assert 0 < report.trained_pct < 60
    assert measured.max_length == 256


async def exact_lengths(worker: TokenWorker, folder: Path, rows: list[dict[str, Any]]) -> list[int]:
    answers = await worker.ask("rows", 20, folder=str(folder), method="sft", config={}, rows=rows)
    return [len(row[0][0]) for row in answers]


async def test_a_sample_speaks_for_all_rows_by_their_length_in_characters(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe")
    lengths = [(number * 7919 % 97 + 1) * (12 if number % 50 == 0 else 1) for number in range(3000)]
    rows = [{"text": "one two three " * length} for length in lengths]
    sample = Sample(most_rows=300)
    for row in sampled(rows):
        if sample.wants(row.number, row.characters):
            sample.add(row)
    counted = Lengths().add(map(characters_of, rows))
    wishes = TokenWishes(str(folder), "sft", {"max_length": 4096})
    few = (await measure_tokens(worker, wishes, sample.rows(), counted)).report
    every = (await measure_tokens(worker, wishes, sampled(rows), counted)).report
    assert few.rows_measured == 300
    assert every.rows_measured == 3000
    assert few.total == pytest.approx(every.total, rel=0.01)
    for name in ("p50", "p95", "p99", "longest"):
        assert getattr(few, name) == pytest.approx(getattr(every, name), rel=0.08), name
    assert few.truncated_pct == pytest.approx(every.truncated_pct, abs=1.0)


async def test_the_default_length_covers_99_of_100_rows_and_never_exceeds_the_model(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe")
    rows = [{"text": "x " * 150}] * 98 + [{"text": "x " * 200}, {"text": "x " * 3000}]
    assert (await measure(worker, folder, rows)).max_length == 512
    (folder / "config.json").write_text('{"model_type": "qwen3", "max_position_embeddings": 300}', encoding="utf-8")
    measured = await measure(worker, folder, rows)
    assert (measured.max_length, measured.context_length) == (300, 300)
    assert measured.report.truncated_pct == 100


async def test_an_adapter_reads_as_many_tokens_as_its_base(worker: TokenWorker, tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", make_tokenizer(tmp_path / "adapter", "bpe")
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "qwen3", "max_position_embeddings": 300}', encoding="utf-8")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}), encoding="utf-8")
    measured = await measure(worker, adapter, [{"text": "x " * 3000}])
    assert (measured.max_length, measured.context_length) == (300, 300)


async def test_rows_that_max_length_cuts_or_drops_are_counted_and_named(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    rows = [pair("one?", "two")] * 8 + [pair("long " * 200, "lost"), pair("short", "long " * 200)]
    measured = await measure(worker, folder, rows, max_length=64)
    assert (measured.report.truncated_pct, measured.report.untrained_rows) == (20.0, 1)
    found = problem(measured, "data.len")
    assert (found.count, found.rows) == (2, (8, 9))
    assert "2 rows (20.0 %) do not fit max_length=64" in found.message
    assert "TRL drops 1 of them whole" in found.message
    assert problem(measured, "data.untrained").rows == (8,)


async def test_prompts_that_fill_max_length_in_every_row_leave_nothing_to_train_on(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    measured = await measure(worker, folder, [pair("long " * 200, "lost")] * 3, max_length=64)
    found = problem(measured, "data.nonempty")
    assert (found.severity, found.count) == (Severity.ERROR, 3)
    assert measured.report.untrained_rows == 3


async def test_conversations_without_a_template_name_the_model_that_has_one(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe")
    found = problem(await measure(worker, folder, [talk("a", "b")]), "tmpl.missing")
    assert found.severity is Severity.ERROR
    assert 'trainer_args=["chat_template_path=Qwen/Qwen3-0.6B"] (it ends turns with <|im_end|>)' in found.fix
    other = make_tokenizer(tmp_path / "instruct", "bpe", CHATML, eos="<|im_end|>")
    mended = await measure(worker, folder, [talk("a", "b")], chat_template_path=str(other))
    assert mended.report.rows_measured == 1
    assert "tmpl.missing" not in {each.code for each in mended.report.problems}


async def test_a_model_that_would_write_on_behind_its_answer_is_told_its_end_of_turn(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML)
    found = problem(await measure(worker, folder, [talk("a", "b")]), "tmpl.base_eos")
    assert found.fix == 'Give trainer_args=["eos_token=<|im_end|>"].'
    mended = await measure(worker, folder, [talk("a", "b")], eos_token="<|im_end|>")
    assert "tmpl.base_eos" not in {each.code for each in mended.report.problems}
    ids = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    end = next(token["id"] for token in ids if token["content"] == "<|im_end|>")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, end]}), encoding="utf-8")
    told = await measure(worker, folder, [talk("a", "b")])
    assert "tmpl.base_eos" not in {each.code for each in told.report.problems}


async def test_an_end_of_sequence_outside_the_vocabulary_is_refused(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe")
    refused = problem(await measure(worker, folder, [{"text": "a"}], eos_token="<end>"), "tmpl.unknown_eos")
    assert refused.severity is Severity.ERROR
    assert "eos_token '<end>' is not in the tokenizer's vocabulary" in refused.message


async def test_a_template_taken_from_a_model_that_has_none_is_refused(worker: TokenWorker, tmp_path: Path) -> None:
    folder, other = (make_tokenizer(tmp_path / name, "bpe") for name in ("model", "other"))
    refused = problem(await measure(worker, folder, [talk("a", "b")], chat_template_path=str(other)), "tmpl.path")
    assert (refused.severity, refused.message) == (Severity.ERROR, "chat_template_path other has no chat template.")


async def test_a_loss_on_answers_alone_is_possible_with_some_templates_only(
    worker: TokenWorker, tmp_path: Path
) -> None:
    marked = make_tokenizer(tmp_path / "marked", "bpe", CHATML, eos="<|im_end|>")
    rows = [talk("a long question, of some words", "yes")]
    whole = await measure(worker, marked, rows)
    assert whole.report.trained_pct == 100
    assert "assistant_only_loss can be used" in problem(whole, "loss.every_turn").message
    alone = await measure(worker, marked, rows, assistant_only_loss=True)
    assert 0 < alone.report.trained_pct < 50
    assert "\u00abyes<|im_end|>\u00bb" in alone.report.example
    unmarked = make_tokenizer(tmp_path / "unmarked", "bpe", UNMARKED, eos="<|im_end|>")
    assert "cannot be used" in problem(await measure(worker, unmarked, rows), "loss.every_turn").message
    refused = problem(await measure(worker, unmarked, rows, assistant_only_loss=True), "loss.assistant_only")
    assert refused.severity is Severity.ERROR
    assert "TRL has no training template for this chat template" in refused.message
    texts = problem(await measure(worker, marked, [{"text": "a b"}], assistant_only_loss=True), "loss.assistant_only")
    assert "these rows hold texts" in texts.message


async def test_an_end_of_turn_that_is_not_trained_on_is_told(worker: TokenWorker, tmp_path: Path) -> None:
    outside = CHATML.replace(
        "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}", "{{ m['content'] }}{% endgeneration %}<|im_end|>"
    )
    folder = make_tokenizer(tmp_path / "model", "bpe", outside + "{# '<|im_end|>' #}", eos="<|im_end|>")
    measured = await measure(worker, folder, [talk("a", "b")], assistant_only_loss=True)
    assert problem(measured, "loss.stop_token").severity is Severity.WARNING
    endless = make_tokenizer(tmp_path / "endless", "bpe", "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    assert problem(await measure(worker, endless, [talk("a", "b")]), "tmpl.no_end")


async def test_completion_only_loss_on_conversations_is_told_to_have_no_effect(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    measured = await measure(worker, folder, [talk("a", "b")], completion_only_loss=True)
    assert problem(measured, "loss.completion_only").severity is Severity.ERROR
    assert measured.report.trained_pct == 100


async def test_packing_that_throws_away_the_rest_of_long_rows_is_told(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe")
    rows = [{"text": "one two " * 100}, {"text": "one"}]
    measured = await measure(worker, folder, rows, packing=True, max_length=32)
    assert "packing_strategy=bfd_split" in problem(measured, "data.packing").fix
    assert measured.report.truncated_pct == 50
    split = await measure(worker, folder, rows, packing=True, packing_strategy="bfd_split", max_length=32)
    assert split.report.truncated_pct == 0


async def test_rows_that_the_template_refuses_are_named(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", NO_SYSTEM, eos="<|im_end|>")
    bad = talk("a", "b")
    bad["messages"].insert(0, turn("system", "be short"))
    measured = await measure(worker, folder, [*[talk("a", "b")] * 70, bad, *[talk("a", "b")] * 9])
    found = problem(measured, "tmpl.refused")
    assert (found.severity, found.count, found.rows) == (Severity.ERROR, 1, (70,))
    assert "no system turn" in found.message
    assert measured.report.rows_measured == 80


async def test_prompts_that_the_model_answers_itself_are_neither_cut_nor_called_untrained(
    worker: TokenWorker, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    rows = [{"prompt": [turn("user", "long " * 900)], "completion": []}]
    measured = await measure(worker, folder, rows, "grpo")
    assert (measured.max_length, measured.report.untrained_rows, measured.report.trained_pct) == (None, 0, 0.0)
    assert measured.report.longest > 900
    assert measured.report.problems == ()


async def test_prompts_behind_which_ppo_has_no_room_for_an_answer_are_told(worker: TokenWorker, tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path / "model", "bpe", CHATML, eos="<|im_end|>")
    (folder / "config.json").write_text('{"model_type": "qwen3", "max_position_embeddings": 300}', encoding="utf-8")
    rows = [{"prompt": [turn("user", "long " * words)], "completion": []} for words in (1, 5, 900)]
    found = problem(await measure(worker, folder, rows, "ppo"), "data.len")
    assert (found.severity, found.count, found.rows) == (Severity.WARNING, 1, (2,))
    assert "no room for an answer in the 300 tokens" in found.message
    every = problem(await measure(worker, folder, rows, "ppo", response_length=299), "data.nonempty")
    assert (every.severity, every.count) == (Severity.ERROR, 3)


async def test_a_measurement_is_found_again_only_for_the_same_question() -> None:
    memory = MeasurementMemory(most=2)
    kept = Measurement(TokenReport(1, 1, 1, 1, 1, 1, 0.0, 0.0, 0), 256, None)
    wishes = TokenWishes("/model", "sft", {"learning_rate": 1})
    memory.keep("data", "revision", wishes, kept)
    assert memory.find("data", "revision", TokenWishes("/model", "sft", {"learning_rate": 2})) is kept
    assert memory.find("data", "revision", TokenWishes("/model", "sft", {"max_length": 64})) is None
    assert memory.find("other", "revision", wishes) is None
    memory.keep("b", "revision", wishes, kept)
    memory.keep("c", "revision", wishes, kept)
    assert memory.find("data", "revision", wishes) is None


@pytest.mark.parametrize("template", [ENDLESS, HUGE], ids=["endless", "huge"])
async def test_a_hostile_template_ends_the_worker_and_the_next_question_has_another(
    worker: TokenWorker, tmp_path: Path, template: str
) -> None:
    hostile = make_tokenizer(tmp_path / "hostile", "bpe", template)
    wishes = TokenWishes(str(hostile), "sft", {"max_length": 64}, seconds=4)
    sample = sampled([talk("a", "b")])
    with pytest.raises(NotPossible, match=r"did not end within|more memory"):
        await measure_tokens(worker, wishes, sample, Lengths().add([2]))
    good = make_tokenizer(tmp_path / "good", "bpe", CHATML, eos="<|im_end|>")
    assert (await measure(worker, good, [talk("a", "b")])).report.rows_measured == 1


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ cycler.__init__.__globals__.os.system('touch FILE') }}", "SecurityError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{% for c in range(1) %}{{ messages.append(messages) }}{% endfor %}", "SecurityError"),
        ("{% include 'FILE' %}", "no loader"),
        ("{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(0) }}", "RecursionError"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "RecursionError"),
    ],
    ids=["command", "classes", "change", "include", "recursion", "nesting"],
)
async def test_a_template_that_reaches_for_the_machine_is_refused_and_the_same_worker_goes_on(
    worker: TokenWorker, tmp_path: Path, template: str, words: str
) -> None:
    made = tmp_path / "made"
    hostile = make_tokenizer(tmp_path / "hostile", "bpe", template.replace("FILE", str(made)))
    found = problem(await measure(worker, hostile, [talk("a", "b")], max_length=64), "tmpl.refused")
    assert words in found.message, found.message
    assert not made.exists()
    assert (await worker.ask("open", 20, folder=str(hostile)))["chat_template"]
