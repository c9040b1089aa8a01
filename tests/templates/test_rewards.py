"""Reward functions: what they are handed, what they may return, and their trial on real rows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

code = load_shared("rewards_code")
trial = load_shared("rewards_trial")
rewards = load_shared("rewards")
progress = load_shared("progress")

PROMPTS = ["What is the code of item 3?", "What is the code of item 4?", "What is the code of item 5?"]
Row = dict[str, Any]


class Rows:
    """Rows as the job's data set hands them out."""

    def __init__(self, rows: list[Row]) -> None:
        self.train = rows


def plain_rows() -> Rows:
    """Return three prompts with their answers."""
    return Rows([{"prompt": prompt, "answer": f"The code is {place}."} for place, prompt in enumerate(PROMPTS)])


def chat_rows() -> Rows:
    """Return the same as conversations that begin with a system prompt."""
    system = {"role": "system", "content": "Be brief."}
    return Rows([{**row, "prompt": [system, {"role": "user", "content": row["prompt"]}]} for row in plain_rows().train])


def recipe(source: str | None, *names: str, kind: str = "code", **config: Any) -> dict[str, Any]:
    """Return what the trial reads of a run with these reward functions."""
    entries = [{"name": name, "kind": kind, "weight": None, "revision": None} for name in names]
    return {"rewards": entries, "reward_code": source, "config": config}


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the progress lines printed so far."""
    prefix = f"TRL_MCP {progress.PROGRESS_TAG} "
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]


def refusal(source: str | None, *names: str, rows: Rows | None = None, kind: str = "code") -> str:
    """Return why the trial ended the job."""
    with pytest.raises(SystemExit) as caught:
        trial.try_rewards(recipe(source, *names, kind=kind), rows or plain_rows())
    return str(caught.value)


@pytest.mark.parametrize("rows", [plain_rows(), chat_rows()], ids=["texts", "conversations"])
def test_a_function_is_handed_plain_strings_and_the_columns_that_it_names(
    rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
def right(prompts, completions, answer, completion_ids, trainer_state):
    assert prompts[0] == "What is the code of item 3?", prompts[0]
    assert all(isinstance(text, str) for text in completions)
    assert len(prompts) == len(completions) == len(answer) == len(completion_ids)
    assert trainer_state.global_step == 0
    return [float(told == wanted) for told, wanted in zip(completions, answer)]
"""
    trial.try_rewards(recipe(source, "right"), rows)
    assert printed(capsys) == []


