"""From the original to one unquantised GGUF file, and to the measure that the quantised ones are held to."""

import gc
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.gguf_probe import SourceProbe, probe_source
from _job.gguf_source import ConversionSource, collect_tokenizer
from _job.gguf_tools import LlamaTools, convert_model
from _job.gguf_weights import fetch_weights, leave_whole, load_original, number_types
from _job.progress import JobStage

# Of torch's types those that the converter writes.
OUTPUT_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class PreparedModel:
    """The whole model as one GGUF file, what the original does, and the type that this was computed in."""

    file: Path
    probe: SourceProbe
    source_type: str


def prepare_model(run: dict[str, Any], source: ConversionSource, tools: LlamaTools, work: Path) -> PreparedModel:
    """Make one GGUF file of the model, unquantised; the original is asked before it is let go of."""
    whole, download = work / "model", work / "download"
    for folder in (whole, download):
        shutil.rmtree(folder, ignore_errors=True)
    whole.mkdir(parents=True)
    with JobStage("model"):
        collect_tokenizer(source, whole)
        weights = fetch_weights(source, download)
        kind, written = number_types(source.config, weights)
        probe = take_original(run, source, kind, weights, whole)
        gc.collect()
    if source.is_adapter:
        shutil.rmtree(download, ignore_errors=True)
    with JobStage("conversion"):
        convert_model(tools, whole, work / "whole.gguf", OUTPUT_TYPES[written])
    for folder in (whole, download):
        shutil.rmtree(folder, ignore_errors=True)
    return PreparedModel(work / "whole.gguf", probe, kind)


def take_original(run: dict[str, Any], source: ConversionSource, kind: str, weights: Path, whole: Path) -> SourceProbe:
    """Load the model, merged where it is an adapter, ask it, and leave it in `whole` beside its tokenizer."""
    from transformers import AutoTokenizer

    shutil.copyfile(weights / "config.json", whole / "config.json")
    tokenizer = AutoTokenizer.from_pretrained(whole)
    (whole / "config.json").unlink()
    model = load_original(run, source, weights, kind, tokenizer)
    probe = probe_source(model, tokenizer, run["questions"])
    leave_whole(source, model, weights, whole)
    return probe
