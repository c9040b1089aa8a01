"""Every check fires through submit_training where it should, says its mend, and is accepted only where one may."""

import json
from typing import Any

import pytest

from tests.conftest import FAKE_TOKEN
from tests.estimate.stored_models import stored_files
from tests.hub import EmulatedHub
from tests.paid.desk import MODEL_FILES, PaidDesk
from trl_mcp.checks.registry import CHECKS
from trl_mcp.values import Severity

pytestmark = pytest.mark.anyio
PAIRS = "".join(f"{json.dumps({'prompt': f'{n}?', 'chosen': f'yes {n}', 'rejected': f'no {n}'})}\n" for n in range(30))
LICENCE = "---\nlicense: cc-by-nd-4.0\n---\n"
STORED: dict[str, Any] = {"model": "alice/qwen3-0.6b", "hardware": "t4-small"}
FIRES: dict[str, dict[str, Any]] = {
    "model.exists": {"model": "alice/gguf"},
    "model.trainable": {"model": "alice/few-bits", "tuning": "full", "hardware": "l4x1", "timeout": "1h"},
    "model.encoder": {"model": "alice/encoder", "hardware": "l4x1", "timeout": "1h"},
    "lora.experts": {
        "model": "alice/experts",
        "trainer_args": ["lora_dropout=0.1"],
        "hardware": "l4x1",
        "timeout": "1h",
    },
    "model.context": STORED | {"max_length": 50_000, "hardware": "l4x1", "timeout": "9h"},
    "model.base": {"method": "dpo", "dataset": "alice/pairs"},
    "model.licence": {"model": "alice/no-derivatives", "private": False},
    "gguf.later": STORED | {"model": "alice/unconvertible"},
    "lora.lr": {"learning_rate": 2e-5},
    "lr.range": {"learning_rate": 2e-4, "tuning": "full"},
    "lora.save_embeddings": {"trainer_args": ["chat_template_path=alice/chat"]},
    "save.interval": {"trainer_args": ["save_steps=500"]},
    "pack.attn": {"trainer_args": ["packing=true", "packing_strategy=wrapped"]},
    "pack.mask": {"trainer_args": ["packing=true"]},
    "hw.kernels": STORED | {"trainer_args": ["attn_implementation=kernels-community/flash-attn2"], "timeout": "9h"},
    "hw.bf16": STORED | {"trainer_args": ["bf16=true"]},
    "hw.use_cpu": STORED | {"trainer_args": ["use_cpu=true"]},
    "job.timeout": STORED | {"timeout": "2m"},
    "job.margin": STORED | {"timeout": "a little above what nine in ten take"},
    "job.secret": {"system_prompt": f"The key is {FAKE_TOKEN}."},
    "reward.judge_cost": {"method": "grpo", "rewards": ["judge:acme/judge"]},
}


@pytest.fixture(autouse=True)
def repositories(hub: EmulatedHub) -> None:
    stored = dict(stored_files("qwen3-0.6b"))
    few_bits = json.loads(stored["config.json"]) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    hub.add_repo("alice/qwen3-0.6b", stored)
    hub.add_repo("alice/few-bits", stored | {"config.json": json.dumps(few_bits)})
    encoder = json.loads(stored["config.json"]) | {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    hub.add_repo("alice/encoder", stored | {"config.json": json.dumps(encoder)})
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 512, "model_type": "qwen3_moe"}
    hub.add_repo("alice/experts", stored | {"config.json": json.dumps(json.loads(stored["config.json"]) | experts)})
    unknown = json.loads(stored["config.json"]) | {"architectures": ["OPTForCausalLM"]}
    hub.add_repo("alice/unconvertible", stored | {"config.json": json.dumps(unknown)})
    hub.add_repo("alice/gguf", {"config.json": '{"model_type": "qwen3"}', "model-Q4_K_M.gguf": "GGUF"})
    hub.add_repo("alice/no-derivatives", MODEL_FILES | {"README.md": LICENCE})
    hub.serve_model("acme/judge", lambda _: '{"score": 1}')
    hub.add_repo("alice/chat", MODEL_FILES | {"chat_template.jinja": "{{ messages }}"})
    hub.add_repo("alice/pairs", {"train.jsonl": PAIRS}, repo_type="dataset")


