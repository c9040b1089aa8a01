"""The worker's tokens are those of TRL's own preparation: the same rows, ids and trained tokens, for every template."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.templates.count_tokens_desk import TokenLine, make_tokenizer, shipped_templates, token_line, token_python

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]
PROBE = Path(__file__).with_name("count_tokens_probe.py")
KINDS = ("bpe", "unigram")
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "adds",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer", "description": "first"}}},
    },
}
Case = dict[str, Any]
Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def assistant(text: str) -> Row:
    return {"role": "assistant", "content": text}


TALKS = [
    ([user("What is one and two?")], [assistant("The answer is three.")], [assistant("No.")]),
    (
        [user("Wie spät ist es?"), assistant("Fünf nach zwölf \u4f60\u597d."), user(" And now? ")],
        [assistant(" Six\n\nand \U0001f600 seven")],
        [assistant("yes yes yes")],
    ),
    ([user("print(1)\n" * 12)], [assistant("1\n1")], [assistant("no " * 30)]),
    ([user("a")], [assistant("b " * 40)], [assistant("b")]),
]
TEXTS = [
    ("What is one and two?", " The answer is three.", " no"),
    ("one two ", "three", "thr"),
    ("long " * 30, "short", "short too"),
    ("", "only an answer", "or not"),
    ("Wie sp", "ät ist es \u4f60", "\u00e4h </s>"),
]


def chat_rows(method: str) -> list[Row]:
    """Return the conversations in a method's layout."""
    extras: Row = {"tools": None, "chat_template_kwargs": {}}
    if method == "messages":
        return [{"messages": prompt + chosen} | extras for prompt, chosen, _ in TALKS]
    return [pair_row(method, *talk) | extras for talk in TALKS]


def pair_row(method: str, prompt: Any, chosen: Any, rejected: Any) -> Row:
    """Return one row of a method's layout."""
    if method == "sft":
        return {"prompt": prompt, "completion": chosen}
    if method == "kto":
        return {"prompt": prompt, "completion": chosen, "label": len(chosen) % 2 == 0}
    if method in ("grpo", "rloo", "distillation", "online_dpo"):
        return {"prompt": prompt}
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def text_rows(method: str) -> list[Row]:
    """Return the texts in a method's layout."""
    if method == "text":
        return [{"text": prompt + answer} for prompt, answer, _ in TEXTS] + [{"text": "it ends here</s>"}]
    return [pair_row(method, *text) for text in TEXTS]


def talks_with_tools() -> list[Row]:
    """Return conversations with a system prompt, a tool and a call of it."""
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    first = [{"role": "system", "content": "Be short."}, user("Add one."), assistant("Two.")]
    second = [user("Add."), {"role": "assistant", "content": "", "tool_calls": [call]}]
    second += [{"role": "tool", "name": "add", "content": "2"}, assistant("It is two.")]
    return [
        {"messages": first, "tools": None, "chat_template_kwargs": {}},
        {"messages": second, "tools": [TOOL], "chat_template_kwargs": {"enable_thinking": False}},
    ]


def case(method: str, config: Row, rows: list[Row], *, real: bool = False) -> Case:
    """Return a case of the probe without its tokenizer."""
    return {"method": method, "config": {"max_length": None} | config, "rows": rows, "real": real}


def template_cases() -> list[Case]:
    """Return every layout of conversations."""
    said: Row = {"assistant_only_loss": True}
    cases = [
        case("sft", {"max_length": 60}, chat_rows("messages")),
        case("sft", said, chat_rows("messages")),
        case("sft", {"max_length": 90}, chat_rows("sft")),
        case("sft", said | {"completion_only_loss": False}, chat_rows("sft")),
        case("sft", {}, talks_with_tools()),
        case("dpo", {"max_length": 60}, chat_rows("dpo")),
        case("kto", {"max_length": 60}, chat_rows("kto")),
        case("reward", {"max_length": 120}, chat_rows("reward")),
        case("orpo", {"max_length": 60}, chat_rows("orpo")),
    ]
    return cases + [case(method, {}, chat_rows(method)) for method in ("grpo", "online_dpo")]


