"""Several processes that train one model, as on several GPUs: here two on a CPU."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, QUICK, chats, lesson, without_samples, write_rows

checkpoints = load_shared("checkpoints")
launch = load_shared("launch")
pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]

TWO = {"TRL_MCP_PROCESSES": "2"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a file of conversations."""
    return write_rows(tmp_path / "chats.jsonl", chats(CODES))


def config(each: int, steps: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of a training with so many rows in each process."""
    fields = {"per_device_train_batch_size": each, "max_steps": steps, "learning_rate": 1e-3, "seed": 1}
    return QUICK | fields | changes


def test_two_processes_have_the_losses_of_one_at_the_same_batch(
    job_runs: JobRuns, tiny_model: Path, data: Path
) -> None:
    alone = job_runs.start("sft", lesson(tiny_model, data, config(8, 20), eval_split=0.1))
    assert alone.finish() == 0, alone.errors()
    both = job_runs.start("sft", lesson(tiny_model, data, config(4, 20), eval_split=0.1), variables=TWO)
    assert both.finish() == 0, both.errors()
    assert both.of_kind("start")[1]["world_size"] == 2
    assert both.losses() == pytest.approx(alone.losses(), rel=2e-2)
    assert [line["kind"] for line in both.lines] == [line["kind"] for line in alone.lines]
    record = json.loads((both.output / "trl-mcp.json").read_text(encoding="utf-8"))
    assert record["result"]["rows"] == 180
    assert (both.output / "model.safetensors").is_file()


def test_all_processes_stop_together_and_go_on_together(
    job_runs: JobRuns, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    many = lesson(tiny_model, data, config(4, 5000, lr_scheduler_type="constant"), save_minutes=60)
    stopped = job_runs.start("sft", many, run, without_samples, TWO)
    stopped.read_until(lambda line: line["kind"] == "log" and line["step"] >= 3)
    assert stopped.kill(signal.SIGTERM) == 143
    reached = stopped.of_kind("checkpoint")[-1]["step"]
    newest = checkpoints.newest_complete_checkpoint(run / "checkpoints")
    assert newest is not None
    assert newest.name == f"checkpoint-{reached}"
    assert sorted(path.name for path in newest.glob("rng_state*")) == ["rng_state_0.pth", "rng_state_1.pth"]
    few = lesson(tiny_model, data, config(4, reached + 2, lr_scheduler_type="constant"), save_minutes=60)
    resumed = job_runs.start("sft", few, run, without_samples, TWO)
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of_kind("start")[1]["resume_step"] == reached
    assert set(resumed.losses()) == {reached + 1, reached + 2}


def fail_in_second(templates: Path) -> None:
    """Change a copy of the templates so that the second process breaks down before it trains."""
    template = templates / "sft.py"
    text = template.read_text(encoding="utf-8")
    fault = '    import os\n\n    if os.environ.get("RANK") == "1":\n        os._exit(7)\n'
    mark = "    from trl import SFTConfig"
    assert mark in text
    template.write_text(text.replace(mark, f"{fault}{mark}"), encoding="utf-8")


def test_a_process_that_breaks_down_ends_the_job_and_is_named(job_runs: JobRuns, tiny_model: Path, data: Path) -> None:
    job = job_runs.start("sft", lesson(tiny_model, data, config(4, 5)), edit=fail_in_second, variables=TWO)
    assert job.finish() == 7
    error = job.lines[-1]
    assert (error["kind"], error["where"]) == ("error", "training")
    assert "process 1 ended with code 7" in error["message"]


def test_the_processes_die_with_the_one_that_started_them(job_runs: JobRuns, tiny_model: Path, data: Path) -> None:
    job = job_runs.start("sft", lesson(tiny_model, data, config(4, 5000)), edit=without_samples, variables=TWO)
    job.read_until(lambda line: line["kind"] == "log")
    # The output is read to its end, which comes once no process holds it open any more.
    assert job.kill(signal.SIGKILL) == -signal.SIGKILL
    assert job.of_kind("end") == []


@pytest.mark.parametrize("strategy", ["fsdp3", "zero4", ""])
def test_an_unknown_strategy_is_refused_with_those_that_are_known(strategy: str) -> None:
    with pytest.raises(SystemExit, match="it is one of single_gpu, multi_gpu, zero1, zero2, fsdp1, fsdp2, zero3"):
        launch.obey_strategy({"strategy": strategy})


@pytest.mark.parametrize(("visible", "left"), [(None, "0"), ("3,5", "3"), ("GPU-1f,GPU-2e", "GPU-1f")])
def test_one_gpu_is_left_where_only_one_is_wanted(
    visible: str | None, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    launch.obey_strategy({"strategy": "single_gpu"})
    assert launch.os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_a_script_under_another_launcher_says_how_it_is_started(
    job_runs: JobRuns, tiny_model: Path, data: Path
) -> None:
    job: Job = job_runs.start("sft", lesson(tiny_model, data, config(4, 5)), variables={"RANK": "0", "WORLD_SIZE": "2"})
    assert job.finish() == 1
    assert "start this script with python alone" in job.errors()
