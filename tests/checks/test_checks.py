"""Each check finds what it is for, says the mend, and leaves what is right alone."""

from dataclasses import replace
from typing import Any

import pytest

from tests.checks.desk import DATA, SHAPE, T4, found, gathered, report
from tests.conftest import FAKE_TOKEN
from trl_mcp.checks.check import Gathered
from trl_mcp.checks.registry import CHECKS, run_checks
from trl_mcp.values import Severity, TokenReport

SHORT = TokenReport(
    p50=100,
    p95=200,
    p99=300,
    longest=400,
    total=9000,
    rows_measured=90,
    truncated_pct=0.0,
    trained_pct=50.0,
    untrained_rows=0,
)
TEACHER = "trainer_args", {"teacher_model": "meta-llama/Meta-Llama-3-8B-Instruct"}


def trainer_args(**values: Any) -> Gathered:
    return gathered(asked={"trainer_args": values})


def distilled(student: str, licence: str) -> Gathered:
    teacher = report("meta-llama/Meta-Llama-3-8B-Instruct", licence="llama3")
    asked = {"method": "distillation", TEACHER[0]: TEACHER[1]}
    return gathered(model=report(student, licence=licence), asked=asked, others={teacher.name: teacher})


def judged(rewards: tuple[str, ...] = ("judge:a/b",), **facts: Any) -> Gathered:
    return gathered(asked={"method": "grpo", "rewards": rewards}, **facts)


FIRES: dict[str, tuple[Gathered, str]] = {
    "model.exists": (gathered(model=report(files=("model-q4.gguf", "config.json"))), "only GGUF files"),
    "model.trainable": (gathered(asked={"tuning": "full"}, shape=replace(SHAPE, quantization="gptq")), "gptq"),
    "model.encoder": (gathered(shape=replace(SHAPE, encoder=True, model_type="bert")), "method reward"),
    "lora.experts": (
        gathered(asked={"trainer_args": {"lora_dropout": 0.05}}, shape=replace(SHAPE, experts=8)),
        "lora_dropout is 0.05",
    ),
    "model.context": (gathered(asked={"max_length": 9000}, shape=replace(SHAPE, context=8192)), "max_length=8192"),
    "model.base": (gathered(model=report("Qwen/Qwen3-0.6B-Base"), asked={"method": "dpo"}), 'method="sft"'),
    "model.licence": (gathered(model=report(licence="cc-by-nc-nd-4.0"), is_published=True), "private=true"),
    "gguf.later": (gathered(config={"architectures": ["OPTForCausalLM"]}), "does not convert OPTForCausalLM"),
    "lora.lr": (gathered(asked={"learning_rate": 2e-5}), "10 times below the usual 0.0002"),
    "lr.range": (gathered(asked={"tuning": "full", "learning_rate": 2e-4}), "10 times above the usual 2e-05"),
    "lora.save_embeddings": (trainer_args(chat_template_path="Qwen/Qwen3-0.6B"), "Nothing needs doing"),
    "save.interval": (trainer_args(save_steps=500), "the run has 189 steps"),
    "pack.attn": (trainer_args(packing=True, packing_strategy="wrapped"), "bfd_split"),
    "pack.mask": (trainer_args(packing=True), "attn_implementation=kernels-community/flash-attn2"),
    "hw.kernels": (replace(trainer_args(attn_implementation="flash_attention_2"), flavor=T4), "T4 of t4-small"),
    "hw.bf16": (replace(trainer_args(bf16=True), flavor=T4), "T4 only emulates"),
    "hw.use_cpu": (replace(trainer_args(use_cpu=True), flavor=T4), "idle"),
    "job.timeout": (gathered(timeout_s=3600, expected_s=(1800, 5000)), 'timeout="109m"'),
    "job.margin": (gathered(timeout_s=5400, expected_s=(1800, 5000)), 'timeout="109m"'),
    "job.secret": (gathered(asked={"system_prompt": f"The key is {FAKE_TOKEN}."}), "system_prompt"),
    "reward.judge_cost": (judged(), "about 8,000 calls in all (125 steps of 64 answers)"),
}


def test_every_check_is_fired_here() -> None:
    assert list(FIRES) == [check.code for check in CHECKS]


@pytest.mark.parametrize("code", FIRES)
def test_a_check_says_what_is_wrong_and_the_mend(code: str) -> None:
    facts, words = FIRES[code]
    finding = found(facts)[code]
    assert words in f"{finding.message} {finding.fix}"
    assert finding.fix
    assert [check.severity for check in CHECKS if check.code == code] == [finding.severity]


def test_a_training_that_is_right_has_no_finding() -> None:
    assert found(gathered(timeout_s=7200, expected_s=(1800, 5000), flavor=T4)) == {}