def text_cases() -> list[Case]:
    """Return every layout of texts, through whole trainers where those prepare the data."""
    return [
        *(case("sft", {"max_length": limit}, text_rows("text"), real=True) for limit in (None, 12)),
        case("sft", {"max_length": 12, "truncation_mode": "keep_end"}, text_rows("text"), real=True),
        case("sft", {"max_length": 20}, text_rows("sft"), real=True),
        case("sft", {"max_length": 20, "truncation_mode": "keep_end"}, text_rows("sft"), real=True),
        case("sft", {"completion_only_loss": False}, text_rows("sft"), real=True),
        case("sft", {"eos_token": "<unk>"}, text_rows("sft"), real=True),
        *(case("dpo", {"max_length": limit}, text_rows("dpo"), real=True) for limit in (None, 20)),
        case("dpo", {"max_length": 20, "truncation_mode": "keep_end"}, text_rows("dpo"), real=True),
        *(case("kto", {"max_length": limit}, text_rows("kto"), real=True) for limit in (1000, 20)),
        *(case("reward", {"max_length": limit}, text_rows("reward"), real=True) for limit in (None, 40)),
        *(case(method, {"max_length": 20}, text_rows(method)) for method in ("orpo", "cpo")),
        *(case(method, {}, text_rows(method)) for method in ("grpo", "rloo", "distillation", "online_dpo")),
    ]


def real_chat_cases() -> list[Case]:
    """Return conversations through whole trainers."""
    whole = [
        ("sft", {"max_length": 60, "completion_only_loss": True}, "messages"),
        ("sft", {"max_length": 60, "truncation_mode": "keep_end", "assistant_only_loss": True}, "messages"),
        ("sft", {"max_length": 60}, "sft"),
        ("dpo", {"max_length": 60}, "dpo"),
        ("kto", {"max_length": 60}, "kto"),
        ("reward", {"max_length": 60}, "reward"),
    ]
    return [case(method, config, chat_rows(rows), real=True) for method, config, rows in whole]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenLine]:
    """Return a worker in its own environment, which has no torch."""
    with token_line(token_python(tmp_path_factory.mktemp("home"))) as running:
        yield running


@pytest.fixture(scope="module")
def shipped(training_python: str) -> dict[str, str]:
    """Return the chat templates that TRL ships."""
    return shipped_templates(training_python)


def ask_trl(cases: list[Case], python: str, folder: Path) -> list[Any]:
    """Return what TRL makes of the cases."""
    file = folder / "cases.json"
    file.write_text(json.dumps(cases), encoding="utf-8")
    done = subprocess.run([python, str(PROBE), str(file)], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(text) for text in done.stdout.splitlines() if text.startswith(("{", '"'))]


def ask_worker(line: TokenLine, asked: Case) -> Any:
    """Return the same of the worker: kept rows by number, or a text where one row or the config cannot be read."""
    fields = {name: asked[name] for name in ("method", "config", "rows", "folder")}
    answer = line.send("rows", **fields)
    if "error" in answer:
        return answer["error"]
    refused = [row for row in answer["answer"] if isinstance(row, str)]
    return refused[0] if refused else {str(number): row for number, row in enumerate(answer["answer"]) if row}


def differences(cases: list[Case], expected: list[Any], line: TokenLine) -> list[str]:
    """Name the cases in which the worker says something else than TRL."""
    wrong: list[str] = []
    for asked, trl in zip(cases, expected, strict=True):
        own = ask_worker(line, asked)
        if own != trl and not (isinstance(own, str) and isinstance(trl, str)):
            wrong.append(f"{asked['folder']} {asked['method']} {asked['config']}\n  TRL {trl}\n  own {own}")
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_the_tokens_that_whole_trainers_make_of_them(
    kind: str, line: TokenLine, training_python: str, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / kind, kind)
    cases = [each | {"folder": str(folder)} for each in text_cases()]
    expected = ask_trl(cases, training_python, tmp_path)
    assert differences(cases, expected, line) == []
    assert sum(isinstance(trl, dict) for trl in expected) >= len(cases) - 2
    assert any(len(trl) < len(asked["rows"]) for asked, trl in zip(cases, expected, strict=True)), "none was dropped"


