"""Reward models: a classification model with one score, whole or as an adapter on its base."""

from typing import Any

from _job.device import TrainingDevice
from _job.frozen_models import adapter_settings, frozen_config, load_frozen

REWARD_TASK = "SEQ_CLS"


def load_reward_model(entry: dict[str, Any], device: TrainingDevice) -> tuple[Any, Any]:
    """Return a reward model in evaluation mode, and its tokenizer; `entry` is one of the run's `rewards`."""
    from transformers import AutoModelForSequenceClassification

    check_reward_model(entry)
    tokenizer = reward_tokenizer(entry)
    loading = {"num_labels": 1, "dtype": device.half_precision or "float32"}
    model = load_frozen(AutoModelForSequenceClassification, entry["name"], entry.get("revision"), **loading)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    # The name that its scores are logged under.
    model.config.name_or_path = entry["name"]
    return model, tokenizer


def check_reward_model(entry: dict[str, Any]) -> None:
    """Refuse a model that has no score to give, before anything is loaded."""
    name, revision = entry["name"], entry.get("revision")
    adapter = adapter_settings(name, revision)
    if adapter is not None and adapter.task_type != REWARD_TASK:
        raise SystemExit(f"{name} is no reward model: its adapter was trained for {adapter.task_type}")
    if adapter is not None:
        return
    config = frozen_config(name, revision)
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds) or config.num_labels != 1:
        raise SystemExit(
            f"{name} is no reward model: it is {', '.join(kinds) or 'of no known kind'} with {config.num_labels} "
            f"labels, and a reward model is one ForSequenceClassification with 1 label"
        )


def reward_tokenizer(entry: dict[str, Any]) -> Any:
    """Return the tokenizer of a reward model, with a token to fill up with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(entry["name"], revision=entry.get("revision"))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
