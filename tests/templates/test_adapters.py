"""Adapters that are trained further, as the same adapter, and models that no method can train."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import EmulatedHub
from tests.templates.hub_runs import HubRuns
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import (
    CODES,
    LORA,
    OTHER_CODES,
    QUICK,
    chats,
    goes_on,
    judged,
    lesson,
    pairs,
    without_samples,
    write_rows,
)

pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]

SMALL = LORA | {"r": 8}


def adapted(model: Path | str, dataset: Path, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the changes that train an adapter."""
    return lesson(model, dataset, QUICK | config, tuning="lora", lora=changes.pop("lora", SMALL), **changes)


def finished(job: Job) -> Job:
    """Return the job once it has ended well."""
    assert job.finish() == 0, job.errors()
    return job


def adapter_config(job: Job) -> dict[str, Any]:
    """Return the config of the adapter that a job saved."""
    return json.loads((job.output / "adapter_config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def first(job_runs: JobRuns, taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a finished run that taught an adapter the other wording."""
    data = write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", chats(OTHER_CODES))
    config = {"max_steps": 80, "learning_rate": 1e-2, "assistant_only_loss": True}
    return finished(job_runs.start("sft", adapted(taught_model, data, config)))


def test_an_adapter_goes_on_as_the_same_adapter(job_runs: JobRuns, first: Job, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES))
    config = {"max_steps": 80, "learning_rate": 1e-2, "assistant_only_loss": True}
    job = finished(job_runs.start("sft", adapted(first.output, data, config, lora=LORA | {"r": 4}, merge=True)))
    before = {sample["prompt"]: sample["before"] for sample in job.of_kind("sample")}
    assert before == {sample["prompt"]: sample["after"] for sample in first.of_kind("sample")}
    assert sum(sample["after"] == sample["expected"] for sample in job.of_kind("sample")) >= 9
    assert adapter_config(job)["r"] == 8
    assert adapter_config(job)["base_model_name_or_path"] == adapter_config(first)["base_model_name_or_path"]
    assert (job.output / "merged" / "model.safetensors").is_file()


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo", "cpo"])
def test_preferences_are_taught_to_an_adapter_with_itself_as_the_reference(
    job_runs: JobRuns, first: Job, tmp_path: Path, method: str
) -> None:
    rows = judged(CODES, OTHER_CODES) if method == "kto" else pairs(CODES, OTHER_CODES)
    data = write_rows(tmp_path / "rows.jsonl", rows)
    recipe = adapted(first.output, data, {"max_steps": 30, "learning_rate": 2e-3})
    job = finished(job_runs.start(method, recipe, edit=without_samples))
    margins = [line["rewards/margins"] for line in job.of_kind("log") if "rewards/margins" in line]
    assert margins[-1] > margins[0] + 0.1
    if method in ("dpo", "kto"):
        assert margins[0] == pytest.approx(0, abs=1e-3), "the reference is the adapter as it was"
    assert not (job.output / "ref").exists()


def test_a_killed_run_on_an_adapter_goes_on_with_equal_losses(job_runs: JobRuns, first: Job, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(CODES, OTHER_CODES))
    recipe = adapted(first.output, data, {"max_steps": 30, "learning_rate": 2e-3, "save_steps": 5})
    unbroken = finished(job_runs.start("dpo", recipe, edit=without_samples))
    killed = job_runs.start("dpo", recipe, tmp_path / "run", without_samples)
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 10)
    killed.kill(signal.SIGKILL)
    resumed = finished(job_runs.start("dpo", recipe, tmp_path / "run", without_samples))
    reached = resumed.of_kind("start")[1]["resume_step"]
    assert reached >= 10
    assert goes_on(resumed.losses(), unbroken.losses(), reached)


@pytest.fixture
def hub_runs(job_runs: JobRuns, tmp_path: Path) -> Iterator[HubRuns]:
    """Run a Hub."""
    with EmulatedHub.start(tmp_path / "hub") as hub:
        yield HubRuns(job_runs, hub)


def folder_files(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_adapter_on_the_hub_finds_its_base_there_at_its_revision(
    hub_runs: HubRuns, taught_model: Path, first: Job, tmp_path: Path
) -> None:
    revision = hub_runs.hub.add_repo("alice/base", folder_files(taught_model), private=True)
    hub_runs.hub.commit_files("alice/base", {"config.json": "{}"})
    config = adapter_config(first) | {"base_model_name_or_path": "alice/base", "revision": revision}
    files = folder_files(first.output) | {"adapter_config.json": json.dumps(config).encode()}
    hub_runs.hub.add_repo("alice/adapter", files, private=True)
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES))
    recipe = adapted("alice/adapter", data, {"max_steps": 2, "learning_rate": 1e-4}, output_repo=None)
    job = finished(hub_runs.runs.start("sft", recipe, variables=hub_runs.client_variables() | hub_runs.token()))
    before = {sample["prompt"]: sample["before"] for sample in job.of_kind("sample")}
    assert before == {sample["prompt"]: sample["after"] for sample in first.of_kind("sample")}
    assert adapter_config(job)["revision"] == revision


def refusal(job: Job) -> str:
    """Return why a job ended at once."""
    assert job.finish() == 1
    assert job.lines[-1]["kind"] == "error"
    return job.lines[-1]["message"]