def test_a_function_with_kwargs_is_handed_prompts_and_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    source = """
def right(completions, **kwargs):
    assert {"prompts", "answer", "completion_ids", "trainer_state", "log_extra", "log_metric"} <= kwargs.keys()
    kwargs["log_metric"]("seen", 1.0)
    kwargs["log_extra"]("column", completions)
    return [len(set(text)) / 100 for text in completions]
"""
    trial.try_rewards(recipe(source, "right"), plain_rows())
    assert printed(capsys) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def f(completions):\n    return [1 / 0 for _ in completions]",
            "f failed: ZeroDivisionError: division by zero, line 2: return [1 / 0",
        ),
        (
            "def f(completions):\n    return g(completions)\n\n\ndef g(texts):\n    return texts[999]",
            "IndexError: list index out of range, line 6: return texts[999]",
        ),
        ("def f(completions):\n    return [0.0]", "f returned 1 values for 21 completions"),
        ("def f(completions):\n    return 1.0", "f returned float: return a list with one number per completion"),
        ("def f(completions):\n    return ['good' for _ in completions]", "f returned 'good': a reward is a number"),
        (
            "def f(completions):\n    return [float('inf') for _ in completions]",
            "f returned inf: a reward must be finite",
        ),
        ("def f(completions):\n    return [None for _ in completions]", "(f) gave None for all of 21 completions"),
        (
            "def f(completions):\n    return [float('nan') for _ in completions]",
            "(f) gave None for all of 21 completions",
        ),
        (
            "def f(completions, solution):\n    return solution",
            "f takes solution, which is no column of the data; it can take: answer, ",
        ),
        ("async def f(completions):\n    return completions", "f is async: define it with a plain `def`"),
        ("def g(completions):\n    return completions", "defines no function f; it defines: g"),
        ("x = 1", "defines no function f; it defines: none"),
        ("def f(completions:\n    return []", "reward_code cannot be run: SyntaxError"),
        (
            "import no_such_package\n\n\ndef f(completions):\n    return []",
            "ModuleNotFoundError: No module named 'no_such_package', line 1",
        ),
        ("import os\n\n\ndef f(completions):\n    os._exit(0)", "reward function f ended the whole process"),
        ("def f(completions):\n    raise SystemExit", "f failed: SystemExit, line 2: raise SystemExit"),
    ],
)
def test_a_function_that_cannot_be_used_ends_the_job_with_what_and_where(source: str, said: str) -> None:
    assert said in refusal(source, "f")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(completions):\n    while True:\n        pass", "reward function f did not come to an end within 1 s"),
        ("def f(completions):\n    import re\n    re.match('(a+)+b', 'a' * 60)", "reward function f did not come"),
        ("while True:\n    pass", "reward_code, run as a whole, did not come to an end within 1 s"),
    ],
)
def test_a_function_that_does_not_come_back_is_stopped(source: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_CALL_S", 1)
    monkeypatch.setattr(trial, "TRIAL_LOAD_S", 1 if source.startswith("while") else 60)
    assert said in refusal(source, "f")


@pytest.mark.parametrize(
    ("body", "code_name", "said"),
    [
        ("return [0.5 for _ in completions]", "reward_constant", "f gave 0.5 to each of 21 different completions"),
        ("return [len(text) for text in completions]", "reward_unbounded", "has no bound: 28 for a completion, 2800"),
        ("return [-len(text) for text in completions]", "reward_unbounded", "has no bound: -28 for a completion"),
    ],
)
def test_a_reward_that_teaches_nothing_or_too_much_is_warned_of(
    body: str, code_name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trial.try_rewards(recipe(f"def f(completions):\n    {body}", "f"), plain_rows())
    warning = printed(capsys)[0]
    assert (warning["kind"], warning["where"], warning["code"]) == ("warning", "rewards", code_name)
    assert said in warning["message"]


def test_one_function_that_gives_no_reward_is_no_failure_beside_another(capsys: pytest.CaptureFixture[str]) -> None:
    source = """
def silent(completions):
    return [None for _ in completions]


def heard(completions):
    return [len(set(text)) / 10 for text in completions]
"""
    trial.try_rewards(recipe(source, "silent", "heard"), plain_rows())
    assert [line["message"][:37] for line in printed(capsys)] == ["reward function silent gave None to e"]


def test_training_ends_when_no_completion_gets_a_reward_any_more() -> None:
    source = "def f(completions):\n    return [1.0 if text == 'yes' else None for text in completions]"
    function = rewards.ScoreWatch().watched(rewards.reward_functions(recipe(source, "f"))[0])
    assert function.__name__ == "f"
    for _ in range(rewards.UNSCORED_CALLS - 1):
        function(prompts=["?"], completions=["no"])
    assert function(prompts=["?"], completions=["yes"]) == [1.0]
    for _ in range(rewards.UNSCORED_CALLS - 1):
        function(prompts=["?"], completions=["no"])
    with pytest.raises(code.RewardError, match="None for every completion in 20 calls in a row"):
        function(prompts=["?"], completions=["no"])


def test_a_function_does_not_see_what_answers_were_filled_up_with() -> None:
    source = "def f(completions, completion_ids):\n    return [len(ids) for ids in completion_ids]"
    function = rewards.ScoreWatch(filler=0).watched(rewards.reward_functions(recipe(source, "f"))[0])
    ids = [[5, 0, 6, 0, 0], [0, 0], [7]]
    assert function(prompts=["?"] * 3, completions=["a", "", "b"], completion_ids=ids) == [3.0, 0.0, 1.0]


def test_weights_are_one_where_none_is_given() -> None:
    run = recipe("", "a", "b")
    assert rewards.reward_weights(run) is None
    run["rewards"][1]["weight"] = 0.2
    assert rewards.reward_weights(run) == [1.0, 0.2]


def test_the_code_keeps_its_own_names_and_classes() -> None:
    source = """
import dataclasses

report = "mine"


@dataclasses.dataclass
class Point:
    x: float


def f(completions):
    return [Point(1.5).x if report == "mine" else 0.0 for _ in completions]
"""
    function = rewards.reward_functions(recipe(source, "f"))[0]
    assert function(prompts=["?"], completions=["!"]) == [1.5]


NUMBERS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_infinity=False)


@given(st.lists(NUMBERS))
def test_every_list_of_finite_numbers_is_a_list_of_rewards(values: list[Any]) -> None:
    scores = code.checked_scores("f", values, len(values))
    assert [score is None for score in scores] == [value is None or value != value for value in values]  # noqa: PLR0124
    assert all(score == float(value) for score, value in zip(scores, values, strict=True) if score is not None)


@given(st.lists(NUMBERS, max_size=5), st.integers(0, 5))
def test_a_wrong_number_of_rewards_is_refused(values: list[Any], count: int) -> None:
    if len(values) == count:
        assert len(code.checked_scores("f", values, count)) == count
    else:
        with pytest.raises(code.RewardError, match=f"f returned {len(values)} values for {count} completions"):
            code.checked_scores("f", values, count)
