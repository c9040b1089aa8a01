"""Weights in 4 bits under the methods whose older trainers know least of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.story.lessons import in_steps
from tests.templates import test_tuning
from tests.templates.job_runs import JobRuns
from tests.templates.lessons import CODES, LORA, QUICK, lesson, pairs, said, without_samples, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]
four_bit_packages = test_tuning.four_bit_packages
NONSENSE = dict.fromkeys(CODES, "Who knows?")


@pytest.fixture
def runs(pinned_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], JobRuns]:
    """Return what runs a template with the packages that it pins."""
    return lambda template: JobRuns(pinned_python(template), tmp_path_factory)


def test_the_head_that_labels_steps_is_not_kept_in_4_bits(
    runs: Callable[[str], JobRuns], taught_model: Path, tmp_path: Path, four_bit_packages: dict[str, str]
) -> None:
    data = write_rows(tmp_path / "steps.jsonl", in_steps(), copies=1)
    config = QUICK | {"max_steps": 40, "learning_rate": 3e-3}
    changes = lesson(taught_model, data, config, tuning="qlora", lora=LORA | {"task_type": "TOKEN_CLS"})
    job = runs("prm").start("prm", changes, edit=without_samples, variables=four_bit_packages)
    assert job.finish() == 0, job.errors()
    losses = list(job.losses().values())
    assert sum(losses[-5:]) < sum(losses[:5]) / 2


def test_a_policy_in_4_bits_can_answer(
    job_runs: JobRuns,
    runs: Callable[[str], JobRuns],
    taught_model: Path,
    tmp_path: Path,
    four_bit_packages: dict[str, str],
) -> None:
    compared = write_rows(tmp_path / "pairs.jsonl", pairs(CODES, NONSENSE))
    judge = job_runs.start("reward", lesson(taught_model, compared, QUICK | {"max_steps": 5}), edit=without_samples)
    assert judge.finish() == 0, judge.errors()
    data = write_rows(tmp_path / "prompts.jsonl", [{"prompt": said("user", ask)} for ask in CODES])
    config: dict[str, Any] = {"max_steps": 3, "per_device_train_batch_size": 8, "response_length": 8}
    rewards = [{"name": str(judge.output), "kind": "model", "weight": None, "revision": None}]
    changes = lesson(taught_model, data, config | {"logging_steps": 1}, tuning="qlora", lora=LORA, rewards=rewards)
    job = runs("ppo").start("ppo", changes, edit=without_samples, variables=four_bit_packages)
    assert job.finish() == 0, job.errors()
    assert [line["step"] for line in job.of_kind("log")] == [1, 2, 3]
    assert (job.output / "adapter_model.safetensors").is_file()
