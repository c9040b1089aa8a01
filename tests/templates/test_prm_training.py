"""The prm template, run for real on a tiny model: it learns to tell right steps from wrong ones."""

import random
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import LORA, goes_on, lesson, without_samples, write_rows

checkpoints = load_shared("checkpoints")
pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]

STEPS_LORA = LORA | {"task_type": "TOKEN_CLS"}
PRM = {
    "max_steps": 40,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "max_length": 128,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 40,
    "eval_on_start": True,
}


@pytest.fixture(scope="module")
def prm_runs(pinned_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Generator[JobRuns]:
    """What runs templates with the packages that prm pins."""
    with JobRuns(pinned_python("prm"), tmp_path_factory) as runs:
        yield runs


def solution(chance: random.Random) -> dict[str, Any]:
    """Return a solution of up to four steps, some of which are wrong."""
    labels = [chance.random() < 0.5 for _ in range(chance.randint(1, 4))]
    steps = [f"step {place}: this is {'good' if label else 'bad'}" for place, label in enumerate(labels)]
    return {"prompt": f"What is the code of item {chance.randint(0, 39)}?", "completions": steps, "labels": labels}


@pytest.fixture(scope="module")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of solutions."""
    chance = random.Random(0)
    rows = [solution(chance) for _ in range(300)]
    return write_rows(tmp_path_factory.mktemp("steps") / "steps.jsonl", rows, copies=1)


def run(runs: JobRuns, model: Path, data: Path, tuning: str) -> Job:
    """Return a finished run of a tuning."""
    lora = None if tuning == "full" else STEPS_LORA
    job = runs.start("prm", lesson(model, data, PRM, tuning=tuning, lora=lora, eval_split=0.1))
    assert job.finish() == 0, job.errors()
    return job


@pytest.fixture(scope="module", params=["full", "lora"])
def trained(request: pytest.FixtureRequest, prm_runs: JobRuns, tiny_model: Path, solutions: Path) -> Job:
    """Return a finished run of each tuning."""
    return run(prm_runs, tiny_model, solutions, request.param)


def test_steps_are_told_apart(trained: Job) -> None:
    losses = trained.losses()
    assert losses[1] > 0.4
    assert losses[40] < 0.1
    accuracies = [line["eval_accuracy"] for line in trained.of_kind("log") if "eval_accuracy" in line]
    assert accuracies[0] < 0.8
    assert accuracies[-1] > 0.95


def test_samples_show_the_chance_of_each_step_to_be_right(trained: Job) -> None:
    samples = trained.of_kind("sample")
    assert len(samples) == 10
    for sample in samples:
        verdicts = ["right" if float(chance) > 0.5 else "wrong" for chance in sample["after"].split(", ")]
        assert ", ".join(verdicts) == sample["expected"]
        assert sample["before"] != sample["after"]


def test_the_result_labels_tokens(trained: Job, prm_runs: JobRuns, tmp_path: Path) -> None:
    loaded = prm_runs.program(
        """
        import json, sys
        from pathlib import Path
        from peft import AutoPeftModelForTokenClassification
        from transformers import AutoModelForTokenClassification, AutoTokenizer
        is_adapter = Path(sys.argv[1], "adapter_config.json").is_file()
        loader = AutoPeftModelForTokenClassification if is_adapter else AutoModelForTokenClassification
        model = loader.from_pretrained(sys.argv[1], num_labels=2).eval()
        tokens = AutoTokenizer.from_pretrained(sys.argv[1])
        chances = []
        for word in ("good", "bad"):
            batch = tokens("What is the code of item 1?step 0: this is " + word + "\\n", return_tensors="pt")
            chances.append(model(**batch).logits.softmax(-1)[0, -1, 1].item())
        print(json.dumps(chances))
        """,
        tmp_path,
        str(trained.output),
    )
    assert loaded[0] > 0.9
    assert loaded[1] < 0.1


def test_a_killed_run_goes_on_with_the_losses_of_an_unbroken_one(
    prm_runs: JobRuns, tiny_model: Path, solutions: Path, tmp_path: Path
) -> None:
    config = PRM | {"save_steps": 5, "max_steps": 30, "eval_strategy": "no", "eval_on_start": False}
    changes = lesson(tiny_model, solutions, config)
    unbroken = prm_runs.start("prm", changes, edit=without_samples)
    assert unbroken.finish() == 0, unbroken.errors()
    killed = prm_runs.start("prm", changes, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "log" and line["step"] >= 12)
    assert killed.kill(signal.SIGKILL) == -signal.SIGKILL
    newest = checkpoints.newest_complete_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    reached = int(newest.name.partition("-")[2])

    resumed = prm_runs.start("prm", changes, tmp_path, without_samples)
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of_kind("start")[1]["resume_step"] == reached >= 10
    assert goes_on(resumed.losses(), unbroken.losses(), reached)


def test_rows_whose_prompt_alone_fills_the_length_are_left_out(
    prm_runs: JobRuns, tiny_model: Path, tmp_path: Path
) -> None:
    short = {"prompt": "What is it?", "completions": ["this is good"], "labels": [True]}
    rows = [short, short | {"prompt": "What is the code? " * 100}] * 4
    data = write_rows(tmp_path / "rows.jsonl", rows, copies=1)
    config = PRM | {"max_steps": 1, "max_length": 64, "eval_strategy": "no", "eval_on_start": False}
    job = prm_runs.start("prm", lesson(tiny_model, data, config))
    assert job.finish() == 0, job.errors()
    start = job.of_kind("start")[1]
    assert (start["rows_kept"], start["sequences"]) == (8, 4)
    assert isinstance(job.losses()[1], float)