async def arguments(desk: PaidDesk, code: str) -> dict[str, Any]:
    given = dict(FIRES[code])
    if code == "job.margin":
        plan = await desk.submit(**given | {"timeout": "9h"})
        given["timeout"] = f"{plan.result['hours_high'] * 3600 * 1.1 + 40:.0f}s"
    return given


def test_every_check_is_fired_here() -> None:
    assert list(FIRES) == [check.code for check in CHECKS]


async def test_a_training_that_is_right_has_no_finding(desk: PaidDesk) -> None:
    plan = await desk.submit()
    assert (plan.result["status"], plan.result.get("findings", [])) == ("planned", [])
    stored = await desk.submit(**STORED, timeout="9h")
    assert [finding["code"] for finding in stored.result.get("findings", [])] == []


@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each.severity is Severity.ERROR], ids=lambda each: each.code
)
async def test_an_error_refuses_with_its_mend_and_is_accepted_only_where_one_may(desk: PaidDesk, check: Any) -> None:
    given = await arguments(desk, check.code)
    answer = await desk.refused(check.code, "Nothing was started.", **given)
    (finding,) = [each for each in answer.result["findings"] if each["code"] == check.code]
    assert (finding["severity"], bool(finding["fix"])) == ("error", True)
    codes = [each["code"] for each in answer.result["findings"] if each["severity"] == "error"]
    accepted = await desk.submit(**given, accept=codes, dry_run=True)
    if check.code == "job.secret":
        desk.check_refusal(accepted, "job.secret cannot be accepted")
        return
    assert f"accept={json.dumps(codes)}" in answer.result["next_call"]
    assert accepted.result["status"] == "planned", accepted.text
    (warning,) = [each for each in accepted.result["findings"] if each["code"] == check.code]
    assert (warning["severity"], warning["message"]) == ("warning", f"Accepted: {finding['message']}")


@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each.severity is Severity.WARNING], ids=lambda each: each.code
)
async def test_a_warning_is_said_and_does_not_refuse(desk: PaidDesk, check: Any) -> None:
    answer = await desk.submit(**await arguments(desk, check.code))
    assert answer.result["status"] == "planned", answer.text
    assert [each["severity"] for each in answer.result["findings"] if each["code"] == check.code] == ["warning"]


async def test_an_info_is_counted(desk: PaidDesk) -> None:
    without, with_info = await desk.submit(), await desk.submit(**FIRES["lora.save_embeddings"])
    assert with_info.result["infos"] > without.result["infos"]


async def test_all_that_is_wrong_is_said_at_once_errors_first(desk: PaidDesk) -> None:
    answer = await desk.refused(**FIRES["model.exists"], **FIRES["job.secret"], **FIRES["lora.lr"])
    found = [(each["severity"], each["code"]) for each in answer.result["findings"]]
    assert found[:2] == [("error", "model.exists"), ("error", "job.secret")]
    assert sorted(found[2:]) == [("warning", "data.secret"), ("warning", "lora.lr")]


async def test_a_code_that_is_no_check_is_a_tool_error_with_what_may_be_meant(desk: PaidDesk) -> None:
    answer = await desk.refused('no check has the code "hw.memry"', 'Did you mean "hw.memory"?', accept=["hw.memry"])
    assert answer.is_error


async def test_a_plan_takes_no_accept(desk: PaidDesk) -> None:
    plan_id = (await desk.submit()).result["plan_id"]
    answer = await desk.ask("start_job", id=plan_id, accept=["hw.memory"])
    desk.check_refusal(answer, "A plan is started as it was agreed")


async def test_what_is_accepted_makes_no_other_run(desk: PaidDesk) -> None:
    job_id = await desk.submitted(**FIRES["lora.lr"])
    again = await desk.submit(**FIRES["lora.lr"], max_cost_usd=1, accept=["hw.memory"])
    assert (again.result["status"], again.result["job_id"]) == ("already_submitted", job_id)


async def test_what_a_person_sees_fits_one_screen(desk: PaidDesk) -> None:
    answer = await desk.submit(**STORED, timeout="9h")
    for name in (
        "recipe: sft lora of qwen3-0.6b",
        "data: alice/sums",
        "where: Hugging Face Jobs in alice",
        "usd_ceiling",
    ):
        assert name in answer.text
    assert "usd_expected" in answer.text
    assert len(answer.text.splitlines()) <= 24
