"""A recipe weighed on machines: what is assumed of this machine, and what is chosen where nothing may be."""

from decimal import Decimal
from typing import Any

import pytest

from tests.estimate.shapes import A10G, A100, CPU, H200, H200X8, T4, machine, shape
from trl_mcp.estimate.options import highest_cost
from trl_mcp.plan.estimation import choose_machine, weigh
from trl_mcp.plan.shapes import Shapes
from trl_mcp.plan.workload import Workload, stated_size
from trl_mcp.recipes.recipe import Asked, make_recipe


def work(name: str = "qwen3-0.6b", tuning: str = "lora", rows: int = 1000) -> Workload:
    recipe = make_recipe(Asked(method="sft", model="a/b", dataset="a/c", tuning=tuning, max_length=512))
    return Workload(recipe, Shapes(shape(name)), stated_size(rows, 200, recipe))


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_full_disk_here_is_a_doubt_and_on_a_flavor_a_no(gpus: int) -> None:
    """Packages and models may lie on this machine already."""
    fields: dict[str, Any] = {"gpus": gpus, "vram_gb": 24 * gpus, "ram_gb": 64.0, "disk_gb": 3.0}
    here, there = (weigh(work(), machine(name, "A10G" if gpus else "", **fields)) for name in ("local", "a10g-x"))
    assert (here.verdict, there.verdict) == ("tight", "no")
    assert here.reason.startswith("may run out: ")
    assert there.reason.startswith("does not fit: ")
    assert "3.0 GB disk" in here.reason


def test_too_little_memory_is_a_no_here_too() -> None:
    here = machine("local", "", gpus=0, vram_gb=0, ram_gb=8.0, disk_gb=500.0)
    assert weigh(work("qwen3-8b"), here).verdict == "no"


def test_below_every_ceiling_the_lowest_is_named() -> None:
    machines = [T4, A10G, A100, H200]
    found = choose_machine(work(), machines, Decimal("0.01"), attempts=1)
    weighed = [weigh(work(), each) for each in machines]
    assert found.option.hardware == min(weighed, key=lambda each: highest_cost(each, 1)).hardware
    assert found.findings == ()
    assert "lowest ceiling" in found.why


def test_where_sharding_alone_makes_it_fit_the_mend_names_machine_and_strategy() -> None:
    (finding,) = choose_machine(work("qwen3-32b", "full"), [A100, H200, H200X8], None, 1).findings
    assert finding.code == "hw.memory"
    assert 'Name hardware="h200x8" and trainer_args=["strategy=fsdp2"]' in finding.fix


def test_where_the_speed_of_all_that_fit_is_not_known_hardware_and_timeout_are_asked_for() -> None:
    unknown = machine("new-1", "Quadro 9", vram_gb=48)
    (finding,) = choose_machine(work(), [unknown], None, 1).findings
    assert finding.message == "It fits new-1, and how long it takes there is not known."
    assert finding.fix == 'Name hardware="new-1" and a timeout.'


def test_without_a_gpu_a_machine_is_chosen_only_for_what_is_done_within_an_hour() -> None:
    assert choose_machine(work(rows=20), [CPU, T4], None, 1).option.hardware == CPU.name
    assert choose_machine(work(rows=2000), [CPU, T4], None, 1).option.hardware == T4.name
