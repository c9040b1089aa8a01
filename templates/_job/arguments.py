"""What the trainer is given: the tokenizer, the fields of its config, the adapter."""

from pathlib import Path
from typing import Any

from _job.device import TrainingDevice, device_arguments, weights_dtype


def load_processing(run: dict[str, Any]) -> Any:
    """Return the tokenizer (or processor) that belongs to the model."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(run["model"], revision=run["model_revision"])


def has_chat_template(processing: Any, config: dict[str, Any]) -> bool:
    """Tell whether conversations can be rendered for the model."""
    return bool(processing.chat_template or config.get("chat_template_path"))


def trainer_arguments(run: dict[str, Any], device: TrainingDevice, checkpoints: Path) -> dict[str, Any]:
    """Return all fields of the trainer's config: what the run sets comes before every default."""
    config = run["config"]
    # A loss that is no number must be seen, not smoothed away.
    seen = {"disable_tqdm": True, "logging_nan_inf_filter": False}
    defaults = {"report_to": "none", "save_total_limit": 2, **seen, **device_arguments(device, config)}
    if saves_by_clock(run):
        defaults["save_strategy"] = "no"
    fields = {**defaults, **config, "output_dir": str(checkpoints)}
    loading = {"dtype": weights_dtype(fields, device, run["tuning"])}
    if run["model_revision"]:
        loading["revision"] = run["model_revision"]
    fields["model_init_kwargs"] = {**loading, **(config.get("model_init_kwargs") or {})}
    return fields


def saves_by_clock(run: dict[str, Any]) -> bool:
    """Tell whether checkpoints are due by the clock: the run does not say at which steps."""
    return run["save_minutes"] is not None and not {"save_strategy", "save_steps"} & run["config"].keys()


def lora_config(run: dict[str, Any]) -> Any:
    """Return the adapter's config; None where the model itself is trained."""
    if run["tuning"] == "full":
        return None
    from peft import LoraConfig

    return LoraConfig(**(run["lora"] or {}))
