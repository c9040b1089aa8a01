"""Tunings: which weights are trained, in which numbers, and what is saved of them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.templates.job_modules import load_shared
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import (
    CODES,
    LORA,
    OTHER_CODES,
    QUICK,
    chats,
    judged,
    lesson,
    pairs,
    without_samples,
    write_rows,
)

device = load_shared("device")
models = load_shared("models")

BITSANDBYTES = "bitsandbytes==0.50.2"
A100 = device.TrainingDevice("cuda", "NVIDIA A100", "bfloat16")
T4 = device.TrainingDevice("cuda", "Tesla T4", "float16")
MPS = device.TrainingDevice("mps", "mps", None)
CPU = device.TrainingDevice("cpu", "cpu", None)
ANSWERS = """
    import json, sys
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    folder, base, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(base or folder, dtype="auto")
    if base:
        model = PeftModel.from_pretrained(model, folder)
    answers = []
    for question in questions:
        turns = [{"role": "user", "content": question}]
        tokens = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(**tokens, max_new_tokens=20, do_sample=False)
        answers.append(tokenizer.decode(output[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True))
    print(json.dumps({"dtype": str(model.dtype), "answers": answers}))
"""
training = pytest.mark.training
slow = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of conversations in another wording than the model knows."""
    return write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", chats(OTHER_CODES))


def run_tuned(job_runs: JobRuns, model: Path, data: Path, tuning: str, lora: dict[str, Any], **changes: Any) -> Job:
    """Return a finished run of supervised fine-tuning."""
    steps = {"max_steps": 80, "learning_rate": 1e-2, "assistant_only_loss": True}
    variables = changes.pop("variables", None)
    recipe = lesson(model, data, QUICK | steps, tuning=tuning, lora=lora, **changes)
    job = job_runs.start("sft", recipe, variables=variables)
    assert job.finish() == 0, job.errors()
    return job


def assert_learned(job: Job) -> None:
    """See that the model gives the new answers, having given the old ones."""
    assert job.losses()[80] < job.losses()[1] / 3
    samples = job.of_kind("sample")
    assert {sample["prompt"]: sample["before"] for sample in samples} == CODES
    assert sum(sample["after"] == sample["expected"] for sample in samples) >= 9


@training
@slow
@pytest.mark.parametrize("variant", [{"use_dora": True}, {"use_rslora": True, "r": 4}, {"target_modules": ["q_proj"]}])
def test_every_field_of_the_adapter_reaches_it(
    job_runs: JobRuns, taught_model: Path, data: Path, variant: dict[str, Any]
) -> None:
    job = run_tuned(job_runs, taught_model, data, "lora", LORA | variant)
    saved = json.loads((job.output / "adapter_config.json").read_text(encoding="utf-8"))
    assert {name: saved[name] for name in variant} == variant
    assert job.losses()[80] < job.losses()[1] / 2
    if "target_modules" not in variant:
        assert_learned(job)


@training
@slow
def test_an_adapter_takes_all_linear_layers_but_the_last_and_names_its_base(
    job_runs: JobRuns, taught_model: Path, data: Path
) -> None:
    job = run_tuned(job_runs, taught_model, data, "lora", {"r": 8, "lora_alpha": 16})
    saved = json.loads((job.output / "adapter_config.json").read_text(encoding="utf-8"))
    layers = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in saved["target_modules"]} == layers
    assert (saved["task_type"], saved["base_model_name_or_path"]) == ("CAUSAL_LM", str(taught_model))


@training
@slow
def test_a_merged_model_stands_alone_and_answers_as_the_adapter_does(
    job_runs: JobRuns, taught_model: Path, data: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    job_runs.program(TO_BFLOAT16, tmp_path, str(taught_model), str(half))
    job = run_tuned(job_runs, half, data, "lora", LORA, merge=True)
    questions = json.dumps(list(CODES))
    merged = job_runs.program(ANSWERS, tmp_path, str(job.output / "merged"), "", questions)
    adapted = job_runs.program(ANSWERS, tmp_path, str(job.output), str(half), questions)
    assert merged["dtype"] == "torch.bfloat16"
    assert merged["answers"] == adapted["answers"]
    right = [said == wanted for said, wanted in zip(merged["answers"], OTHER_CODES.values(), strict=True)]
    assert right.count(True) >= 9
    assert not list((job.output / "merged").glob("adapter*"))
    assert (job.output / "adapter_model.safetensors").is_file()


TO_BFLOAT16 = """
    import json, sys
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16).save_pretrained(sys.argv[2])
    AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
    print(json.dumps("done"))
"""


@pytest.fixture(scope="module")
def four_bit_packages(tmp_path_factory: pytest.TempPathFactory, training_python: str) -> dict[str, str]:
    """Return the variables that add the package for weights in 4 bits, which also runs on a CPU, to an environment."""
    folder = tmp_path_factory.mktemp("packages")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, "--python", training_python, BITSANDBYTES], check=True)
    return {"PYTHONPATH": str(folder)}


