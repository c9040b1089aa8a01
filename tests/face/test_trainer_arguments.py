"""trainer_args: in whatever form they come, each is understood or refused by its name."""

from typing import Any

import pytest

from tests.face.conftest import Ask, Refuses

pytestmark = pytest.mark.anyio

SAME = [
    ["packing=true", "lora_r=8"],
    {"packing": True, "lora_r": 8},
    {"packing": "true", "lora_r": "8"},
    '["packing=true", "lora_r=8"]',
    '{"packing": true, "lora_r": 8}',
    ["packing = true", "r=8"],
]
SYNONYMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"num_train_epochs": 2}, {"epochs": 2}),
    ({"max_seq_length": 64}, {"max_length": 64}),
    ({"trainer_args": ["num_train_epochs=2"]}, {"epochs": 2}),
    ({"trainer_args": ["max_seq_length=64"]}, {"max_length": 64}),
    ({"warmup_ratio": 0.1}, {"trainer_args": ["warmup_steps=0.1"]}),
    ({"evaluation_strategy": "epoch"}, {"trainer_args": ["eval_strategy=epoch"]}),
    ({"packing": True}, {"trainer_args": ["packing=true"]}),
    ({"lora_alpha": 64}, {"trainer_args": ["lora_alpha=64"]}),
]
REFUSED: list[tuple[object, list[str]]] = [
    (["pakcing=true"], ['called "pakcing"', 'Did you mean "packing"?', "SFTConfig and LoraConfig"]),
    (["packing=perhaps"], ["packing cannot be perhaps", "true or false"]),
    (["max_steps=ten"], ["max_steps cannot be ten", "a whole number"]),
    (["max_steps=1.5"], ["max_steps cannot be 1.5", "a whole number"]),
    ({"lora_dropout": 10**400}, ["lora_dropout cannot be 1000", "a number"]),
    (["lora_dropout=inf"], ["lora_dropout cannot be inf", "a number"]),
    (["loss_type=dtf"], ["loss_type cannot be dtf", "nll, dft, chunked_nll", 'Did you mean "dft"?']),
    (["lr_scheduler_type=cosin"], ["lr_scheduler_type cannot be cosin", 'Did you mean "cosine"?']),
    (["save_steps=0"], ["save_steps cannot be 0", "above 0"]),
    (["warmup_ratio=2"], ["warmup_ratio cannot be 2", "a share below 1"]),
    (["report_to=wandbb"], ["report_to cannot be wandbb", "Did you mean", "job_status"]),
    (["load_best_model_at_end=true"], ["needs an evaluation", "eval_split"]),
    (["output_dir=/tmp/x"], ["output_dir cannot be given", "output_path"]),
    (["hub_token=x"], ["hub_token cannot be given", "Tokens are never arguments"]),
    (["resume_from_checkpoint=true"], ["resume_from_checkpoint cannot be given", "start_job"]),
    (["trust_remote_code=true"], ["trust_remote_code cannot be given", "never run"]),
    ({"model_init_kwargs": {"trust_remote_code": True}}, ["cannot be given in model_init_kwargs", "never run"]),
    (["group_by_length=true"], ["group_by_length no longer exists", "train_sampling_strategy"]),
    (["use_peft=true"], ["use_peft no longer exists", "tuning"]),
    (["per_device_train_batch_size=3", "gradient_accumulation_steps=0"], ["gradient_accumulation_steps is 0"]),
    (["packing=true", "packing=false"], ["packing is given twice", "true and false"]),
    (["lora_r=8", "r=16"], ["same argument", "give it once"]),
    (["packing"], ['"name=value"', "packing"]),
    ('["packing=true"', ["trainer_args", "no valid JSON"]),
    (7, ["trainer_args", 'a list of "name=value"']),
    ([{"name": "packing"}], ["trainer_args", '"name=value"']),
]


async def planned(ask: Ask, training: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    answer = await ask("submit_training", **training | arguments, dry_run=True)
    assert answer.result["status"] == "planned", answer.text
    return answer.result


@pytest.mark.parametrize("given", SAME)
async def test_a_list_an_object_and_their_json_text_mean_the_same(
    ask: Ask, training: dict[str, Any], given: object
) -> None:
    result = await planned(ask, training, trainer_args=given)
    assert "packing True" in result["recipe"]
    assert "lora_r 8" in result["recipe"]


@pytest.mark.parametrize(("synonym", "name"), SYNONYMS)
async def test_a_synonym_makes_the_same_script_and_an_info(
    ask: Ask, training: dict[str, Any], synonym: dict[str, Any], name: dict[str, Any]
) -> None:
    under_synonym = await planned(ask, training, **synonym)
    under_name = await planned(ask, training, **name)
    assert under_synonym["recipe"] == under_name["recipe"]
    assert under_synonym["infos"] > under_name.get("infos", 0)


@pytest.mark.parametrize(("given", "words"), REFUSED)
async def test_what_cannot_be_given_is_refused_with_the_way_on(
    refuses_training: Refuses, given: object, words: list[str]
) -> None:
    await refuses_training(*words, trainer_args=given)


@pytest.mark.parametrize("name", ["output_dir", "push_to_hub", "group_by_length", "deepspeed"])
async def test_an_owned_or_removed_name_at_top_level_is_refused_alike(refuses_training: Refuses, name: str) -> None:
    await refuses_training(name, **{name: "x"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 2, "num_train_epochs": 3},
        {"epochs": 2, "trainer_args": ["num_train_epochs=3"]},
        {"max_length": 64, "max_seq_length": 128},
        {"packing": True, "trainer_args": ["packing=false"]},
        {"batch_size": 4, "trainer_args": ["per_device_train_batch_size=3"]},
        {"lora_r": 8, "trainer_args": {"r": 16}},
    ],
)
async def test_one_thing_given_twice_with_two_values_is_refused(
    refuses_training: Refuses, arguments: dict[str, Any]
) -> None:
    answer = await refuses_training(**arguments)
    assert any(word in answer.text for word in ("given twice", "give it once", "Give batch_size alone"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 2, "num_train_epochs": "2.0"},
        {"epochs": 2, "trainer_args": ["num_train_epochs=2"]},
        {"packing": True, "trainer_args": ["packing=true"]},
        {"batch_size": 6, "trainer_args": ["per_device_train_batch_size=3", "gradient_accumulation_steps=2"]},
        {"lora_r": 8, "trainer_args": {"r": 8}},
    ],
)
async def test_one_thing_given_twice_with_one_value_is_taken(
    ask: Ask, training: dict[str, Any], arguments: dict[str, Any]
) -> None:
    await planned(ask, training, **arguments)


async def test_lora_arguments_without_an_adapter_are_refused(refuses_training: Refuses) -> None:
    await refuses_training("lora_alpha", 'only for tuning "lora"', tuning="full", trainer_args=["lora_alpha=8"])
