"""A training that several processes share under FSDP2 and ZeRO: for real, two of them on a CPU with gloo.

Accelerate turns FSDP on for accelerators only, and does not start DeepSpeed's own communication on a CPU: the copy of
the template does these two things. All else is as on GPUs.
"""

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, chats, lesson, without_samples, write_rows
from tests.templates.test_checkpoints import write_checkpoint, write_state
from trl_mcp.recipes.extras import DEEPSPEED

checkpoints = load_shared("checkpoints")
launch = load_shared("launch")
sharding = load_shared("sharding")

PACKAGES = (DEEPSPEED, "hjson==3.1.0", "msgpack==1.2.4", "ninja==1.13.2", "py-cpuinfo==9.0.0", "einops==0.8.2")
MAKE_TRAINER = "def make_trainer(setup: TrainingSetup) -> Any:\n"
ZERO_ON_CPU = """    import deepspeed

    deepspeed.init_distributed("gloo")
"""
FSDP_ON_CPU = """    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    usual = AcceleratorState.__init__

    def sharding(self, *args, fsdp_plugin=None, **fields):
        usual(self, *args, fsdp_plugin=fsdp_plugin, **fields)
        if fsdp_plugin is not None:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = sharding
"""


def on_cpu(strategy: str, template: str) -> Callable[[Path], None]:
    """Return what lets a strategy work on a CPU, in a copy of the templates."""

    def edit(templates: Path) -> None:
        without_samples(templates)
        path = templates / f"{template}.py"
        before, mark, after = path.read_text(encoding="utf-8").partition(MAKE_TRAINER)
        assert mark
        docstring, end, rest = after.partition('."""\n')
        added = ZERO_ON_CPU if strategy.startswith("zero") else FSDP_ON_CPU
        path.write_text(before + mark + docstring + end + added + rest, encoding="utf-8")

    return edit


@pytest.fixture(scope="module")
def deepspeed(tmp_path_factory: pytest.TempPathFactory, training_python: str) -> dict[str, str]:
    """Return the variables that add DeepSpeed, which also runs on a CPU, to an environment."""
    folder = tmp_path_factory.mktemp("packages")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, "--python", training_python, *PACKAGES], check=True)
    return {"PYTHONPATH": str(folder), "DS_ACCELERATOR": "cpu"}


@pytest.fixture
def sharded(job_runs: JobRuns, deepspeed: dict[str, str]) -> Callable[..., Job]:
    """Train in two processes under a strategy, to the end."""

    def train(strategy: str, method: str, changes: dict[str, Any], folder: Path | None = None) -> Job:
        variables = {"TRL_MCP_PROCESSES": "2"} | (deepspeed if strategy.startswith("zero") else {})
        recipe = changes | {"strategy": strategy}
        job = job_runs.start(method, recipe, folder, on_cpu(strategy, method), variables)
        assert job.finish() == 0, job.errors()[-3000:]
        return job

    return train