@training
@slow
def test_an_adapter_is_trained_on_weights_in_4_bits(
    job_runs: JobRuns, taught_model: Path, data: Path, four_bit_packages: dict[str, str]
) -> None:
    job = run_tuned(job_runs, taught_model, data, "qlora", LORA, variables=four_bit_packages, merge=True)
    assert_learned(job)
    saved = json.loads((job.output / "merged" / "config.json").read_text(encoding="utf-8"))
    assert saved["dtype"] == "float32"
    assert "quantization_config" not in saved


@training
@slow
@pytest.mark.parametrize("method", ["dpo", "orpo", "cpo", "kto", "reward"])
def test_every_method_takes_weights_in_4_bits(
    job_runs: JobRuns, taught_model: Path, tmp_path: Path, four_bit_packages: dict[str, str], method: str
) -> None:
    rows = judged(OTHER_CODES, CODES) if method == "kto" else pairs(OTHER_CODES, CODES)
    lora = LORA | {"task_type": "SEQ_CLS" if method == "reward" else "CAUSAL_LM"}
    config = QUICK | {"max_steps": 30, "learning_rate": 5e-3}
    recipe = lesson(taught_model, write_rows(tmp_path / "rows.jsonl", rows), config, tuning="qlora", lora=lora)
    job = job_runs.start(method, recipe, edit=without_samples, variables=four_bit_packages)
    assert job.finish() == 0, job.errors()
    assert job.losses()[30] < job.losses()[1] * 0.8


def test_4_bits_need_bfloat16() -> None:
    for poor in (T4, MPS):
        with pytest.raises(SystemExit, match=f"{poor.name} does not: take tuning lora"):
            models.four_bits(poor)


@pytest.mark.parametrize(
    ("where", "tuning", "config", "expected"),
    [
        (A100, "lora", {}, {"bf16": True, "fp16": False}),
        (A100, "full", {"fp16": True}, {"bf16": False}),
        (T4, "lora", {}, {"bf16": False, "fp16": True}),
        (T4, "lora", {"bf16": True}, {"fp16": False}),
        (MPS, "lora", {}, {"bf16": False, "fp16": False}),
        (CPU, "full", {}, {"bf16": False, "fp16": False, "use_cpu": True, "activation_checkpointing": False}),
        (CPU, "qlora", {"gradient_checkpointing": True}, {"bf16": True, "fp16": False, "use_cpu": True}),
    ],
)
def test_numbers_are_those_that_the_device_computes_with(
    where: Any, tuning: str, config: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert device.device_arguments(where, config, tuning) == expected


@pytest.mark.parametrize(
    ("where", "tuning", "dtype"),
    [(A100, "full", "bfloat16"), (T4, "lora", "float16"), (T4, "full", "float32"), (CPU, "full", "float32")],
)
def test_weights_are_loaded_in_what_can_be_trained(where: Any, tuning: str, dtype: str) -> None:
    run: dict[str, Any] = {"config": {}, "tuning": tuning, "model_revision": None}
    assert models.loading_arguments(run, where)["dtype"] == dtype


def test_several_processes_each_load_the_whole_model() -> None:
    two = device.TrainingDevice("cuda", "NVIDIA A100", "bfloat16", processes=2)
    run: dict[str, Any] = {"config": {}, "tuning": "full", "model_revision": "abc"}
    assert models.loading_arguments(run, two) == {"dtype": "bfloat16", "revision": "abc", "device_map": None}
    assert "device_map" not in models.loading_arguments(run, A100)


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"attn_implementation": "sdpa", "use_cache": False}, {"attn_implementation": "sdpa", "use_cache": False}),
        ({"attn_implementation": "flash_attention_2", "use_kernels": True}, {}),
        ({"attn_implementation": "kernels-community/flash-attn2"}, {}),
        ({"attn_implementation": "flex_attention"}, {}),
    ],
)
def test_fused_kernels_are_left_out_on_a_cpu_and_that_is_said(
    wanted: dict[str, Any], left: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert device.usable_kernels(wanted, CPU) == left
    lines = [json.loads(line.split(" ", 2)[2]) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["warning"] * (len(wanted) - len(left))


def test_a_kernel_whose_package_is_there_stays_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {"flash_attn": "found"}.get)
    assert device.has_attention("flash_attention_2", A100)
    assert not device.has_attention("flash_attention_3", A100)
    assert not device.has_attention("kernels-community/flash-attn2", A100)
