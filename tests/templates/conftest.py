"""What the tests of the templates share."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.templates.gguf_runs import GgufRuns
from tests.templates.job_runs import JobRuns
from tests.templates.lessons import CODES, QUICK, chats, lesson, without_samples, write_rows


@pytest.fixture(scope="session")
def job_runs(training_python: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[JobRuns]:
    """What runs templates, each in a folder of its own."""
    with JobRuns(training_python, tmp_path_factory) as runs:
        yield runs


@pytest.fixture(scope="session")
def gguf_runs(pinned_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Generator[GgufRuns]:
    """What runs conversions."""
    with JobRuns(pinned_python("convert_gguf"), tmp_path_factory) as runs:
        yield GgufRuns(runs)


@pytest.fixture(scope="session")
def tiny_model(job_runs: JobRuns) -> Path:
    """Return the folder of a tiny random model."""
    questions = [f"What is the code of item {item}? The code is {item * 7 % 100}." for item in range(40)]
    job = job_runs.start("tiny_model", {"corpus": questions})
    assert job.finish() == 0, job.errors()
    return job.output


@pytest.fixture(scope="session")
def taught_model(job_runs: JobRuns, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model that knows the codes: what adapters and preferences are trained on."""
    data = write_rows(tmp_path_factory.mktemp("chats") / "chats.jsonl", chats(CODES))
    config = QUICK | {"assistant_only_loss": True, "per_device_train_batch_size": 16, "learning_rate": 5e-3}
    changes = lesson(tiny_model, data, config | {"max_steps": 150, "warmup_steps": 10})
    job = job_runs.start("sft", changes, edit=without_samples)
    assert job.finish() == 0, job.errors()
    return job.output