def config(each: int, steps: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of a training with so many rows in each process."""
    fields = {"per_device_train_batch_size": each, "max_steps": steps, "learning_rate": 1e-3, "seed": 1}
    return QUICK | fields | {"lr_scheduler_type": "constant"} | changes


@pytest.fixture(scope="module")
def alone(job_runs: JobRuns, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """Return rows, and how one process learns from them."""
    data = write_rows(tmp_path_factory.mktemp("rows") / "chats.jsonl", chats(CODES))
    job = job_runs.start("sft", lesson(tiny_model, data, config(8, 6)), edit=without_samples)
    assert job.finish() == 0, job.errors()
    return data, job


@pytest.mark.training
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ["fsdp2", "zero2", "zero3"])
def test_the_losses_are_those_of_one_process_and_go_on_from_a_checkpoint(
    sharded: Callable[..., Job], tiny_model: Path, alone: tuple[Path, Job], tmp_path: Path, strategy: str
) -> None:
    (data, one), run = alone, tmp_path / "run"
    saves = {"save_steps": 2, "save_strategy": "steps"}
    first = sharded(strategy, "sft", lesson(tiny_model, data, config(4, 4, **saves)), run)
    assert first.of_kind("start")[1]["world_size"] == 2
    kept = checkpoints.newest_complete_checkpoint(run / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-4"
    assert {path.name for path in checkpoints.optimizer_states(kept)} == WRITTEN[strategy]
    then = sharded(strategy, "sft", lesson(tiny_model, data, config(4, 6, **saves)), run)
    assert then.of_kind("start")[1]["resume_step"] == 4
    assert first.losses() | then.losses() == pytest.approx(one.losses(), rel=2e-2)
    assert [path.name for path in then.output.glob("*.safetensors")] == ["model.safetensors"]


@pytest.mark.training
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_an_adapter_is_trained_further_beside_weights_that_are_spread(
    job_runs: JobRuns, sharded: Callable[..., Job], taught_model: Path, tmp_path: Path, strategy: str
) -> None:
    data = write_rows(tmp_path / "chats.jsonl", chats(OTHER_CODES))
    tuned = {"tuning": "lora", "lora": LORA}
    adapter = job_runs.start("sft", lesson(taught_model, data, config(8, 1), **tuned), edit=without_samples)
    assert adapter.finish() == 0, adapter.errors()
    fields = config(4, 12, learning_rate=5e-3)
    job = sharded(strategy, "sft", lesson(adapter.output, data, fields, **tuned))
    assert job.losses()[12] < job.losses()[1] * 0.7
    assert (job.output / "adapter_model.safetensors").is_file()


WRITTEN = {
    "fsdp2": {"optimizer.bin", "pytorch_model_fsdp.bin"},
    "zero2": {"mp_rank_00_model_states.pt"} | {f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(2)},
    "zero3": {f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt" for rank in range(2) for kind in ("model", "optim")},
}


@pytest.mark.training
@pytest.mark.timeout(300)
def test_every_configuration_is_accepted_by_the_parsers_of_the_pinned_libraries(
    job_runs: JobRuns, deepspeed: dict[str, str], tmp_path: Path
) -> None:
    fields = {name: sharding.sharding_fields(name) for name in sharding.SHARDED}
    read = job_runs.program(PARSERS, tmp_path, json.dumps(fields), variables=deepspeed)
    assert {name: read[name] for name in ("fsdp1", "fsdp2")} == {
        "fsdp1": {"version": 1, "reshard": "ShardingStrategy.FULL_SHARD", "kept": "StateDictType.FULL_STATE_DICT"},
        "fsdp2": {"version": 2, "reshard": "True", "kept": "StateDictType.FULL_STATE_DICT"},
    }
    assert {name: read[name] for name in ("zero1", "zero2", "zero3")} == {
        f"zero{stage}": {"stage": stage, "batch": 16, "bf16": True, "whole": stage == 3} for stage in (1, 2, 3)
    }


PARSERS = """
    import json, os, sys
    import torch
    from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin, dataclasses
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig
    from trl import SFTConfig
    from deepspeed.runtime.config import DeepSpeedConfig

    # FSDP1 asks which card it is for.
    dataclasses.is_cuda_available, torch.cuda.current_device = lambda: True, lambda: 0
    found = {}
    for name, fields in json.loads(sys.argv[1]).items():
        if "fsdp" in fields:
            args = SFTConfig("out", use_cpu=True, bf16=False, **fields)
            plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
            assert not plugin.cpu_ram_efficient_loading
            kept, reshard = str(plugin.state_dict_type), str(plugin.reshard_after_forward)
            found[name] = {"version": plugin.fsdp_version, "reshard": reshard, "kept": kept}
            continue
        batch = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
        args = SFTConfig("out", use_cpu=True, bf16=True, **batch, **fields)
        args.hf_deepspeed_config.trainer_config_finalize(args, None, 10)
        config = DeepSpeedConfig(args.hf_deepspeed_config.config)
        DeepSpeedPlugin(hf_ds_config=args.hf_deepspeed_config.config)
        zero = config.zero_config
        whole = zero.gather_16bit_weights_on_model_save
        found[name] = {"stage": int(zero.stage), "batch": config.train_batch_size, "bf16": True, "whole": whole}
        assert config.bfloat16_config.enabled
    print(json.dumps(found))
"""


@pytest.mark.parametrize("strategy", [None, "single_gpu", "multi_gpu"])
def test_a_trainer_is_told_nothing_where_every_gpu_has_all(strategy: str | None) -> None:
    assert sharding.sharding_fields(strategy) == {}
    assert sharding.sharding_variables(strategy) == {}
    assert not sharding.spreads_weights({"strategy": strategy})


def test_a_training_to_be_spread_ends_at_once_where_there_is_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRL_MCP_PROCESSES", raising=False)
    monkeypatch.setitem(launch.sys.modules, "torch", type("torch", (), {"cuda": OneGpu}))
    assert launch.process_count({"strategy": None, "config": {}}) == 1
    with pytest.raises(SystemExit, match="strategy fsdp2 spreads a training over several GPUs"):
        launch.process_count({"strategy": "fsdp2", "config": {}})


class OneGpu:
    """The CUDA of a machine with one GPU."""

    @staticmethod
    def device_count() -> int:
        """Count the GPUs."""
        return 1


def zero_checkpoint(folder: Path, processes: int) -> Path:
    """Write a checkpoint as DeepSpeed does."""
    checkpoint = write_checkpoint(folder, 4)
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "latest").write_text("global_step4", encoding="utf-8")
    (checkpoint / "global_step4").mkdir()
    for rank in range(processes):
        write_state(checkpoint / "global_step4" / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return checkpoint


def test_a_checkpoint_of_deepspeed_is_whole_once_every_process_has_written_its_part(tmp_path: Path) -> None:
    checkpoint = zero_checkpoint(tmp_path, 4)
    assert checkpoints.is_complete(checkpoint)
    part = checkpoint / "global_step4" / "bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt"
    part.write_bytes(part.read_bytes()[:40])
    assert not zipfile.is_zipfile(part)
    assert not checkpoints.is_complete(checkpoint)
    (checkpoint / "latest").write_text("global_step9", encoding="utf-8")
    assert not checkpoints.is_complete(checkpoint)


def test_deepspeed_goes_on_with_as_many_gpus_as_it_began_with(tmp_path: Path) -> None:
    checkpoint = zero_checkpoint(tmp_path, 4)
    checkpoints.check_process_count(checkpoint, 4)
    with pytest.raises(SystemExit, match=r"written on 4 GPUs, .* not on 8: take hardware with 4 GPUs"):
        checkpoints.check_process_count(checkpoint, 8)
    checkpoints.check_process_count(write_checkpoint(tmp_path, 5), 8)
    checkpoints.check_process_count(None, 8)


def test_a_checkpoint_of_fsdp_needs_its_weights_and_its_optimizer(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 4, "adapter_model.safetensors")
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    assert not checkpoints.is_complete(checkpoint)
    write_state(checkpoint / "pytorch_model_fsdp.bin")
    assert checkpoints.is_complete(checkpoint)
