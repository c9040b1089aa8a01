"""What the tests of the templates share."""

from pathlib import Path

import pytest

from tests.templates.job_runs import JobRuns


@pytest.fixture(scope="session")
def job_runs(training_python: str, tmp_path_factory: pytest.TempPathFactory) -> JobRuns:
    """Return what runs templates, each in a folder of its own."""
    return JobRuns(training_python, tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_model(job_runs: JobRuns) -> Path:
    """Return the folder of a tiny random model."""
    questions = [f"What is the code of item {item}? The code is {item * 7 % 100}." for item in range(40)]
    job = job_runs.start("tiny_model", {"corpus": questions})
    assert job.finish() == 0, job.errors()
    return job.output
