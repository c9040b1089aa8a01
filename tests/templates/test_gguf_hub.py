"""GGUF files on their way to the Hub: pushed one by one, checked there, and not made twice."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub
from tests.templates.gguf_runs import GgufRuns
from tests.templates.hub_runs import RUN_KEY, impatient
from tests.templates.job_runs import Job

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

OUTPUT = "alice/codes-GGUF"


@pytest.fixture
def hub(tmp_path: Path, tiny_model: Path) -> Iterator[EmulatedHub]:
    """Run a Hub that has a tiny model."""
    with EmulatedHub.start(tmp_path / "hub") as running:
        files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
        files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
        running.add_repo("alice/codes", files)
        yield running


def push(runs: GgufRuns, hub: EmulatedHub, *types: str, **changes: object) -> Job:
    """Convert the model on the Hub as alice, and wait for the end."""
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables |= {"HF_TOKEN": hub.tokens["alice"], "TRL_MCP_RUN_FOLDER": ""}
    wanted = {"run_key": RUN_KEY, "output_repo": OUTPUT, "edit": impatient, "variables": variables} | changes
    job = runs.start("alice/codes", *types, **wanted)
    job.finish()
    return job


def test_each_file_is_pushed_with_a_card_that_names_where_it_came_from(gguf_runs: GgufRuns, hub: EmulatedHub) -> None:
    job = push(gguf_runs, hub, "Q8_0", "F16")
    (end,) = job.of_kind("end")
    assert end["ollama_run"] == f"ollama run hf.co/{OUTPUT}:Q8_0"
    names = {"codes-Q8_0.gguf", "codes-F16.gguf"}
    companions = {"README.md", "Modelfile", "params", "report.json", "trl-mcp.json", "train.py"}
    assert names | companions <= set(hub.list_files(OUTPUT))
    for file in job.of_kind("file"):
        assert hashlib.sha256(hub.read_file(OUTPUT, file["name"])).hexdigest() == file["sha256"]
    card = hub.read_file(OUTPUT, "README.md").decode()
    for line in ("base_model: alice/codes", "base_model_relation: quantized", "license: apache-2.0"):
        assert line in card
    assert list(job.output.parent.rglob("codes-*.gguf")) == [], "what is pushed takes no room here"


def test_a_second_run_makes_only_what_is_not_there_whole(gguf_runs: GgufRuns, hub: EmulatedHub) -> None:
    first = push(gguf_runs, hub, "Q8_0", "F16")
    assert first.of_kind("end")
    whole = hub.read_file(OUTPUT, "codes-F16.gguf")
    HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"]).upload_file(
        path_or_fileobj=whole[:-4096], path_in_repo="codes-F16.gguf", repo_id=OUTPUT
    )
    second = push(gguf_runs, hub, "Q8_0", "F16")
    assert [file["quantization"] for file in second.of_kind("file")] == ["F16"]
    assert hub.read_file(OUTPUT, "codes-F16.gguf") == whole
    third = push(gguf_runs, hub, "Q8_0", "F16")
    assert third.of_kind("file") == []
    assert [file["name"] for file in third.of_kind("end")[0]["files"]] == ["codes-Q8_0.gguf", "codes-F16.gguf"]


def test_an_upload_that_arrives_changed_is_noticed(gguf_runs: GgufRuns, hub: EmulatedHub) -> None:
    def edit(templates: Path) -> None:
        impatient(templates)
        module = templates / "_job" / "gguf_shelf.py"
        text = module.read_text(encoding="utf-8")
        sent = 'facts["name"]: path,'
        assert sent in text
        module.write_text(text.replace(sent, 'facts["name"]: path.read_bytes()[:-4096],'), encoding="utf-8")

    job = push(gguf_runs, hub, "Q8_0", edit=edit)
    assert job.process.returncode == 1
    assert "holds another codes-Q8_0.gguf than was sent" in job.of_kind("error")[-1]["message"]
    assert job.of_kind("file") == []


def test_a_token_that_may_only_read_is_refused_before_anything_is_fetched(
    gguf_runs: GgufRuns, hub: EmulatedHub
) -> None:
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "", "HF_TOKEN": hub.tokens["alice-read"]}
    job = push(gguf_runs, hub, "Q8_0", variables=variables | {"TRL_MCP_RUN_FOLDER": ""})
    (error,) = job.of_kind("error")
    assert error["where"] == "access"
    assert "needs the role write" in error["message"]


def test_what_the_report_says_is_what_the_progress_lines_said(gguf_runs: GgufRuns, hub: EmulatedHub) -> None:
    job = push(gguf_runs, hub, "Q8_0")
    report = json.loads(hub.read_file(OUTPUT, "report.json"))
    (line,) = job.of_kind("file")
    assert report["files"] == [{name: value for name, value in line.items() if name != "kind"}]
    assert (report["weights"], report["run_key"]) == ("alice/codes", RUN_KEY)
