"""The kto template, run for real."""

from pathlib import Path

import pytest

from tests.templates.job_runs import JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, judged, lesson, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]


@pytest.mark.parametrize(("tuning", "lora", "rate"), [("full", None, 1e-3), ("lora", LORA, 5e-3)])
def test_good_answers_gain_on_bad_ones(
    job_runs: JobRuns, taught_model: Path, tmp_path: Path, tuning: str, lora: dict[str, object] | None, rate: float
) -> None:
    data = write_rows(tmp_path / "judged.jsonl", judged(OTHER_CODES, CODES))
    config = QUICK | {"max_steps": 40, "learning_rate": rate}
    job = job_runs.start("kto", lesson(taught_model, data, config, tuning=tuning, lora=lora))
    assert job.finish() == 0, job.errors()
    margins = [line["rewards/margins"] for line in job.of_kind("log") if "rewards/margins" in line]
    assert margins[-1] > max(1, margins[0] + 0.5)
    assert job.losses()[40] < job.losses()[1] * 0.7
    assert {sample["expected"] for sample in job.of_kind("sample")} == set(OTHER_CODES.values())


def test_a_batch_of_one_is_refused_by_name(job_runs: JobRuns, taught_model: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "judged.jsonl", judged(OTHER_CODES, CODES), copies=1)
    config = QUICK | {"max_steps": 1, "per_device_train_batch_size": 1}
    job = job_runs.start("kto", lesson(taught_model, data, config))
    assert job.finish() == 1
    assert "batch size must be > 1" in job.lines[-1]["message"]
