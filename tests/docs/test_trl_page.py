"""The page on presets and configuration files says what the server does."""

import json
import re
from math import prod
from pathlib import Path
from typing import Any, cast

import pytest

from trl_mcp.recipes.presets import presets
from trl_mcp.tools.ready_made import with_ready_made
from trl_mcp.tools.submit_training import SubmitTraining

pytestmark = pytest.mark.anyio
TEXT = (Path(__file__).resolve().parents[2] / "docs/trl.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_table_has_every_preset() -> None:
    batch = ("per_device_train_batch_size", "gradient_accumulation_steps")
    rows = [
        f"| {preset.model} | {preset.tuning} | {preset.fields['max_length']} | "
        f"{prod(cast(int, preset.fields[name]) for name in batch)} | {preset.fields['learning_rate']} | "
        f"{preset.fields['save_steps']} steps |"
        for preset in presets()
    ]
    assert [line for line in TEXT.splitlines() if "/" in line.partition(" | ")[0] and line.startswith("| ")] == rows


async def test_the_call_with_a_preset_can_be_made() -> None:
    call: dict[str, Any] = json.loads(blocks("json")[0])
    arguments, (first, *_) = await with_ready_made(SubmitTraining.model_validate(call))
    assert arguments.max_length == 24576
    assert "preset trl-jobs for Qwen/Qwen3-8B" in first.message


async def test_the_configuration_file_is_the_call_that_is_shown() -> None:
    (file,) = blocks("yaml")
    shown: dict[str, Any] = json.loads(blocks("json")[1])
    call = {name: shown[name] for name in ("method", "model", "dataset")} | {"trainer_args": {"config": file}}
    arguments, findings = await with_ready_made(SubmitTraining.model_validate(call))
    assert arguments == SubmitTraining.model_validate(shown)
    assert findings[1].message == "Not used of config: output_dir."
