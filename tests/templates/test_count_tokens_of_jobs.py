"""What the server counts is what a job's trainer is fed: from rows as data sets have them, by every template.

The server's side reads, converts and counts as a tool would; the job's side runs the template itself up to its trainer.
TRL_MCP_EVERY_TOKEN_CASE=1 runs every layout with every chat template that TRL ships, those for training among them:
6,996 cases, of which TRL reads 6,154 and refuses the others as the server does; some 40 minutes on two busy cores.
"""

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import look
from tests.templates.count_tokens_desk import TokenLine, make_tokenizer, shipped_templates, token_line, token_python
from tests.templates.count_tokens_layouts import PROMPT_METHODS, layouts_of
from tests.templates.job_modules import TEMPLATES
from trl_mcp.data.wishes import RowWishes

pytestmark = [pytest.mark.training, pytest.mark.timeout(7200)]
PROBE = Path(__file__).with_name("count_tokens_job_probe.py")
EVERY = bool(os.environ.get("TRL_MCP_EVERY_TOKEN_CASE"))
Case = dict[str, Any]
NOTHING_LEFT = "no row is left, with which a job ends"
Layouts = list[tuple[str, str]]
METHODS = ("sft", "gkd", "dpo", "orpo", "cpo", "reward", "kto", *PROMPT_METHODS, "prm")
OWN_PINS = ("ppo", "prm")
# cpo prepares rows as orpo does, rloo and distillation as grpo.
DISTINCT = tuple(method for method in METHODS if method not in ("cpo", "rloo", "distillation", "prm"))
# The layouts that hold no turns.
OF_TEXTS = (
    "text",
    "strings",
    "alpaca",
    "question answer",
    "transcript",
    "bare",
    "prompt",
    "steps",
    "marked",
    "paired strings",
)
KINDS = ("bpe", "unigram", "bpe_around", "llama", "unigram_filled_by_end")
THINKING: list[Case] = [{}, {"chat_template_kwargs": {"enable_thinking": False}}]
# Fields that change tokens or their masks, by the methods whose trainers have them.
SETTINGS: dict[str, list[Case]] = {
    "sft": [
        {"max_length": 45},
        {"max_length": 45, "truncation_mode": "keep_end"},
        {"max_length": 3000, "assistant_only_loss": True},
        {"max_length": 60, "assistant_only_loss": True},
        {"max_length": 3000, "completion_only_loss": False},
        {"max_length": 80, "completion_only_loss": True},
        {"max_length": 3000, "eos_token": "<unk>"},
        {"max_length": None},
    ],
    "gkd": [{"max_length": 45}, {"max_length": 1000}, {"max_length": None}],
    "dpo": [{"max_length": 45}, {"max_length": 45, "truncation_mode": "keep_end"}, {"max_length": None}],
    "orpo": [{"max_length": 45}, {"max_length": None}],
    "cpo": [{"max_length": 45}, {"max_length": None}],
    "reward": [{"max_length": 70}, {"max_length": None}, {"max_length": 3000, "eos_token": "<unk>"}],
    "kto": [{"max_length": 45}, {"max_length": None}],
    "ppo": [{"response_length": 340}, {"response_length": 30}],
    "prm": [
        {"max_length": 20},
        {"max_length": 400, "max_completion_length": 6, "step_separator": " two"},
        {"max_length": None, "train_on_last_step_only": True},
    ],
    "grpo": THINKING,
    "rloo": THINKING,
    "distillation": THINKING,
    "online_dpo": [{}],
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenLine]:
    with token_line(token_python(tmp_path_factory.mktemp("home"))) as running:
        yield running


@pytest.fixture(scope="module")
def shipped(training_python: str) -> dict[str, str]:
    """Return the chat templates that TRL ships, those that it trains with among them."""
    return shipped_templates(training_python)


