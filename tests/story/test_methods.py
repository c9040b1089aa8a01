"""Methods beyond the ones of other stories, asked for over the tools and seen to learn; and rewards that fail in the job."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.methods import EXPERIMENTAL, ORDER, PAGE, TITLE
from tests.story.agent import Agent, Answers, connected
from tests.story.lessons import DIGITS, LESSONS, asked_only, write_rows
from tests.story.school import School
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import TUNINGS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
training = pytest.mark.training


@pytest.fixture
def open_environ(story_environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a server that may run reward code on this machine."""
    return {**story_environ, "TRL_MCP_ALLOW_LOCAL_CODE": "1"}


ROW = re.compile(
    rf"\| `(\w+)`({re.escape(EXPERIMENTAL)})? \| (\w+) \| ([\d.]+) \| (\S+) \| (-?[\d.e+-]+) \| (-?[\d.e+-]+) \| (\d+) \|"
)


def document() -> Sequence[re.Match[str]]:
    """Return the rows of the table of methods."""
    lines = PAGE.read_text(encoding="utf-8").partition(f"{TITLE}\n")[2].splitlines()[1:]
    found = [ROW.fullmatch(line) for line in lines]
    return [row for row in found if row is not None] if all(found) else []


def test_the_document_has_a_row_for_every_method_and_tuning() -> None:
    rows = document()
    assert sorted(ORDER) == sorted(TUNINGS)
    assert [(row[1], row[3]) for row in rows] == [(method, tuning) for method in METHODS for tuning in ORDER]
    assert {row[1]: row[4] for row in rows} == {name: method.trl for name, method in METHODS.items()}
    assert {row[1] for row in rows if row[2]} == {name for name, method in METHODS.items() if method.is_experimental}


def test_every_row_of_the_document_shows_learning() -> None:
    for row in document():
        lesson = LESSONS[row[1]]
        assert row[5] == lesson.metric
        assert lesson.enough(float(row[6]), float(row[7])), row[0]


@training
async def test_methods_of_every_family_learn(open_environ: Mapping[str, str], tiny_model: str, tmp_path: Path) -> None:
    async with connected(open_environ) as agent:
        school = School(agent, tiny_model, tmp_path)
        outcomes = [
            await school.teach(method, tuning)
            for method, tuning in (("kto", "lora"), ("grpo", "full"), ("prm", "full"), ("distillation", "full"))
        ]
    assert [outcome for outcome in outcomes if not outcome.learned] == []


def rewarded(model: str, folder: Path, code: str, **changes: Any) -> Answers:
    """Return arguments of a short training by reward code."""
    data = write_rows(folder / "prompts.jsonl", asked_only())
    config = ["max_steps=2", "num_generations=4", "max_completion_length=4", "logging_steps=1", "report_to=none"]
    base: Answers = {"method": "grpo", "model": model, "dataset": data, "tuning": "full", "batch_size": 2}
    return base | {"trainer_args": config, "reward_code": code} | changes


async def end_of(agent: Agent, **asked: Any) -> Answers:
    """Start a training and return its status at the end."""
    started = await agent.call("submit_training", **asked)
    assert started["status"] == "submitted", started
    return await agent.follow(started["job_id"], 240)


@training
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: pass", ["reward function score did not come to an end within", "endless loops"]),
        ("return [1.0]", ["reward function score returned 1 values for", "one number per completion"]),
        ("return 1 / 0", ["reward function score failed: ZeroDivisionError", "line 2"]),
    ],
)
async def test_a_reward_that_fails_stops_the_job_in_seconds_and_says_so(
    open_environ: Mapping[str, str], tiny_model: str, tmp_path: Path, body: str, words: list[str]
) -> None:
    async with connected(open_environ) as agent:
        status = await end_of(agent, **rewarded(tiny_model, tmp_path, f"def score(completions):\n    {body}\n"))
    assert status["stage"] == "ERROR"
    assert [word for word in words if word not in status["diagnosis"]["evidence"]] == [], status
    assert status["diagnosis"]["code"] == "reward"
    assert "submit_training" in status["next_call"]
    # Of ten seconds for the reward, the rest is loading packages on a busy machine.
    assert status["running_s"] < 90
    assert "progress" not in status or not status["progress"]["step"]


@training
async def test_a_reward_that_teaches_nothing_or_has_no_bound_is_warned_of(
    open_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    codes = [
        DIGITS,
        "def same(completions):\n    return [0.5 for _ in completions]\n",
        "def length(completions):\n    return [float(len(text)) for text in completions]\n",
    ]
    names = ["digits", "same", "length"]
    async with connected(open_environ) as agent:
        status = await end_of(agent, **rewarded(tiny_model, tmp_path, "\n".join(codes), rewards=names))
    assert status["stage"] == "COMPLETED", status
    constant, unbounded = status["warnings"]
    assert "reward function same gave 0.5 to each of" in constant
    assert "reward function length has no bound" in unbounded
