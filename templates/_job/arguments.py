"""What the trainer is given: the tokenizer, the fields of its config, the adapter."""

from pathlib import Path
from typing import Any

from _job.chat_template import borrowed_template
from _job.device import TrainingDevice, device_arguments, has_package
from _job.models import find_adapter, loading_arguments, processing_source
from _job.sharding import sharding_fields
from _job.tracking import tracking_arguments


def load_processing(run: dict[str, Any]) -> Any:
    """Return the tokenizer (or processor) that belongs to the model, with the chat template that the run gives it."""
    from transformers import AutoProcessor

    name, revision = processing_source(run)
    processing = AutoProcessor.from_pretrained(name, revision=revision)
    template = borrowed_template(run, (name, revision))
    if template is not None and not template.missing:
        processing.chat_template = template.text
    return processing


def has_chat_template(processing: Any, config: dict[str, Any]) -> bool:
    """Tell whether conversations can be rendered for the model."""
    return bool(processing.chat_template or config.get("chat_template_path"))


def trainer_arguments(run: dict[str, Any], device: TrainingDevice, checkpoints: Path) -> dict[str, Any]:
    """Return all fields of the trainer's config: what the run sets comes before every default."""
    config = run["config"]
    # A loss that is no number must be seen, not smoothed away.
    seen = {"disable_tqdm": True, "logging_nan_inf_filter": False}
    defaults = {
        "report_to": "none",
        "save_total_limit": 2,
        **seen,
        **device_arguments(device, config, run["tuning"]),
    }
    if saves_by_clock(run):
        defaults["save_strategy"] = "no"
    fields = {**defaults, **config, **tracking_arguments(run), **sharding_fields(run.get("strategy"))}
    fields["output_dir"] = str(checkpoints)
    if fields.get("use_liger_kernel") and not has_package("triton", device):
        fields["use_liger_kernel"] = False
    template = borrowed_template(run, processing_source(run))
    if template is not None and not template.missing:
        # The tokenizer has it. TRL would fill the vocabulary up by new tokens, for which an adapter had to hold layers.
        del fields["chat_template_path"]
        fields["eos_token"] = fields.get("eos_token") or template.end
    # An adapter comes to the trainer loaded.
    fields["model_init_kwargs"] = loading_arguments(run, device) if find_adapter(run) is None else None
    return fields


def saves_by_clock(run: dict[str, Any]) -> bool:
    """Tell whether checkpoints are due by the clock: the run does not say at which steps."""
    return run["save_minutes"] is not None and not {"save_strategy", "save_steps"} & run["config"].keys()


def lora_config(run: dict[str, Any], task_type: str = "CAUSAL_LM") -> Any:
    """Return the config of a new adapter; None where the model itself, or the adapter that it is, is trained."""
    if run["tuning"] == "full" or find_adapter(run) is not None:
        return None
    from peft import LoraConfig

    defaults = {"target_modules": "all-linear", "task_type": task_type, "revision": run["model_revision"]}
    return LoraConfig(**{**defaults, **(run["lora"] or {})})