@pytest.mark.parametrize("kind", KINDS)
def test_conversations_become_the_tokens_that_whole_trainers_make_of_them(
    kind: str, line: TokenLine, training_python: str, shipped: dict[str, str], tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / kind, kind, shipped["qwen3"])
    cases = [each | {"folder": str(folder)} for each in real_chat_cases()]
    expected = ask_trl(cases, training_python, tmp_path)
    assert all(isinstance(trl, dict) for trl in expected), expected
    assert differences(cases, expected, line) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_chat_template_that_trl_ships_gives_the_tokens_of_trl(
    kind: str, line: TokenLine, training_python: str, shipped: dict[str, str], tmp_path: Path
) -> None:
    names = [name for name in shipped if not name.endswith("_training")]
    folders = {name: make_tokenizer(tmp_path / name, kind, shipped[name]) for name in names}
    cases = [each | {"folder": str(folder)} for folder in folders.values() for each in template_cases()]
    expected = ask_trl(cases, training_python, tmp_path)
    assert differences(cases, expected, line) == []
    rendered = sum(isinstance(trl, dict) for trl in expected)
    print(f"{kind}: {rendered} of {len(cases)} cases of {len(names)} templates rendered by TRL, all equal")
    assert rendered > 0.7 * len(cases)


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
def test_packing_keeps_the_tokens_that_trl_keeps(
    strategy: str, line: TokenLine, training_python: str, tmp_path: Path
) -> None:
    folder = make_tokenizer(tmp_path / "bpe", "bpe")
    config = {"packing": True, "packing_strategy": strategy, "max_length": 16}
    asked = case("sft", config, text_rows("sft"), real=True) | {"folder": str(folder)}
    trl = ask_trl([asked], training_python, tmp_path)[0]
    packed = [sequence for row in trl.values() for sequence in row]
    own = [sequence for row in ask_worker(line, asked).values() for sequence in row]
    assert sum(len(ids) for ids, _ in own) == sum(len(ids) for ids, _ in packed)
    assert sum(sum(flags) for _, flags in own) == sum(sum(flags) for _, flags in packed)


def test_a_template_taken_from_another_model_brings_its_tokens_and_its_end(
    line: TokenLine, training_python: str, shipped: dict[str, str], tmp_path: Path
) -> None:
    base = make_tokenizer(tmp_path / "base", "bpe")
    other = make_tokenizer(tmp_path / "other", "bpe", shipped["qwen3"], eos="<|im_end|>")
    template = tmp_path / "own.jinja"
    template.write_text(shipped["qwen2_5"], encoding="utf-8")
    for source in (str(other), str(template)):
        cases = [
            case("sft", {"chat_template_path": source}, chat_rows("messages"), real=True) | {"folder": str(base)},
            case("reward", {"chat_template_path": source}, chat_rows("reward"), real=True) | {"folder": str(base)},
        ]
        expected = ask_trl(cases, training_python, tmp_path)
        assert all(isinstance(trl, dict) for trl in expected), expected
        assert differences(cases, expected, line) == []


def test_trl_takes_another_template_for_exactly_those_that_the_worker_says(
    line: TokenLine, training_python: str, shipped: dict[str, str], tmp_path: Path
) -> None:
    names = [name for name in shipped if not name.endswith("_training")]
    folders = {name: make_tokenizer(tmp_path / name, "bpe", shipped[name]) for name in names}
    possible = {name for name, folder in folders.items() if line.ask("open", folder=folder)["assistant_only"]}
    marked = {name for name in names if "generation %}" in shipped[name] or "generation -%}" in shipped[name]}
    assert possible == {name for name in names if f"{name}_training" in shipped} | marked
    assert {"llama3_1", "llama3_2", "gemma4"}.isdisjoint(possible)
