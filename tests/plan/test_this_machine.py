"""What this machine is to an estimate: its GPUs as the driver tells them, else its memory."""

from pathlib import Path

import pytest

from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import Gathering
from trl_mcp.plan.this_machine import this_machine
from trl_mcp.values import Flavor

WHOLE = """case "$1" in
-L) echo "GPU 0: NVIDIA H200 (UUID: GPU-aa)"; echo "GPU 1: NVIDIA H200 (UUID: GPU-bb)";;
*) echo "GPU-aa, NVIDIA H200, 143771"; echo "GPU-bb, NVIDIA H200, 143771";;
esac"""
SLICED = """case "$1" in
-L) echo "GPU 0: NVIDIA A100 (UUID: GPU-aa)"; echo "  MIG 1g.10gb     Device  0: (UUID: MIG-1)";;
*) echo "GPU-aa, NVIDIA A100, 81920";;
esac"""
SHARED = """case "$1" in
-L) echo "GPU 0: NVIDIA GB10 (UUID: GPU-aa)";;
*) echo "GPU-aa, NVIDIA GB10, [N/A]";;
esac"""


def machine(folder: Path, driver: str | None = None, strategy: str | None = None, **environ: str) -> Flavor:
    if driver is not None:
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{driver}\n", encoding="utf-8")
        program.chmod(0o755)
    own = {"PATH": f"{folder}:/bin"} | environ
    gathering = Gathering(Hub("http://127.0.0.1:9"), None, environ=own, home=folder / "not" / "there")
    return this_machine(gathering, strategy)


def test_a_job_sees_one_gpu_and_with_a_strategy_all(tmp_path: Path) -> None:
    one = machine(tmp_path, WHOLE)
    assert (one.name, one.accelerator, one.gpu_count, round(one.vram_gb)) == ("local", "NVIDIA H200", 1, 140)
    assert one.micro_usd_per_minute == 0
    assert one.disk_gb > 0
    every = machine(tmp_path, WHOLE, "multi_gpu")
    assert (every.gpu_count, round(every.vram_gb)) == (2, 281)
    assert machine(tmp_path, WHOLE, "single_gpu").gpu_count == 1


@pytest.mark.parametrize(("visible", "gpus"), [("1", 1), ("GPU-bb", 1), ("", 0)])
def test_devices_that_the_operator_hides_do_not_count(tmp_path: Path, visible: str, gpus: int) -> None:
    assert machine(tmp_path, WHOLE, "multi_gpu", CUDA_VISIBLE_DEVICES=visible).gpu_count == gpus


def test_a_slice_of_a_gpu_has_its_own_size_and_no_known_speed(tmp_path: Path) -> None:
    found = machine(tmp_path, SLICED)
    assert (found.accelerator, found.vram_gb) == ("slice of a GPU", 10)


def test_a_gpu_that_shares_the_hosts_memory_leaves_hours_open(tmp_path: Path) -> None:
    found = machine(tmp_path, SHARED)
    assert (found.gpu_count, found.vcpu) == (0, 0)
    assert found.ram_gb > 0


def test_without_a_gpu_memory_and_processors_are_the_hosts(tmp_path: Path) -> None:
    found = machine(tmp_path)
    assert (found.gpu_count, found.accelerator) == (0, "")
    assert found.ram_gb > 0
    assert found.vcpu > 0
