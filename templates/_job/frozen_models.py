"""Models that a training only asks: loaded whole, an adapter merged into the base that it was trained on."""

from typing import Any

from _job.models import fit_vocabulary


def load_frozen(model_class: Any, name: str, revision: str | None, **loading: Any) -> Any:
    """Return a model of the class in evaluation mode, from a Hub id or a folder of a model or an adapter."""
    adapter = adapter_settings(name, revision)
    if adapter is None:
        return model_class.from_pretrained(name, revision=revision, **loading).eval()
    from peft import PeftModel

    base = model_class.from_pretrained(adapter.base_model_name_or_path, revision=adapter.revision, **loading)
    fit_vocabulary(base, {"model": name, "model_revision": revision})
    # Trainers know a plain model by its class; an adapter's own score head stays when it is merged.
    return PeftModel.from_pretrained(base, name, revision=revision).merge_and_unload().eval()


def frozen_config(name: str, revision: str | None) -> Any:
    """Return a model's config; of an adapter that of its base."""
    from transformers import AutoConfig

    adapter = adapter_settings(name, revision)
    if adapter is None:
        return AutoConfig.from_pretrained(name, revision=revision)
    return AutoConfig.from_pretrained(adapter.base_model_name_or_path, revision=adapter.revision)


def adapter_settings(name: str, revision: str | None) -> Any:
    """Return the adapter's config where a Hub id or a folder holds an adapter, else None."""
    from peft import PeftConfig
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(name, revision=revision) is None:
        return None
    return PeftConfig.from_pretrained(name, revision=revision)
