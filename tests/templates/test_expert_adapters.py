"""An adapter with the defaults on a mixture of experts, run for real."""

from pathlib import Path

import pytest

from tests.templates.job_runs import JobRuns
from tests.templates.lessons import CODES, QUICK, chats, lesson, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(150)]
MAKE = """
import json, sys
from transformers import AutoTokenizer, Qwen3MoeConfig, Qwen3MoeForCausalLM
source, target = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(source)
tokenizer.save_pretrained(target)
Qwen3MoeForCausalLM(Qwen3MoeConfig(
    vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, moe_intermediate_size=64, num_experts=4,
    num_experts_per_tok=2, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
)).save_pretrained(target)
print(json.dumps(len(tokenizer)))
"""
LOOK = """
import sys
from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
print(sum("experts" in name and "lora_B" in name and parameter.abs().sum().item() > 0
          for name, parameter in model.named_parameters()))
"""


def test_an_adapter_learns_on_experts_too(job_runs: JobRuns, tiny_model: Path, tmp_path: Path) -> None:
    job_runs.program(MAKE, tmp_path, str(tiny_model), str(tmp_path / "experts"))
    data = write_rows(tmp_path / "chats.jsonl", chats(CODES))
    config = QUICK | {"learning_rate": 2e-2, "max_steps": 60}
    job = job_runs.start("sft", lesson(tmp_path / "experts", data, config, tuning="lora"))
    assert job.finish() == 0, job.errors()
    losses = job.losses()
    assert losses[60] < 0.85 * losses[1], losses
    assert job_runs.program(LOOK, tmp_path, str(job.output)) > 0
