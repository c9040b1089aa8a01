"""Settings that others have made, run for real: the presets of trl-jobs, made small, and a configuration file of TRL."""

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hub import EmulatedHub
from tests.story.agent import Agent, Answers, connected
from tests.story.lessons import KNOWN, OTHER, TAUGHT, answered, write_rows
from tests.story.school import School
from tests.story.test_pipelines import figures
from trl_mcp.recipes.presets import Preset, presets
from trl_mcp.render.script import read_run

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(600)]
# One of each tuning; EVERY_PRESET=1 runs all of them.
TRIED = presets() if os.environ.get("EVERY_PRESET") == "1" else (presets()[0], presets()[3])
SMALL = {
    "max_length": 128,
    "batch_size": 4,
    "trainer_args": ["preset=trl-jobs", "max_steps=20", "logging_steps=1", "report_to=none"],
}
CONFIG = """
# Model
model_name_or_path: {model}
attn_implementation: sdpa
dtype: bfloat16

# Data
dataset_name: {dataset}
dataset_train_split: train

# Training
learning_rate: 1.0e-2
max_steps: 60
per_device_train_batch_size: 8
gradient_accumulation_steps: 2
warmup_ratio: 0.1
lr_scheduler_type: cosine
logging_steps: 1
max_length: 128
seed: 7

# LoRA
use_peft: true
lora_r: 8
lora_alpha: 16
lora_dropout: 0.0
lora_target_modules: [all-linear]

# Output
output_dir: data/out
push_to_hub: false
report_to: [trackio]
run_name: from-a-file
"""


@pytest.fixture
def hub(tmp_path: Path) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def hub_environ(hub: EmulatedHub, story_environ: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    """The environment of a server that trains on this machine what lies on the Hub."""
    kept = {name: value for name, value in story_environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    return {**kept, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.endpoint}


async def run_of(agent: Agent, started: Answers) -> dict[str, Any]:
    """Return the RUN literal of the script that a job runs."""
    return read_run(await agent.read(started["script_uri"]))


@pytest.mark.parametrize("preset", TRIED, ids=lambda preset: f"{Path(preset.model).name}-{preset.tuning}")
async def test_a_preset_made_small_trains_a_tiny_model_of_its_name(
    hub: EmulatedHub, hub_environ: Mapping[str, str], tiny_model: str, tmp_path: Path, preset: Preset
) -> None:
    hub.add_org(preset.model.partition("/")[0], {})
    hub.add_repo(preset.model, {path.name: path.read_bytes() for path in Path(tiny_model).iterdir() if path.is_file()})
    data = write_rows(tmp_path / "rows.jsonl", answered(KNOWN))
    asked = {"method": "sft", "model": preset.model, "tuning": preset.tuning, "dataset": data, "learning_rate": 1e-2}
    async with connected(hub_environ) as agent:
        started = await agent.call("submit_training", **asked, **SMALL, hardware="local")
        assert "job_id" in started, started
        status = await agent.follow(started["job_id"], 400)
        losses = await figures(agent, started["job_id"], "loss")
        told = await agent.call("job_logs", job_id=started["job_id"], pattern="is left out", lines=10)
        run = await run_of(agent, started)
    assert status["stage"] == "COMPLETED", status
    assert (run["config"]["packing"], run["config"]["lr_scheduler_kwargs"]) == (True, {"min_lr_rate": 0.1})
    assert (run["tuning"], run["config"]["save_steps"]) == (preset.tuning, preset.fields["save_steps"])
    assert [line.split()[2].partition("=")[0] for line in told["lines"]] == ["attn_implementation", "use_kernels"]
    assert len(losses) == 20
    assert losses[-1] < losses[0] * (0.5 if preset.tuning == "full" else 0.9)


async def test_a_configuration_of_trl_trains_as_it_says(
    story_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    async with connected(story_environ) as agent:
        model = await School(agent, tiny_model, tmp_path).model(TAUGHT)
        data = write_rows(tmp_path / "rows.jsonl", answered(OTHER))
        config = CONFIG.format(model=model, dataset=data)
        started = await agent.call(
            "submit_training", method="sft", model=model, dataset=data, trainer_args={"config": config}
        )
        status = await agent.follow(started["job_id"], 400)
        losses = await figures(agent, started["job_id"], "loss")
        run = await run_of(agent, started)
    assert status["stage"] == "COMPLETED", status
    expected = {
        "learning_rate": 1e-2,
        "max_steps": 60,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "cosine",
        "max_length": 128,
        "seed": 7,
        "report_to": ["trackio"],
        "run_name": "from-a-file",
        "model_init_kwargs": {"attn_implementation": "sdpa"},
    }
    assert {name: run["config"].get(name) for name in expected} == expected
    assert run["lora"] == {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear"}
    assert len(losses) == 60
    assert losses[-1] < losses[0] * 0.3