QUIET: dict[str, list[Gathered]] = {
    "model.exists": [gathered(model=report(files=("adapter_model.bin",))), gathered(model=report(files=()))],
    "model.trainable": [
        gathered(asked={"tuning": "qlora"}, shape=replace(SHAPE, quantization="nf4")),
        gathered(asked={"tuning": "lora"}, shape=replace(SHAPE, quantization="mxfp4")),
        gathered(asked={"tuning": "full"}),
    ],
    "model.encoder": [gathered(), gathered(asked={"method": "reward"}, shape=replace(SHAPE, encoder=True))],
    "lora.experts": [
        gathered(shape=replace(SHAPE, experts=8)),
        gathered(asked={"trainer_args": {"lora_dropout": 0.05}}),
        gathered(asked={"trainer_args": {"lora_dropout": 0.05}}, shape=replace(SHAPE, experts=8, model_type="gpt_oss")),
        gathered(
            asked={"trainer_args": {"lora_dropout": 0.05, "lora_target_modules": ["q_proj", "v_proj"]}},
            shape=replace(SHAPE, experts=8),
        ),
    ],
    "model.context": [
        gathered(asked={"max_length": 9000}),
        gathered(asked={"max_length": 8192}, shape=replace(SHAPE, context=8192)),
        gathered(asked={"max_length": 9000}, shape=replace(SHAPE, context=8192), data=replace(DATA, tokens=SHORT)),
    ],
    "model.base": [
        gathered(asked={"method": "dpo"}),
        gathered(model=report("Qwen/Qwen3-0.6B-Base"), asked={"method": "orpo"}),
        gathered(model=report("me/Qwen3-0.6B-Base-sft"), asked={"method": "dpo"}),
        gathered(model=report("me/x-base"), asked={"method": "dpo", "made_by": {"me/x-base": "0123456789ab"}}),
    ],
    "model.licence": [
        gathered(model=report(licence="cc-by-nd-4.0")),
        gathered(model=report(licence="cc-by-4.0"), is_published=True),
        distilled("meta-llama/Meta-Llama-3-8B", "llama3"),
    ],
    "gguf.later": [
        gathered(),
        gathered(config={"model_type": "qwen3"}),
        gathered(config={"architectures": ["Qwen3ForCausalLM"], "quantization_config": {"quant_method": "nf4"}}),
        gathered(config={"architectures": ["OPTForCausalLM"]}, asked={"method": "reward"}),
        gathered(config={"architectures": ["BertModel"]}, shape=replace(SHAPE, encoder=True)),
    ],
    "lora.lr": [gathered(asked={"learning_rate": 5e-5}), gathered(asked={"tuning": "full"})],
    "lr.range": [gathered(asked={"tuning": "full", "learning_rate": 1e-4})],
    "lora.save_embeddings": [gathered(asked={"tuning": "full", "trainer_args": {"chat_template_path": "a/b"}})],
    "save.interval": [
        trainer_args(save_steps=100),
        trainer_args(save_steps=0.2),
        trainer_args(save_steps=500, max_steps=1000),
        gathered(asked={"trainer_args": {"save_steps": 500}}, data=replace(DATA, complete=False, rows_total=None)),
    ],
    "pack.attn": [trainer_args(packing=True)],
    "hw.bf16": [trainer_args(bf16=True), replace(trainer_args(bf16=True), flavor=replace(T4, accelerator="A10G"))],
    "hw.use_cpu": [trainer_args(use_cpu=True), replace(trainer_args(use_cpu=True), flavor=replace(T4, gpu_count=0))],
    "job.timeout": [
        gathered(timeout_s=5400, expected_s=(1800, 5000)),
        gathered(expected_s=(1, 9)),
        gathered(timeout_s=1),
    ],
    "job.margin": [
        gathered(timeout_s=3600, expected_s=(1800, 5000)),
        gathered(timeout_s=6500, expected_s=(1800, 5000)),
    ],
    "job.secret": [gathered(asked={"system_prompt": "hf_short is no key."})],
    "reward.judge_cost": [gathered(), judged(("a/reward-model",))],
}


def test_each_judge_is_paid_for_each_answer() -> None:
    two = found(judged(("judge:a/b", "judge:a/c:0.5")))["reward.judge_cost"].message
    assert "judge:a/b and judge:a/c are each asked" in two
    assert "about 16,000 calls" in two
    again = gathered(
        asked={"method": "grpo", "rewards": ("judge:a/b",), "trainer_args": {"num_iterations": 4, "max_steps": 10}}
    )
    assert "about 160 calls" in found(again)["reward.judge_cost"].message
    unknown = judged(data=replace(DATA, complete=False, rows_total=None))
    assert "calls in all" not in found(unknown)["reward.judge_cost"].message


@pytest.mark.parametrize("code", QUIET)
def test_a_check_leaves_what_is_right_alone(code: str) -> None:
    assert [code in found(facts) for facts in QUIET[code]] == [False] * len(QUIET[code])


@pytest.mark.parametrize(
    ("student", "licence", "is_forbidden"), [("a/student", "mit", True), ("a/llama", "llama3", False)]
)
def test_a_licence_may_keep_a_teacher_to_its_own_family(student: str, licence: str, *, is_forbidden: bool) -> None:
    assert ("model.licence" in found(distilled(student, licence))) == is_forbidden


def test_a_model_for_mlx_is_named_with_the_one_it_was_made_from() -> None:
    model = report("mlx-community/Qwen3-0.6B-4bit", library="mlx", base_model="Qwen/Qwen3-0.6B")
    assert "Qwen/Qwen3-0.6B," in found(gathered(model=model))["model.trainable"].fix


def test_findings_come_all_at_once_and_errors_first() -> None:
    facts = gathered(asked={"learning_rate": 1e-9, "trainer_args": {"save_strategy": "no", "bf16": True}}, flavor=T4)
    severities = [finding.severity for finding in run_checks(replace(facts, timeout_s=60, expected_s=(100, 200)))]
    assert severities == [Severity.ERROR, Severity.ERROR, Severity.WARNING, Severity.WARNING]
