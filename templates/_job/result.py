"""The result: the model with its tokenizer, and a record of what made it."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = ("trl", "transformers", "peft", "torch", "datasets")


def save_result(trainer: Any, run: dict[str, Any], output: Path) -> None:
    """Write the model, its tokenizer and trl-mcp.json to the output folder."""
    trainer.save_model(str(output))
    versions = {package: importlib.metadata.version(package) for package in RECORDED_PACKAGES}
    record = {"run_key": run["run_key"], "recipe": run, "versions": versions}
    if trainer.args.should_save:
        (output / "trl-mcp.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