def test_an_adapter_is_no_model_for_full_tuning(job_runs: JobRuns, first: Job, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES), copies=1)
    message = refusal(job_runs.start("sft", lesson(first.output, data, QUICK)))
    assert "is an adapter, which full fine-tuning cannot train: take tuning lora" in message


def test_an_adapter_without_its_base_names_it(job_runs: JobRuns, first: Job, tmp_path: Path) -> None:
    adapter = shutil.copytree(first.output, tmp_path / "adapter")
    config = adapter_config(first) | {"base_model_name_or_path": "/models/gone"}
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES), copies=1)
    message = refusal(job_runs.start("sft", adapted(adapter, data, {})))
    assert message == f"the base of the adapter {adapter} is not on this machine: /models/gone"


@pytest.mark.parametrize("method", ["sft", "reward"])
def test_a_sequence_to_sequence_model_is_refused_plainly(job_runs: JobRuns, tmp_path: Path, method: str) -> None:
    model = tmp_path / "t5"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}', encoding="utf-8")
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES), copies=1)
    message = refusal(job_runs.start(method, lesson(model, data, QUICK)))
    assert "(t5) is a sequence-to-sequence model, for which TRL has no trainer" in message


def with_more_tokens(model: Path, folder: Path) -> Path:
    """Copy a model's tokenizer and give it tokens that the model has no embeddings for."""
    copy = shutil.copytree(model, folder)
    tokenizer = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))
    entries = tokenizer["added_tokens"]
    count = len(tokenizer["model"]["vocab"])
    entries += [entries[0] | {"id": count + place, "content": f"<|extra_{place}|>"} for place in range(70)]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return copy


def without_template(model: Path, folder: Path) -> Path:
    """Copy a model as base models come: without a chat template, and with another token at the end of texts."""
    copy = shutil.copytree(model, folder)
    (copy / "chat_template.jinja").unlink()
    settings = json.loads((copy / "tokenizer_config.json").read_text(encoding="utf-8"))
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "<|endoftext|>"}), encoding="utf-8")
    return copy


def test_an_adapter_of_a_base_model_takes_the_template_of_its_family_and_goes_on(
    job_runs: JobRuns, taught_model: Path, tmp_path: Path
) -> None:
    base = without_template(taught_model, tmp_path / "base")
    data = write_rows(tmp_path / "chats.jsonl", chats(OTHER_CODES))
    config = {"max_steps": 80, "learning_rate": 1e-2, "chat_template_path": str(taught_model)}
    one = finished(job_runs.start("sft", adapted(base, data, config, merge=True)))
    assert sum(sample["after"] == sample["expected"] for sample in one.of_kind("sample")) >= 9
    settings = json.loads((one.output / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token"] == "<|im_end|>"
    assert adapter_config(one)["modules_to_save"] is None, "no token is new: there is nothing but the adapter to save"
    two = finished(job_runs.start("sft", adapted(one.output, data, {"max_steps": 1, "learning_rate": 1e-6})))
    before = {sample["prompt"]: sample["before"] for sample in two.of_kind("sample")}
    assert before == {sample["prompt"]: sample["after"] for sample in one.of_kind("sample")}


UNTIE = """
    import json, sys
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
    model.config.tie_word_embeddings = False
    model.lm_head.weight = type(model.lm_head.weight)(model.lm_head.weight.clone())
    model.save_pretrained(sys.argv[2])
    AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
    print(json.dumps("done"))
"""


def test_an_adapter_with_tokens_of_its_own_is_merged_and_goes_on(
    job_runs: JobRuns, taught_model: Path, tmp_path: Path
) -> None:
    model, template = tmp_path / "untied", with_more_tokens(taught_model, tmp_path / "instruct")
    job_runs.program(UNTIE, tmp_path, str(taught_model), str(model))
    data = write_rows(tmp_path / "chats.jsonl", chats(OTHER_CODES))
    config = {"max_steps": 40, "learning_rate": 1e-2, "chat_template_path": str(template)}
    one = finished(job_runs.start("sft", adapted(model, data, config, merge=True)))
    assert "lm_head" in adapter_config(one)["modules_to_save"]
    assert (one.output / "merged" / "model.safetensors").is_file()
    two = finished(job_runs.start("sft", adapted(one.output, data, {"max_steps": 1, "learning_rate": 1e-6})))
    before = {sample["prompt"]: sample["before"] for sample in two.of_kind("sample")}
    assert before == {sample["prompt"]: sample["after"] for sample in one.of_kind("sample")}


def test_a_template_with_new_tokens_is_learned_by_the_whole_model_alone(
    job_runs: JobRuns, taught_model: Path, tmp_path: Path
) -> None:
    template = with_more_tokens(taught_model, tmp_path / "instruct")
    data = write_rows(tmp_path / "chats.jsonl", chats(OTHER_CODES))
    config = {"max_steps": 2, "chat_template_path": str(template)}
    message = refusal(job_runs.start("sft", adapted(taught_model, data, config)))
    assert "instruct needs 70 tokens" in message
    assert "take tuning full" in message
    job = finished(job_runs.start("sft", lesson(taught_model, data, QUICK | config)))
    saved = json.loads((job.output / "config.json").read_text(encoding="utf-8"))
    grown = json.loads((taught_model / "config.json").read_text(encoding="utf-8"))["vocab_size"] + 70
    assert saved["vocab_size"] >= grown
