"""What stands beside GGUF files: the model card with what was measured, and what Ollama reads."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from _job.card import base_license, card_table, is_hub_name
from _job.gguf_library import LLAMA_RELEASE
from _job.gguf_prepare import PreparedModel
from _job.gguf_shelf import REPORT_NAME, report_text
from _job.gguf_source import ConversionSource
from _job.hub import commit_files, hub_client
from _job.job_facts import job_facts
from _job.output_repo import OutputRepo
from _job.progress import report

PREFERRED = "Q4_K_M"
# How Ollama writes a conversation, by a mark of the chat template that means the same.
OLLAMA_TEMPLATES = {
    "<|im_start|>": (
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    ),
    "<|start_header_id|>": (
        "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
}


def preferred_file(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the file that is run where none is named."""
    return next((file for file in files if file["quantization"] == PREFERRED), files[0])


def ollama_command(run: dict[str, Any], files: list[dict[str, Any]], output: Path) -> str:
    """Return the literal command that runs the model with Ollama."""
    if run["output_repo"]:
        return f"ollama run hf.co/{run['output_repo']}:{preferred_file(files)['quantization']}"
    name = re.sub(r"[^a-z0-9._-]+", "-", run["name"].lower()).strip("-.")
    return f"ollama create {name} -f {shlex.quote(str(output / 'Modelfile'))} && ollama run {name}"


def source_facts(source: ConversionSource, prepared: PreparedModel) -> dict[str, Any]:
    """Return what a continuation of the run must know of the original."""
    template = prepared.probe.chat_template or ""
    return {
        "weights": source.weights,
        "weights_revision": source.weights_revision,
        "source_type": prepared.source_type,
        "llama_cpp": LLAMA_RELEASE,
        "stops": prepared.probe.stops,
        "ollama_template": next((text for mark, text in OLLAMA_TEMPLATES.items() if mark in template), None),
    }


def write_companions(run: dict[str, Any], facts: dict[str, Any], output: Path) -> None:
    """Write what stands beside the files: the card, the report, and what Ollama reads."""
    output.mkdir(parents=True, exist_ok=True)
    texts = {
        "README.md": gguf_card(run, facts, output),
        REPORT_NAME: report_text(facts),
        "Modelfile": modelfile(facts),
        "params": report_text({"stop": facts["stops"]}),
    }
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8")


def modelfile(facts: dict[str, Any]) -> str:
    """Return a Modelfile for Ollama: the preferred file, how a conversation is written, and where an answer ends."""
    lines = [f"FROM ./{preferred_file(facts['files'])['name']}"]
    if facts["ollama_template"]:
        lines.append(f'TEMPLATE """{facts["ollama_template"]}"""')
    return "\n".join([*lines, *(f"PARAMETER stop {json.dumps(stop)}" for stop in facts["stops"])]) + "\n"


def gguf_card(run: dict[str, Any], facts: dict[str, Any], output: Path) -> str:
    """Return the model card: metadata, how to run the files, and what was measured of them."""
    from huggingface_hub import ModelCardData

    fields: dict[str, Any] = {"library_name": "gguf", "tags": ["gguf", "llama.cpp", "trl-mcp"]}
    fields |= {"pipeline_tag": "text-generation"}
    if is_hub_name(run["model"]):
        fields |= {"base_model": run["model"], "base_model_relation": "quantized", **gguf_license(run, facts)}
    source = f"`{run['model'] if is_hub_name(run['model']) else Path(run['model']).name}`"
    sections = [
        f"# {run['name']} (GGUF)",
        f"{source} as GGUF files, each of which was loaded and compared with the original before it was published.",
        run_section(run, facts["files"], output),
        figures_section(facts),
        digests_section(facts["files"]),
        card_table("Job", job_facts()),
        f"Made with llama.cpp {LLAMA_RELEASE} by `train.py`; `{REPORT_NAME}` has all figures.",
    ]
    return (
        f"---\n{ModelCardData(**fields).to_yaml()}\n---\n\n"
        + "\n\n".join(section for section in sections if section)
        + "\n"
    )


def gguf_license(run: dict[str, Any], facts: dict[str, Any]) -> dict[str, str]:
    """Return the licence that the model's card names, else that of its base."""
    own = base_license(run)
    base = facts["weights"]
    return own or (
        base_license({"model": base, "model_revision": facts["weights_revision"]}) if is_hub_name(base) else {}
    )


def run_section(run: dict[str, Any], files: list[dict[str, Any]], output: Path) -> str:
    """Return the commands that run the model."""
    best, repo = preferred_file(files), run["output_repo"]
    if repo:
        llama = f"llama-cli -hf {repo}:{best['quantization']}"
        studio = f"lms get https://huggingface.co/{repo}@{best['quantization'].lower()}"
    else:
        llama = f"llama-cli -m {best['name']}"
        studio = f"lms import {best['name']}"
    commands = [ollama_command(run, files, Path()) if not repo else ollama_command(run, files, output), llama, studio]
    names = ("Ollama", "llama.cpp", "LM Studio")
    return "\n\n".join(f"{name}: `{command}`" for name, command in zip(names, commands, strict=True))


def figures_section(facts: dict[str, Any]) -> str:
    """Return the table of what was measured."""
    rows = [
        f"| {file['name']} | {file['bytes'] / 1e9:.3g} GB | {file['bits_per_weight']:.2f} | {100 * file['agreement']:.1f} % "
        f"| {file['kl']:.2g} | {file['same_answers']} of {file['questions']} |"
        for file in facts["files"]
    ]
    head = [
        "| file | size | bits per weight | same likeliest word | KL divergence | same answers |",
        "|---|---|---|---|---|---|",
    ]
    what = f"Compared with the original in {facts['source_type']}; all tokens, the chat template and the end of a text are equal."
    return "\n".join(["## Measured", "", *head, *rows, "", what, *fallback_lines(facts["files"])])


def fallback_lines(files: list[dict[str, Any]]) -> list[str]:
    """Say which files hold tensors in another type than their name says."""
    return [
        f"{file['name']}: {file['fallback_tensors']} tensors have rows that its type cannot hold and are kept wider."
        for file in files
        if file["fallback_tensors"]
    ]


def digests_section(files: list[dict[str, Any]]) -> str:
    """Return the sha256 of each file."""
    return "\n".join(["## sha256", "", "```", *(f"{file['sha256']}  {file['name']}" for file in files), "```"])


def publish_companions(repo: OutputRepo, output: Path, files: list[dict[str, Any]]) -> None:
    """Push what stands beside the files, remove GGUF files that are not of this run, and say so."""
    names = ("README.md", REPORT_NAME, "Modelfile", "params")
    listed = {file["name"] for file in files}
    additions: dict[str, Path | bytes] = {name: output / name for name in names}

    def is_stale(path: str) -> bool:
        return path.endswith(".gguf") and path not in listed

    commit = commit_files(repo.name, additions, is_stale, "Finish conversion")
    report("push", repo=repo.name, commit=commit, url=f"{hub_client().endpoint}/{repo.name}")
