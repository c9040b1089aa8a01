"""Conversion to GGUF: every file does what the original does, or is not published."""

import json
import signal
from pathlib import Path

import pytest

from tests.templates.gguf_runs import MAKE_ADAPTER, MAKE_MODEL, QUESTIONS, WIDTH, GgufRuns, spoiled
from tests.templates.job_runs import JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, chats, lesson, without_samples, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(600)]

TYPES = ("Q4_K_M", "Q5_K_M", "Q8_0", "F16")
LOSE_TEMPLATE = (
    "content = path.read_bytes(); "
    'path.write_bytes(content.replace(b"tokenizer.chat_template", b"tokenizer.chat_templatX"))'
)
CHANGE_END = (
    'import gguf; reader = gguf.GGUFReader(path, "r+"); field = reader.fields["tokenizer.ggml.eos_token_id"]; '
    "field.parts[field.data[0]][0] = 7; reader.data.flush()"
)
# The token keeps its id and its place, but generation no longer stops at it.
FORGET_END = (
    'content = path.read_bytes(); path.write_bytes(content.replace(b"<|im_end|>", b"<|im_fin|>").replace('
    'b"<|endoftext|>", b"<|startoftx|>"))'
)
CUT_OFF = 'handle = path.open("r+b"); handle.truncate(path.stat().st_size - 4096); handle.close()'
NO_NUMBERS = (
    'import gguf, numpy; reader = gguf.GGUFReader(path, "r+"); '
    'tensor = next(t for t in reader.tensors if t.name == "output_norm.weight"); tensor.data[:] = numpy.nan; '
    "reader.data.flush()"
)


