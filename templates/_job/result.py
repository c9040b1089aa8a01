"""The result: the model with its tokenizer, and a record of what made it."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from _job.job_facts import job_facts
from _job.models import merge_adapter

RECORD_NAME = "trl-mcp.json"
REFERENCE_FOLDER = "ref"
RECORDED_PACKAGES = ("trl", "transformers", "peft", "torch", "datasets")
# What a log says of the run's course, not of the model.
NO_RESULT = {"step", "epoch", "total_flos", "learning_rate", "grad_norm", "train_loss"}


def save_result(trainer: Any, run: dict[str, Any], result: dict[str, Any], output: Path) -> None:
    """Write the model, its tokenizer and trl-mcp.json to the output folder; where the run says so, merged as well."""
    trainer.save_model(str(output))
    if trainer.args.should_save:
        # The adapter that training began with serves as the reference and is no part of the result.
        shutil.rmtree(output / REFERENCE_FOLDER, ignore_errors=True)
        if run["merge"] and hasattr(trainer.model, "peft_config"):
            merge_adapter(trainer, output)
        (output / RECORD_NAME).write_text(record_text(run, result), encoding="utf-8")


def record_text(run: dict[str, Any], result: dict[str, Any] | None = None) -> str:
    """Return what trl-mcp.json says: the run, its recipe, packages, plan and cost, and what came of it once known."""
    record = {"run_key": run["run_key"], "recipe": run, "versions": package_versions(), "job": job_facts()}
    if result is not None:
        record["result"] = result
    return json.dumps(record, indent=2) + "\n"


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a job does, of those that it has."""
    there = [package for package in RECORDED_PACKAGES if importlib.util.find_spec(package)]
    return {package: importlib.metadata.version(package) for package in there}


def last_metrics(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last finite value of each measure of the model that the trainer logged."""
    latest = {name: value for entry in history for name, value in entry.items()}
    wanted = {name: value for name, value in latest.items() if name not in NO_RESULT}
    of_the_course = ("runtime", "_per_second", "num_tokens")
    return {
        name: float(value)
        for name, value in wanted.items()
        if not name.endswith(of_the_course) and abs(float(value)) < float("inf")
    }
