"""One job per device, in the order of their submission."""

import json
from pathlib import Path

import pytest

from tests.backends.conftest import MakeDesk
from tests.backends.desk import SLEEP, Desk, until
from trl_mcp.backends.base import Job, Stage
from trl_mcp.gpus import parse_devices, visible_gpus

TELL_DEVICE = "import os, time\nprint('up', os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\ntime.sleep(600)\n"
TWO_GPUS = "GPU 0: NVIDIA H200 (UUID: GPU-aa)\nGPU 1: NVIDIA H200 (UUID: GPU-bb)\n"
MIG = """GPU 0: NVIDIA H200 (UUID: GPU-aa)
  MIG 1g.18gb     Device  0: (UUID: MIG-1)
  MIG 1g.18gb     Device  1: (UUID: MIG-2)
GPU 1: NVIDIA H200 (UUID: GPU-bb)
"""


@pytest.fixture
def gpu_desk(make_desk: MakeDesk, environ: dict[str, str], tmp_path: Path) -> Desk:
    """A machine whose driver lists two GPUs."""
    driver = _driver(tmp_path, TWO_GPUS)
    return make_desk(PATH=f"{driver}:{environ['PATH']}", CUDA_VISIBLE_DEVICES="0,1")


def _driver(folder: Path, listing: str) -> Path:
    program = folder / "driver" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    program.chmod(0o755)
    return program.parent


def _waits(desk: Desk, job: Job) -> None:
    until(lambda: "queue" in desk.look(job).message, f"{job.id} waits")
    assert desk.look(job).stage is Stage.SCHEDULING


def test_on_a_cpu_one_job_runs_at_a_time_in_the_order_of_submission(desk: Desk) -> None:
    first = desk.start_and_see_up(SLEEP)
    others = [desk.start(f"import time\nprint(time.time_ns(), {number})\n") for number in range(4)]
    for job in others:
        _waits(desk, job)
    desk.cancel(first)
    printed = [desk.tail(desk.ended(job))[0].split() for job in others]

    assert printed == sorted(printed)


def test_each_gpu_runs_one_job_and_shows_it_no_other(gpu_desk: Desk) -> None:
    first, second = (gpu_desk.start_and_see_up(TELL_DEVICE) for _ in range(2))
    third = gpu_desk.start(TELL_DEVICE)
    _waits(gpu_desk, third)
    gpu_desk.cancel(second)
    until(lambda: gpu_desk.tail(third), "the third job runs")

    assert gpu_desk.tail(first) == ["up GPU-aa"]
    assert gpu_desk.tail(second) == gpu_desk.tail(third) == ["up GPU-bb"]


def test_a_job_for_all_devices_waits_until_all_are_free_and_is_not_overtaken(gpu_desk: Desk) -> None:
    first = gpu_desk.start_and_see_up(TELL_DEVICE)
    wide = gpu_desk.start(TELL_DEVICE, uses_all_devices=True)
    _waits(gpu_desk, wide)
    later = gpu_desk.start(TELL_DEVICE)
    _waits(gpu_desk, later)
    gpu_desk.cancel(first)
    until(lambda: gpu_desk.tail(wide), "the wide job runs")
    assert gpu_desk.look(later).stage is Stage.SCHEDULING
    gpu_desk.cancel(wide)
    until(lambda: gpu_desk.tail(later), "the later job runs")

    assert gpu_desk.tail(wide) == ["up GPU-aa,GPU-bb"]


def test_a_job_for_all_devices_runs_where_there_is_only_a_cpu(desk: Desk) -> None:
    assert desk.run("", uses_all_devices=True).stage is Stage.COMPLETED


def test_a_job_starts_after_those_whose_results_it_reads(gpu_desk: Desk) -> None:
    first = gpu_desk.start_and_see_up(TELL_DEVICE.replace("600", "0.3"))
    second = gpu_desk.start("print('read')", after=(first.id,))
    until(lambda: first.id in gpu_desk.look(second).message, "the second waits for the first, though a GPU is free")
    assert gpu_desk.ended(second).stage is Stage.COMPLETED
    assert gpu_desk.look(first).stage is Stage.COMPLETED


def test_a_job_that_waits_for_one_that_fails_ends_and_says_so(desk: Desk) -> None:
    first = desk.start("import sys\nsys.exit(3)\n")
    second = desk.ended(desk.start("print('read')", after=(first.id,)))
    assert second.stage is Stage.ERROR
    assert second.message == f"{first.id}, whose result this job reads, ended as ERROR."
    assert desk.tail(second) == []


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aa", "GPU-bb"]),
        ("", []),
        ("-1", []),
        ("1", ["GPU-bb"]),
        ("1, 0", ["GPU-bb", "GPU-aa"]),
        ("GPU-b", ["GPU-bb"]),
        ("0,7,1", ["GPU-aa"]),
    ],
)
def test_the_operator_may_hide_devices(tmp_path: Path, visible: str | None, expected: list[str]) -> None:
    variables = {"PATH": f"{_driver(tmp_path, TWO_GPUS)}:/bin:/usr/bin"}

    assert visible_gpus(variables | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})) == expected


def test_a_gpu_cut_into_slices_counts_as_its_slices() -> None:
    assert parse_devices(MIG) == ["MIG-1", "MIG-2", "GPU-bb"]


def test_a_machine_without_a_driver_or_with_a_broken_one_has_no_gpu(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: x (UUID: GPU-aa)'\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)

    assert visible_gpus({"PATH": str(tmp_path)}) == []
    assert visible_gpus({"PATH": str(tmp_path / "nothing")}) == []


def test_the_place_in_the_queue_is_given_up_at_the_end(desk: Desk) -> None:
    job = desk.run("")

    assert list((desk.home / "locks" / "queue").iterdir()) == []
    assert json.loads((desk.folder(job) / "status.json").read_text())["stage"] == "COMPLETED"