class Desk:
    """Writes models and rows, and asks both sides what becomes of them."""

    def __init__(self, folder: Path, line: TokenLine, python: Callable[[str], str]) -> None:
        self._folder = folder
        self._line = line
        self._python = python
        self._files = itertools.count()

    def model(self, kind: str, template: str | None = None, name: str = "plain") -> Path:
        folder = self._folder / f"{kind}-{name}"
        return folder if folder.exists() else make_tokenizer(folder, kind, template)

    def case(self, method: str, layout: str, config: Case, folder: Path, **run: Any) -> Case:
        """Return a case with its rows in a file of their own."""
        file = self._folder / f"{method}-{layout.replace(' ', '_')}.jsonl"
        if not file.exists():
            rows = layouts_of(method)[layout]
            file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return {
            "method": method,
            "layout": layout,
            "folder": str(folder),
            "file": str(file),
            "config": config,
            "run": run,
        }

    def by_jobs(self, cases: list[Case]) -> list[Any]:
        """Return what the trainers of the jobs are fed, in the order of the cases."""
        found: dict[int, Any] = {}
        for pins in {case["method"] if case["method"] in OWN_PINS else "sft" for case in cases}:
            places = [
                place
                for place, case in enumerate(cases)
                if (case["method"] if case["method"] in OWN_PINS else "sft") == pins
            ]
            answers = self._ask_job([cases[place] for place in places], self._python(pins))
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(cases))]

    def _ask_job(self, cases: list[Case], python: str) -> list[Any]:
        file = self._folder / f"cases-{next(self._files)}.json"
        file.write_text(json.dumps(cases), encoding="utf-8")
        command = [python, str(PROBE), str(file)]
        environment = {**os.environ, "PYTHONPATH": str(TEMPLATES), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(text[6:]) for text in done.stdout.splitlines() if text.startswith("FOUND ")]

    def by_server(self, case: Case) -> Any:
        """Return the same as the server counts it; a text where a row or the config cannot be read."""
        opened = self._line.ask("open", folder=case["folder"], config=case["config"])
        wishes = RowWishes(case["method"], has_chat_template=opened["chat_template"], **case["run"])
        scan = look(Path(case["file"]), wishes)
        rows = [sampled.row for sampled in scan.sample]
        if not rows:
            return f"no row left: {scan.report.problems}"
        answer = self._line.send("rows", method=case["method"], config=case["config"], rows=rows, folder=case["folder"])
        if "error" in answer:
            return answer["error"]
        refused = [row for row in answer["answer"] if isinstance(row, str)]
        return refused[0] if refused else [row for row in answer["answer"] if row]


def comparable(case: Case, rows: Any) -> Any:
    """Return rows so that equal ones are equal: prompts reach a model in any order, and each but once."""
    if isinstance(rows, str) or case["method"] not in PROMPT_METHODS:
        return rows or NOTHING_LEFT
    return sorted({json.dumps(row) for row in rows}) or NOTHING_LEFT


def differences(desk: Desk, cases: list[Case]) -> list[str]:
    """Name the cases in which the server says something else than the job, and count those that a job could read."""
    wrong: list[str] = []
    read = 0
    for case, job in zip(cases, desk.by_jobs(cases), strict=True):
        own, told = comparable(case, desk.by_server(case)), comparable(case, job)
        read += not isinstance(job, str)
        if own != told and not (isinstance(own, str) and isinstance(told, str)):
            named = {name: case[name] for name in ("method", "layout", "config", "run")}
            wrong.append(f"{Path(case['folder']).name} {named}\n  job {str(told)[:1500]}\n  own {str(own)[:1500]}")
    print(f"{len(cases)} cases, {read} of them read by the job, {len(wrong)} differ")
    assert read > 0.6 * len(cases)
    return wrong


@pytest.fixture
def desk(line: TokenLine, pinned_python: Callable[[str], str], tmp_path: Path) -> Desk:
    return Desk(tmp_path, line, pinned_python)


def all_cases(desk: Desk, folders: list[Path], layouts: Layouts, *, thin: bool = False) -> list[Case]:
    """Return every layout with every model, or with one of them only; the settings take turns."""
    cases: list[Case] = []
    for place, (method, layout) in enumerate(layouts):
        settings = SETTINGS[method]
        chosen = [(place, folders[place % len(folders)])] if thin else enumerate(folders, place)
        cases += [desk.case(method, layout, settings[number % len(settings)], folder) for number, folder in chosen]
    return cases


def layouts(*methods: str, only: tuple[str, ...] = ()) -> Layouts:
    """Return the methods with each of their layouts, or with those of a name in `only`."""
    return [(method, layout) for method in methods for layout in layouts_of(method) if not only or layout in only]


def test_every_layout_becomes_what_its_job_trains_on(desk: Desk, shipped: dict[str, str]) -> None:
    names = ("qwen3", "llama3", "gemma3", "qwen2_5_training", "deepseekv3")
    folders = [desk.model(kind, shipped[name], name) for kind, name in zip(KINDS, names, strict=True)]
    assert differences(desk, all_cases(desk, folders, layouts(*METHODS), thin=True)) == []


def test_every_layout_of_texts_becomes_what_its_job_trains_on_without_a_chat_template(desk: Desk) -> None:
    folders = [desk.model(kind) for kind in KINDS]
    assert differences(desk, all_cases(desk, folders, layouts(*METHODS, only=OF_TEXTS), thin=True)) == []


@pytest.mark.skipif(not EVERY, reason="TRL_MCP_EVERY_TOKEN_CASE=1 runs the cases of every chat template")
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_every_layout_with_every_chat_template_becomes_what_its_job_trains_on(
    kind: str, desk: Desk, shipped: dict[str, str]
) -> None:
    own = [desk.model(kind, shipped[name], name) for name in sorted(shipped) if not name.endswith("_training")]
    trained = [desk.model(kind, shipped[name], name) for name in sorted(shipped) if name.endswith("_training")]
    cases = all_cases(desk, own, layouts(*DISTINCT)) + all_cases(desk, trained, layouts("sft"))
    assert differences(desk, cases) == []