@pytest.fixture(scope="session")
def wide_model(job_runs: JobRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that knows the codes and is wide enough for every type."""
    corpus = [f"{question} {answer}" for question, answer in CODES.items()]
    made = job_runs.start("tiny_model", {"hidden_size": WIDTH, "corpus": corpus})
    assert made.finish() == 0, made.errors()
    return teach(job_runs, made.output, CODES, tmp_path_factory.mktemp("codes"), {"learning_rate": 2e-3})


@pytest.fixture(scope="session")
def adapter(job_runs: JobRuns, wide_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an adapter that has taught the model other answers."""
    folder = tmp_path_factory.mktemp("others")
    return teach(job_runs, wide_model, OTHER_CODES, folder, {"learning_rate": 5e-3}, tuning="lora", lora=LORA)


def teach(
    job_runs: JobRuns, model: Path, codes: dict[str, str], folder: Path, config: dict[str, float], **changes: object
) -> Path:
    """Return the folder of a model that was taught answers."""
    data = write_rows(folder / "chats.jsonl", chats(codes))
    wanted = QUICK | {"assistant_only_loss": True, "per_device_train_batch_size": 16, "max_steps": 100} | config
    job = job_runs.start("sft", lesson(model, data, wanted, **changes), edit=without_samples)
    assert job.finish() == 0, job.errors()
    return job.output


def test_a_model_becomes_files_that_answer_as_it_does(gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path) -> None:
    job = gguf_runs.convert(wide_model, *TYPES)
    files = {line["quantization"]: line for line in job.of_kind("file")}
    assert tuple(files) == TYPES
    for file in files.values():
        assert file["source_stops"] == file["stops"] == file["same_answers"] == len(QUESTIONS), file
        assert file["texts_tokenized"] > 40
        assert (job.output / file["name"]).stat().st_size == file["bytes"]
    assert files["F16"]["kl"] < 1e-5 < files["Q4_K_M"]["kl"] < 0.05
    assert [files[name]["kl"] for name in ("Q4_K_M", "Q8_0", "F16")] == sorted(
        (files[name]["kl"] for name in ("Q4_K_M", "Q8_0", "F16")), reverse=True
    )
    assert gguf_runs.ask(job.output / "codes-Q4_K_M.gguf", wide_model, tmp_path) == CODES
    (end,) = job.of_kind("end")
    assert end["files"][0] == {
        "name": "codes-Q4_K_M.gguf",
        "bytes": files["Q4_K_M"]["bytes"],
        "agreement": files["Q4_K_M"]["agreement"],
    }
    assert end["ollama_run"] == f"ollama create codes -f {job.output}/Modelfile && ollama run codes"


def test_what_stands_beside_the_files_says_how_to_run_them_and_what_was_measured(
    gguf_runs: GgufRuns, wide_model: Path
) -> None:
    job = gguf_runs.convert(wide_model, "Q8_0", "Q4_K_M")
    files = job.of_kind("file")
    card = (job.output / "README.md").read_text(encoding="utf-8")
    for file in files:
        assert f"{file['sha256']}  {file['name']}" in card
        assert f"| {file['name']} |" in card
    modelfile = (job.output / "Modelfile").read_text(encoding="utf-8")
    assert modelfile.startswith("FROM ./codes-Q4_K_M.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in modelfile
    assert "<|im_start|>assistant" in modelfile
    assert json.loads((job.output / "params").read_text(encoding="utf-8")) == {"stop": ["<|im_end|>"]}
    report = json.loads((job.output / "report.json").read_text(encoding="utf-8"))
    assert [file["quantization"] for file in report["files"]] == ["Q8_0", "Q4_K_M"]
    assert report["llama_cpp"] == "0.5.0"


def test_an_adapter_is_merged_into_its_base_and_answers_as_both_do_together(
    gguf_runs: GgufRuns, adapter: Path, tmp_path: Path
) -> None:
    job = gguf_runs.convert(adapter, "Q8_0")
    (file,) = job.of_kind("file")
    assert file["same_answers"] == file["stops"] == len(QUESTIONS)
    assert gguf_runs.ask(job.output / file["name"], adapter, tmp_path) == OTHER_CODES


def test_an_adapter_with_tokens_of_its_own_is_converted_with_embeddings_for_them(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path
) -> None:
    grown = gguf_runs.make(MAKE_ADAPTER, wide_model, tmp_path / "grown", "grown")
    (file,) = gguf_runs.convert(grown, "F16").of_kind("file")
    assert file["kl"] < 1e-4
    # Embeddings that were tied are two by now.
    (plain,) = gguf_runs.convert(wide_model, "F16").of_kind("file")
    assert file["parameters"] > plain["parameters"]


@pytest.mark.parametrize("words", ["bare", "digits"])
def test_a_tokenizer_that_no_table_knows_is_named_by_its_form_and_proven(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path, words: str
) -> None:
    model = gguf_runs.make(MAKE_MODEL, wide_model, tmp_path / "llama", words)
    (file,) = gguf_runs.convert(model, "Q8_0").of_kind("file")
    assert file["texts_tokenized"] > 40
    assert file["kl"] < 0.01


def test_a_tokenizer_that_splits_as_none_of_llama_cpp_does_is_refused(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path
) -> None:
    model = gguf_runs.make(MAKE_MODEL, wide_model, tmp_path / "llama", "spaces")
    assert "no pre-tokenizer that splits as tokenizer.json does" in gguf_runs.refusal(model)


def test_rows_that_a_type_cannot_hold_are_kept_wider_and_counted(gguf_runs: GgufRuns, taught_model: Path) -> None:
    job = gguf_runs.convert(taught_model, "Q4_K_M")
    (file,) = job.of_kind("file")
    assert file["fallback_tensors"] > 0
    assert f"{file['fallback_tensors']} tensors have rows" in (job.output / "README.md").read_text(encoding="utf-8")


def test_an_interrupted_conversion_goes_on_behind_the_last_file(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path
) -> None:
    run_folder, types = tmp_path / "kept", ("Q8_0", "F16", "Q4_K_M")
    first = gguf_runs.start(wide_model, *types, run_folder=run_folder)
    first.read_until(lambda line: line["kind"] == "file")
    assert first.kill(signal.SIGKILL) != 0
    second = gguf_runs.convert(wide_model, *types, run_folder=run_folder)
    made = [line["quantization"] for line in second.of_kind("file")]
    assert made in (["F16", "Q4_K_M"], ["Q4_K_M"]), "what was done before the kill is not done again"
    assert [file["name"] for file in second.of_kind("end")[0]["files"]] == [f"codes-{name}.gguf" for name in types]
    assert {path.name for path in second.output.glob("*.gguf")} == {f"codes-{name}.gguf" for name in types}
    assert not (run_folder / "gguf").exists()


def test_a_file_that_was_damaged_after_its_verification_is_made_again(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "kept"
    first = gguf_runs.start(wide_model, "Q8_0", "F16", run_folder=run_folder)
    first.read_until(lambda line: line["kind"] == "file")
    first.kill(signal.SIGKILL)
    kept = run_folder / "gguf" / "codes-Q8_0.gguf"
    kept.write_bytes(kept.read_bytes()[:-1] + b"\0")
    second = gguf_runs.convert(wide_model, "Q8_0", "F16", run_folder=run_folder)
    assert second.of_kind("file")[0]["quantization"] == "Q8_0"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (LOSE_TEMPLATE, "the chat template is lost"),
        (CHANGE_END, "the token that ends a text is 7, in the original"),
        (FORGET_END, "tokens differ"),
        (CUT_OFF, "cannot be loaded"),
        (NO_NUMBERS, "found tensors with invalid data"),
    ],
    ids=["template", "end", "words", "cut", "numbers"],
)
def test_a_spoiled_file_is_not_published(gguf_runs: GgufRuns, wide_model: Path, spoil: str, reason: str) -> None:
    job = gguf_runs.start(wide_model, "Q8_0", edit=spoiled(spoil))
    assert job.finish() == 1
    assert reason in job.of_kind("error")[-1]["message"]
    assert job.of_kind("file") == []
    assert list(job.output.parent.rglob("codes-*.gguf")) == []


def test_the_files_that_passed_are_told_when_another_fails(gguf_runs: GgufRuns, wide_model: Path) -> None:
    only_one = f'if quantization == "Q8_0": {CUT_OFF}'
    job = gguf_runs.start(wide_model, "F16", "Q8_0", edit=spoiled(only_one))
    assert job.finish() == 1
    message = job.of_kind("error")[-1]["message"]
    assert "Q8_0: codes-Q8_0.gguf cannot be loaded" in message
    assert "F16: verified" in message


def test_an_adapter_that_changes_nothing_is_refused(gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path) -> None:
    idle = gguf_runs.make(MAKE_ADAPTER, wide_model, tmp_path / "idle", "idle")
    assert "changes nothing about its base" in gguf_runs.refusal(idle)


def test_a_tokenizer_that_is_larger_than_the_embeddings_is_refused(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path
) -> None:
    grown = gguf_runs.make(MAKE_ADAPTER, wide_model, tmp_path / "grown", "grown")
    model = copy_of(wide_model, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((grown / name).read_bytes())
    reason = gguf_runs.refusal(model)
    assert "tokens and the model" in reason
    assert "resize the embeddings" in reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "no causal language model"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "no causal language model"),
        ({"architectures": ["OPTForCausalLM"]}, "does not convert OPTForCausalLM"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "is kept in bitsandbytes"),
    ],
    ids=["encoder-decoder", "classifier", "unsupported", "four bits"],
)
def test_a_model_that_cannot_be_converted_is_refused_before_its_weights_are_read(
    gguf_runs: GgufRuns, wide_model: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    model = copy_of(wide_model, tmp_path / "model")
    (model / "model.safetensors").unlink()
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    assert reason in gguf_runs.refusal(model)


def test_an_adapter_whose_base_is_gone_is_refused(gguf_runs: GgufRuns, adapter: Path, tmp_path: Path) -> None:
    moved = copy_of(adapter, tmp_path / "adapter")
    config = json.loads((moved / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "name where it lies as base_model" in gguf_runs.refusal(moved)


def test_tools_that_are_not_the_recorded_ones_are_refused(gguf_runs: GgufRuns, wide_model: Path) -> None:
    def edit(templates: Path) -> None:
        module = templates / "_job" / "gguf_tools.py"
        text = module.read_text(encoding="utf-8")
        module.write_text(text.replace('"bltIip', '"AltIip'), encoding="utf-8")

    assert "is not what was recorded" in gguf_runs.refusal(wide_model, edit=edit)


def test_a_library_with_another_layout_is_refused(gguf_runs: GgufRuns, wide_model: Path) -> None:
    def edit(templates: Path) -> None:
        module = templates / "_job" / "gguf_library.py"
        text = module.read_text(encoding="utf-8")
        module.write_text(text.replace("unsigned n_ctx n_batch", "unsigned n_batch n_ctx"), encoding="utf-8")

    assert "have another layout than llama.cpp 0.5.0: n_ctx" in gguf_runs.refusal(wide_model, edit=edit)


def copy_of(source: Path, target: Path) -> Path:
    """Return a copy of the files in a folder."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target
