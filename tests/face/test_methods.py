"""What a method cannot do is refused by name: arguments of another one, models and rows that its trainer does not take."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.face.conftest import Ask, Refuses
from tests.templates.layout_rows import REFUSED, TAKEN, rows_of

pytestmark = pytest.mark.anyio

NEEDS: dict[str, dict[str, Any]] = {
    "grpo": {"rewards": ["think_format_reward"]},
    "rloo": {"rewards": ["think_format_reward"]},
    "online_dpo": {"rewards": ["think_format_reward"]},
}
METHODS = sorted(set(TAKEN) - {"ppo", "distillation", "gkd"})


@pytest.mark.parametrize(
    ("method", "argument", "those"),
    [
        ("sft", "num_generations=4", ["grpo", "rloo"]),
        ("sft", "teacher_model=a/b", ["distillation", "gkd"]),
        ("dpo", "packing=true", ["sft"]),
        ("dpo", "response_length=8", ["ppo"]),
        ("kto", "loss_weights=[1.0]", ["dpo"]),
        ("reward", "beta=0.1", ["dpo", "kto"]),
        ("grpo", "desirable_weight=2", ["kto"]),
        ("rloo", "loss_type=dapo", ["grpo"]),
        ("prm", "missing_eos_penalty=1", ["ppo", "online_dpo"]),
        ("orpo", "step_separator=x", ["prm"]),
        ("cpo", "lmbda=0.5", ["gkd"]),
        ("online_dpo", "center_rewards_coefficient=0.1", ["reward"]),
    ],
)
async def test_an_argument_of_another_method_is_refused_with_those_that_have_it(
    refuses_training: Refuses, method: str, argument: str, those: list[str]
) -> None:
    name = argument.partition("=")[0]
    needs = NEEDS.get(method, {})
    answer = await refuses_training(
        f"{name} is no argument of {method}", *those, method=method, trainer_args=[argument], **needs
    )
    assert f"of {method}:" in answer.text


@pytest.mark.parametrize("method", METHODS)
async def test_a_sequence_to_sequence_model_is_refused_whatever_the_method(
    refuses_training: Refuses, model_folder: Path, method: str
) -> None:
    (model_folder / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}', encoding="utf-8")
    words = ["sequence-to-sequence", "TRL has no trainer", "BERT with method reward"]
    await refuses_training(*words, method=method, **NEEDS.get(method, {}))


async def test_an_encoder_learns_to_score(
    ask: Ask, training: dict[str, Any], model_folder: Path, write_rows: WriteRows
) -> None:
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    (model_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (model_folder / "chat_template.jinja").unlink()
    pairs = str(write_rows("data/pairs.jsonl", rows_of("pair")))
    answer = await ask("submit_training", **training | {"method": "reward", "dataset": pairs, "dry_run": True})
    assert answer.result["status"] == "planned", answer.text


@pytest.mark.parametrize("method", sorted(REFUSED))
async def test_rows_that_a_method_cannot_read_are_refused_with_the_reason(
    refuses: Refuses, ask: Ask, training: dict[str, Any], write_rows: WriteRows, method: str
) -> None:
    for layout, word in REFUSED[method].items():
        data = str(write_rows("data/rows.jsonl", rows_of(layout)))
        asked = training | {"method": method, "dataset": data} | NEEDS.get(method, {})
        await refuses([word, "Nothing was started."], "submit_training", **asked)
        looked = await ask("validate_dataset", dataset=data, method=method)
        assert looked.result["verdict"] == "invalid", looked.text
        assert word in looked.text


@pytest.mark.parametrize("method", METHODS)
async def test_rows_that_a_trainer_takes_make_a_plan(
    ask: Ask, training: dict[str, Any], write_rows: WriteRows, method: str
) -> None:
    for layout in TAKEN[method]:
        data = str(write_rows(f"data/{layout.replace('/', '-')}.jsonl", rows_of(layout)))
        asked = training | {"method": method, "dataset": data, "dry_run": True} | NEEDS.get(method, {})
        answer = await ask("submit_training", **asked)
        assert answer.result["status"] == "planned", answer.text
        assert "8 of 8 rows kept" in answer.result["data"]
