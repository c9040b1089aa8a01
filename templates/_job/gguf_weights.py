"""The weights of a model that is to be converted: fetched, loaded, and of an adapter merged into its base."""

import math
from pathlib import Path
from typing import Any

from _job.checkpoints import has_whole_weights
from _job.gguf_source import ConversionSource
from _job.hub import ask_hub, hub_client
from _job.models import fit_vocabulary

WEIGHT_FILES = "model*.safetensors"
WANTED_FILES = ["*.json", WEIGHT_FILES, "*.jinja", "tokenizer.model", "merges.txt"]
# Above this, numbers of 32 bits take too much room.
WIDE_PARAMETERS = 1_000_000_000
MOST_RELATIVE_LOSS = 0.1
LEAST_DIVERGENCE = 1e-2
PROBE_LINE = "The quick brown fox jumps over the lazy dog. What is two and two? It is four."


def fetch_weights(source: ConversionSource, folder: Path) -> Path:
    """Return the folder of the whole model: its own, that of the cache, else one that is downloaded to `folder`."""
    if Path(source.weights).is_absolute():
        return Path(source.weights)
    client = hub_client()
    wanted = {"revision": source.weights_revision, "allow_patterns": WANTED_FILES}
    kept = cached_weights(source, wanted)
    if kept is not None:
        return kept
    return Path(
        ask_hub(lambda: client.snapshot_download(source.weights, local_dir=folder, **wanted), source.weights, "read")
    )


def cached_weights(source: ConversionSource, wanted: dict[str, Any]) -> Path | None:
    """Return the folder in the cache that has the whole model; None where there is none."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = Path(hub_client().snapshot_download(source.weights, local_files_only=True, **wanted))
    except LocalEntryNotFoundError:
        return None
    return found if has_whole_weights(found) else None


def number_types(config: dict[str, Any], weights: Path) -> tuple[str, str]:
    """Return the types of torch to compute in and to write: 32 bits for a small model, where 16 would blur the measure."""
    text = config.get("text_config") or config
    names = (config.get("dtype"), config.get("torch_dtype"), text.get("dtype"), text.get("torch_dtype"))
    stored = next((name for name in names if name), "float32")
    is_small = count_parameters(weights) <= WIDE_PARAMETERS
    if stored == "float32" and not is_small:
        stored = "bfloat16"
    return ("float32" if is_small else stored), stored


def count_parameters(folder: Path) -> int:
    """Return how many numbers the weights of a folder hold; end the job where it has none."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob(WEIGHT_FILES):
        with safe_open(path, framework="np") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118  (no mapping)
            total += sum(map(math.prod, shapes))
    if not total:
        raise SystemExit(f"{folder.name} has no weights as safetensors; save the model anew with save_pretrained")
    return total


def load_original(run: dict[str, Any], source: ConversionSource, weights: Path, kind: str, tokenizer: Any) -> Any:
    """Load the model, merged with its base where it is an adapter."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(weights, dtype=getattr(torch, kind)).eval()
    if source.is_adapter:
        model = merge_with_base(run, model, tokenizer)
    check_embeddings(model, tokenizer, source.model)
    return model


def check_embeddings(model: Any, tokenizer: Any, name: str) -> None:
    """End the job where the tokenizer has tokens that the model has no embedding for."""
    rows, words = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values()) + 1
    if words > rows:
        raise SystemExit(
            f"the tokenizer of {name} has {words} tokens and the model {rows} embeddings; "
            "take the tokenizer that the model was trained with, or resize the embeddings and train them"
        )


def merge_with_base(run: dict[str, Any], base: Any, tokenizer: Any) -> Any:
    """Return the model that base and adapter make; end the job where the adapter is lost on the way, or does nothing."""
    from peft import PeftModel

    fit_vocabulary(base, run)
    ids = tokenizer(PROBE_LINE, return_tensors="pt").input_ids
    model = PeftModel.from_pretrained(base, run["model"], revision=run["model_revision"]).eval()
    with model.disable_adapter():
        without = log_probabilities(model, ids)
    adapted = log_probabilities(model, ids)
    merged = model.merge_and_unload(safe_merge=True)
    effect, loss = divergence(adapted, without), divergence(adapted, log_probabilities(merged, ids))
    if effect == 0:
        raise SystemExit(f"the adapter {run['model']} changes nothing about its base: there is nothing to convert")
    if loss > max(LEAST_DIVERGENCE, MOST_RELATIVE_LOSS * effect):
        raise SystemExit(
            f"merging lost the adapter: the merged model is {loss:.3g} from what adapter and base compute (KL), "
            f"the base {effect:.3g}; this kind of adapter cannot be merged"
        )
    return merged


def log_probabilities(model: Any, ids: Any) -> Any:
    """Return the logarithms of the probabilities after each token."""
    import torch

    with torch.inference_mode():
        return model(input_ids=ids).logits[0].float().log_softmax(-1)


def divergence(expected: Any, found: Any) -> float:
    """Return the mean KL divergence over all tokens."""
    return float((expected.exp() * (expected - found)).sum(-1).mean())


def leave_whole(source: ConversionSource, model: Any, weights: Path, folder: Path) -> None:
    """Let a folder have config and weights of the model beside its tokenizer: written anew where it was merged."""
    if not source.is_adapter:
        for path in [
            *weights.glob(WEIGHT_FILES),
            *weights.glob("model*.safetensors.index.json"),
            weights / "config.json",
        ]:
            (folder / path.name).symlink_to(path.resolve())
        return
    generation = folder / "generation_config.json"
    kept = generation.read_bytes() if generation.is_file() else None
    model.save_pretrained(folder)
    if kept is not None:
        generation.write_bytes(kept)
