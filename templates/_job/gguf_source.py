"""What is to be converted: looked at before anything large is loaded."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.checkpoints import read_json_object
from _job.models import find_adapter

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
TWIN_ENDINGS = re.compile(r"(-unsloth)?-bnb-4bit$")


@dataclass(frozen=True)
class ConversionSource:
    """The whole model that weights come from (of an adapter its base), its config, and where the model itself lies."""

    model: str
    revision: str | None
    weights: str
    weights_revision: str | None
    config: dict[str, Any]
    is_adapter: bool


def find_source(run: dict[str, Any]) -> ConversionSource:
    """Look at configs only, and end the job where they say that the model cannot be converted."""
    model, revision = run["model"], run["model_revision"]
    check_folder(model)
    adapter = find_adapter(run)
    if adapter is None:
        source = ConversionSource(model, revision, model, revision, read_config(model, revision), is_adapter=False)
    else:
        weights, weights_revision = find_base(run, adapter)
        config = read_config(weights, weights_revision)
        source = ConversionSource(model, revision, weights, weights_revision, config, is_adapter=True)
    check_config(source)
    return source


def check_folder(name: str) -> None:
    """End the job where a folder is not on this machine."""
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise SystemExit(f"the folder {name} is not on this machine; name a model that is, or one on the Hub")


def find_base(run: dict[str, Any], adapter: dict[str, Any]) -> tuple[str, str | None]:
    """Return the base of an adapter: the one that the run names, else the adapter's own, in 16 bits."""
    if adapter.get("peft_type") != "LORA":
        raise SystemExit(f"{run['model']} is an adapter of type {adapter.get('peft_type')}; only LoRA can be merged")
    if run["base_model"]:
        check_folder(run["base_model"])
        return run["base_model"], run["base_revision"]
    name = adapter.get("base_model_name_or_path")
    if not name:
        raise SystemExit(f"the adapter {run['model']} does not name its base; name it as base_model")
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise SystemExit(f"the adapter's base {name} is not on this machine; name where it lies as base_model")
    twin = TWIN_ENDINGS.sub("", name)
    return (name, adapter.get("revision")) if twin == name else (twin, None)


def read_config(name: str, revision: str | None) -> dict[str, Any]:
    """Return a model's config.json; end the job where it has none."""
    path = optional_file(name, revision, "config.json")
    if path is None:
        raise SystemExit(f"{name} has no config.json, or cannot be reached: it is no model that can be converted")
    return read_json_object(path)


def optional_file(name: str, revision: str | None, file: str) -> Path | None:
    """Return a file of a folder or a repository; None where it has no such file."""
    from transformers.utils.hub import cached_file

    found = cached_file(name, file, revision=revision, _raise_exceptions_for_missing_entries=False)
    return Path(found) if found else None


def check_config(source: ConversionSource) -> None:
    """End the job where the config is one of a model that generates no text, or that is kept in few bits."""
    config, name = source.config, source.weights
    architecture = (config.get("architectures") or ["none"])[0]
    if config.get("is_encoder_decoder") or not architecture.endswith(GENERATING):
        raise SystemExit(f"{name} ({architecture}) is no causal language model; a GGUF file is made of those only")
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "few bits")
        raise SystemExit(
            f"{name} is kept in {method} and cannot be converted; name the model in 16 bits that it was made from"
            f"{' as base_model' if source.is_adapter else ''}"
        )


def check_architecture(source: ConversionSource, supported: set[str]) -> None:
    """End the job where the converter does not know the architecture."""
    architecture = source.config["architectures"][0]
    if architecture not in supported:
        raise SystemExit(f"{source.weights}: this release of llama.cpp does not convert {architecture}")


def collect_tokenizer(source: ConversionSource, folder: Path) -> None:
    """Put the tokenizer's files into a folder: the model's own, and what it lacks from its base."""
    places = [(source.model, source.revision)]
    own = optional_file(source.model, source.revision, "tokenizer_config.json")
    if source.weights != source.model:
        places.append((source.weights, source.weights_revision))
    for name in TOKENIZER_FILES:
        copy_first(places, name, folder)
    # The template belongs to the tokenizer's config: one from elsewhere would take precedence over what that holds.
    has_template = own is not None and bool(read_json_object(own).get("chat_template"))
    for name in TEMPLATE_FILES:
        copy_first(places[:1] if has_template else places, name, folder)


def copy_first(places: list[tuple[str, str | None]], name: str, folder: Path) -> None:
    """Copy a file from the first place that has it."""
    for place, revision in places:
        found = optional_file(place, revision, name)
        if found is not None:
            shutil.copyfile(found, folder / name)
            return
