"""The model card: what the model is, what it was made of, and how."""

import json
from pathlib import Path
from typing import Any

from _job.job_facts import job_facts
from _job.models import MERGED_FOLDER
from _job.result import package_versions

CARD_NAME = "README.md"
LICENSE_FIELDS = ("license", "license_name", "license_link")
PIPELINES = {"reward": "text-classification", "prm": "token-classification"}


def write_card(run: dict[str, Any], result: dict[str, Any], output: Path) -> None:
    """Write the model card beside the model."""
    text = card_text(run, result, package_versions())
    (output / CARD_NAME).write_text(text, encoding="utf-8")


def card_text(run: dict[str, Any], result: dict[str, Any], versions: dict[str, str]) -> str:
    """Return the model card: metadata, then what a person wants to know."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(**card_metadata(run))
    sections = [
        f"# {run['output_repo'].rpartition('/')[2]}",
        f"{card_model(run)}, fine-tuned on {card_dataset(run)} with {trained_with(run)} ({run['method']}, {run['tuning']}).",
        card_merged(run),
        "`train.py` is the script that made it, `trl-mcp.json` its recipe.",
        card_table("Result", {**result, **result["metrics"]}),
        card_table("Recipe", run["config"]),
        card_table("Adapter", run["lora"] or {}),
        card_table("Job", job_facts()),
        card_table("Versions", versions),
    ]
    text = "\n\n".join(section for section in sections if section)
    return f"---\n{data.to_yaml()}\n---\n\n{text}\n"


def card_metadata(run: dict[str, Any]) -> dict[str, Any]:
    """Return what the Hub files the model by, as far as it is known."""
    fields = {
        "library_name": "transformers" if run["tuning"] == "full" else "peft",
        "pipeline_tag": pipeline(run),
        "tags": [trained_with(run).lower(), run["method"], "trl-mcp"],
    }
    if is_hub_name(run["model"]):
        fields |= {"base_model": run["model"], **base_license(run)}
    if is_hub_name(run["dataset"]) and not run.get("dataset_file"):
        fields["datasets"] = [run["dataset"]]
    return fields


def pipeline(run: dict[str, Any]) -> str | None:
    """Return what the model is for, by the Hub's name of it; None where several of its names fit."""
    return None if run.get("sequence_to_sequence") else PIPELINES.get(run["method"], "text-generation")


def trained_with(run: dict[str, Any]) -> str:
    """Return the name of the library whose trainer made the model."""
    return "Transformers" if run.get("sequence_to_sequence") else "TRL"


def base_license(run: dict[str, Any]) -> dict[str, str]:
    """Return the fields in which the base model's card names its licence; none where it cannot be asked."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    try:
        card = HfApi().model_info(run["model"], revision=run["model_revision"]).card_data
    except (HTTPError, OSError):
        return {}
    known = card.to_dict() if card else {}
    return {name: known[name] for name in LICENSE_FIELDS if isinstance(known.get(name), str)}


def is_hub_name(source: str) -> bool:
    """Tell a name on the Hub from a path and a web address."""
    return "://" not in source and not Path(source).is_absolute()


def card_model(run: dict[str, Any]) -> str:
    """Name the base model with its revision."""
    if not is_hub_name(run["model"]):
        return f"`{Path(run['model']).name}`"
    revision = f" at `{run['model_revision']}`" if run["model_revision"] else ""
    return f"`{run['model']}`{revision}"


def card_merged(run: dict[str, Any]) -> str:
    """Say where the adapter is and where the merged model, where there are both."""
    if not run["merge"] or run["tuning"] == "full":
        return ""
    return f"The adapter lies here, the model that it makes of its base in `{MERGED_FOLDER}/`: a whole one, to be used alone."


def card_dataset(run: dict[str, Any]) -> str:
    """Name the data with configuration, split and revision; of a file only its name."""
    source, split = run["dataset"], run["dataset_split"]
    if run.get("dataset_file"):
        return f"a file, `{run['dataset_file'].rpartition('/')[2]}` ({split})"
    if not is_hub_name(source):
        return f"`{source if '://' in source else Path(source).name}` ({split})"
    parts = [run["dataset_config"], split, run["dataset_revision"] and f"at `{run['dataset_revision']}`"]
    return f"`{source}` ({', '.join(part for part in parts if part)})"


def card_table(title: str, values: dict[str, Any]) -> str:
    """Return a section with a table of names and values; nothing without values."""
    shown = {name: value for name, value in values.items() if value is not None and name != "metrics"}
    if not shown:
        return ""
    rows = [f"| {name} | {card_cell(value)} |" for name, value in shown.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *rows])


def card_cell(value: Any) -> str:
    """Return a value as it can stand in a table."""
    if isinstance(value, float):
        return f"{value:.5g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
