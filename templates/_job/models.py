"""The model that a run starts from: a whole one, or an adapter that is trained further."""

import functools
from pathlib import Path
from typing import Any

from _job.chat_template import borrowed_template, check_new_tokens
from _job.checkpoints import read_json_object
from _job.device import TrainingDevice, precision_fields, usable_kernels, weights_dtype

# The folder of the result that holds adapter and base as one model.
MERGED_FOLDER = "merged"


def find_adapter(run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the config of the adapter that the run's model is; None where it is a whole model."""
    return read_adapter_config(run["model"], run["model_revision"])


@functools.cache
def read_adapter_config(name: str, revision: str | None) -> dict[str, Any] | None:
    """Return what makes a folder or a repository an adapter; None where it is none."""
    from transformers.utils.peft_utils import find_adapter_config_file

    path = find_adapter_config_file(name, revision=revision)
    return read_json_object(Path(path)) if path else None


def weights_source(run: dict[str, Any]) -> tuple[str, str | None]:
    """Return the name and the revision of the whole model: of an adapter those of its base."""
    adapter = find_adapter(run)
    if adapter is None:
        return run["model"], run["model_revision"]
    return adapter["base_model_name_or_path"], adapter.get("revision")


def processing_source(run: dict[str, Any]) -> tuple[str, str | None]:
    """Return the name and the revision of the tokenizer: that of the model, or of an adapter's base if it has none."""
    from transformers.utils.hub import cached_file

    name, revision = run["model"], run["model_revision"]
    optional = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    if find_adapter(run) is None or cached_file(name, "tokenizer_config.json", **optional) is not None:
        return name, revision
    return weights_source(run)


def check_model(run: dict[str, Any]) -> None:
    """End the job where the method cannot train the model, before anything large is loaded."""
    from transformers import AutoConfig

    if Path(run["model"]).is_absolute() and not Path(run["model"]).is_dir():
        raise SystemExit(f"the model's folder is not on this machine: {run['model']}")
    adapter, (name, revision) = find_adapter(run), weights_source(run)
    if adapter is not None and run["tuning"] == "full":
        raise SystemExit(
            f"{run['model']} is an adapter, which full fine-tuning cannot train: take tuning lora to train the adapter "
            f"further, or name its base {name}"
        )
    if adapter is not None and Path(name).is_absolute() and not Path(name).is_dir():
        raise SystemExit(f"the base of the adapter {run['model']} is not on this machine: {name}")
    config = AutoConfig.from_pretrained(name, revision=revision)
    if getattr(config, "is_encoder_decoder", False) and not run.get("sequence_to_sequence"):
        raise SystemExit(
            f"{name} ({config.model_type}) is a sequence-to-sequence model, for which TRL has no trainer: "
            'submit_script(script="templates/seq2seq.py", ...) trains it; here a decoder-only model is needed, such as '
            "Qwen/Qwen3-0.6B"
        )
    check_new_tokens(borrowed_template(run, processing_source(run)), run, config)


def trainable_model(
    run: dict[str, Any], device: TrainingDevice, architecture: str = "AutoModelForCausalLM", **fields: Any
) -> Any:
    """Return what a trainer takes as its model: a whole model's name, or an adapter loaded on its base.

    `architecture` is the class of transformers that an adapter's base is loaded by, `fields` is what that class needs
    beside the name. A trainer loads a model named by its id itself.
    """
    import transformers
    from peft import PeftModel

    if find_adapter(run) is None:
        return run["model"]
    base, revision = weights_source(run)
    # What the base has no weights for, as the head that scores, must not depend on chance.
    transformers.set_seed(run["config"].get("seed", 42))
    loading = loading_arguments(run, device) | {"revision": revision} | fields
    model = getattr(transformers, architecture).from_pretrained(base, **loading)
    fit_vocabulary(model, run)
    # Under ZeRO 3 all weights must be of one type.
    wide = run.get("strategy") != "zero3"
    adapter = {"revision": run["model_revision"], "is_trainable": True, "autocast_adapter_dtype": wide}
    return PeftModel.from_pretrained(model, run["model"], **adapter)


def loading_arguments(run: dict[str, Any], device: TrainingDevice) -> dict[str, Any]:
    """Return how weights are loaded: their type, their revision, in 4 bits, and on which device."""
    config, tuning = run["config"], run["tuning"]
    precision = precision_fields(device, config, tuning)
    loading: dict[str, Any] = {"dtype": weights_dtype({**precision, **config}, device, tuning)}
    if run["model_revision"]:
        loading["revision"] = run["model_revision"]
    if tuning == "qlora":
        loading["quantization_config"] = four_bits(device)
    if device.kind != "cuda" or device.processes > 1:
        # Some trainers would else spread the model over all devices.
        loading["device_map"] = None
    return loading | usable_kernels(config.get("model_init_kwargs") or {}, device)


def four_bits(device: TrainingDevice) -> Any:
    """Return how weights are kept in 4 bits; end the job where the device cannot compute in bfloat16 with them."""
    from transformers import BitsAndBytesConfig

    if device.kind == "mps" or device.half_precision == "float16":
        raise SystemExit(f"qlora computes in bfloat16, which {device.name} does not: take tuning lora, or another GPU")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16",
    )


def fit_vocabulary(model: Any, run: dict[str, Any]) -> None:
    """Give the base as many embeddings as the adapter was trained with, which may have brought tokens of its own."""
    count = adapter_vocabulary(run)
    if count and count != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(count)


def adapter_vocabulary(run: dict[str, Any]) -> int | None:
    """Return for how many tokens the adapter holds an output layer; None where it leaves that of its base."""
    from safetensors import safe_open
    from transformers.utils.hub import cached_file

    file = cached_file(
        run["model"],
        "adapter_model.safetensors",
        revision=run["model_revision"],
        _raise_exceptions_for_missing_entries=False,
    )
    if file is None:
        return None
    with safe_open(file, framework="pt") as weights:
        heads = [name for name in weights.keys() if name.endswith("lm_head.weight")]  # noqa: SIM118  (no mapping)
        return weights.get_slice(heads[0]).get_shape()[0] if heads else None


def merge_adapter(trainer: Any, output: Path) -> None:
    """Write the model that base and adapter make together, in the base's own type, to a folder in the output folder.

    The base is loaded anew: the one that was trained on may be in 4 bits or in another type.
    """
    from peft import PeftModel

    trained = trainer.model.get_base_model()
    config = trainer.model.peft_config["default"]
    size = trained.get_input_embeddings().weight.shape[0]
    heads = {"num_labels": trained.config.num_labels} if hasattr(trained, "num_labels") else {}
    base = type(trained).from_pretrained(
        config.base_model_name_or_path, revision=config.revision, dtype="auto", **heads
    )
    if base.get_input_embeddings().weight.shape[0] != size:
        base.resize_token_embeddings(size)
    merged = PeftModel.from_pretrained(base, str(output)).merge_and_unload(safe_merge=True)
    merged.config.pad_token_id = trained.config.get_text_config().pad_token_id
    merged.save_pretrained(output / MERGED_FOLDER)
    trainer.processing_class.save_pretrained(output / MERGED_FOLDER)
