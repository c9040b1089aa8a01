"""The tiny model template, run for real."""

import json
from pathlib import Path

import pytest

from tests.templates.job_runs import JobRuns

pytestmark = [pytest.mark.training, pytest.mark.timeout(60)]


def test_the_tiny_model_is_a_qwen3_with_a_tokenizer_and_a_chat_template(tiny_model: Path) -> None:
    names = {path.name for path in tiny_model.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
    config = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("qwen3", 64, 2)
    assert (tiny_model / "model.safetensors").stat().st_size < 500_000


def test_a_llama_can_be_made_too_and_says_what_it_made(job_runs: JobRuns) -> None:
    job = job_runs.start("tiny_model", {"architecture": "llama", "hidden_size": 32})
    assert job.finish() == 0, job.errors()
    assert [line["kind"] for line in job.lines] == ["start", "end"]
    assert job.lines[1]["output"] == str(job.output)
    config = json.loads((job.output / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["vocab_size"]) == ("llama", job.lines[1]["vocab_size"])
