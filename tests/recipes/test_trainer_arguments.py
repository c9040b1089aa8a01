"""The arguments of TRL's own classes: known from the tables, read by kind, refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.names import CONTINUABLE, OWNED, REMOVED, RENAMED, TOOL_ARGUMENTS
from trl_mcp.recipes.trainer_arguments import (
    ArgumentField,
    argument_table,
    check_trainer_arguments,
    methods_with,
    read_value,
)

TRAINER = argument_table("SFTConfig")
LORA = argument_table("LoraConfig")
READABLE: list[tuple[tuple[str, ...], object, object]] = [
    (("bool",), "true", True),
    (("bool",), "False", False),
    (("bool",), True, True),
    (("int",), "7", 7),
    (("int",), "-1", -1),
    (("int",), 7.0, 7),
    (("float",), "2e-4", 2e-4),
    (("float",), ".5", 0.5),
    (("float",), 3, 3),
    (("str",), "true", "true"),
    (("str", "null"), "null", None),
    (("str", "null"), "none", "none"),
    (("int", "null"), "none", None),
    (("int", "null"), None, None),
    (("list",), "a, b", ["a", "b"]),
    (("list",), '["a,b"]', ["a,b"]),
    (("list",), ["a"], ["a"]),
    (("str", "list"), "all-linear", "all-linear"),
    (("str", "list"), '["q_proj"]', ["q_proj"]),
    (("str", "list", "null"), "q_proj,v_proj", ["q_proj", "v_proj"]),
    (("dict",), '{"a": 1}', {"a": 1}),
    (("dict", "str"), "a", "a"),
    (("bool", "str"), "false", False),
]
UNREADABLE: list[tuple[tuple[str, ...], object, str]] = [
    (("bool",), 1, "true or false"),
    (("bool",), "yes", "true or false"),
    (("int",), "1.5", "a whole number"),
    (("int",), True, "a whole number"),
    (("int",), "inf", "a whole number"),
    (("float",), "nan", "a number"),
    (("float",), float("inf"), "a number"),
    (("float",), "9" * 10_000, "a number"),
    (("float",), 10**400, "a number"),
    (("str",), 5, "a text"),
    (("list",), "a", "a JSON list"),
    (("dict",), "[1]", "a JSON object"),
    (("dict", "null"), "{", "a JSON object or null"),
]


def read_or_refusal(field: ArgumentField, value: object) -> object:
    try:
        return read_value(field, value)
    except InvalidArguments as error:
        return error


def test_the_tables_know_what_the_classes_of_the_pinned_trl_accept() -> None:
    assert TRAINER["packing"].kinds == ("bool",)
    assert TRAINER["packing"].default is False
    assert TRAINER["packing_strategy"].choices == ("bfd", "bfd_split", "wrapped")
    assert TRAINER["loss_type"].choices == ("nll", "dft", "chunked_nll")
    assert {"cosine", "linear"} <= set(TRAINER["lr_scheduler_type"].choices)
    assert LORA["r"].kinds == ("int",)
    assert "all-linear" not in LORA["target_modules"].choices


def test_a_config_knows_its_own_fields_and_those_of_every_trainer() -> None:
    assert {"max_length", "assistant_only_loss", "warmup_steps", "save_steps"} <= set(TRAINER)
    assert "warmup_steps" not in LORA


def test_what_the_method_declares_comes_before_what_every_trainer_does() -> None:
    assert TRAINER["logging_steps"].default == 10


@pytest.mark.parametrize("names", [RENAMED, REMOVED])
def test_names_of_the_past_are_no_arguments_of_today(names: dict[str, str]) -> None:
    assert [name for name in names if methods_with(name)] == []


def test_names_lead_to_arguments_that_exist() -> None:
    assert [name for name in RENAMED.values() if name not in LORA and not methods_with(name)] == []
    assert [name for name in CONTINUABLE if name not in TRAINER] == []
    assert [name for name in TOOL_ARGUMENTS if name in OWNED or name in REMOVED] == []


@pytest.mark.parametrize(("kinds", "value", "read"), READABLE)
def test_a_value_is_read_in_the_kind_its_field_declares(kinds: tuple[str, ...], value: object, read: object) -> None:
    got = read_value(ArgumentField("field", kinds), value)
    assert (got, type(got)) == (read, type(read))


@pytest.mark.parametrize(("kinds", "value", "allowed"), UNREADABLE)
def test_a_value_of_another_kind_is_refused(kinds: tuple[str, ...], value: object, allowed: str) -> None:
    with pytest.raises(InvalidArguments, match="field cannot be") as caught:
        read_value(ArgumentField("field", kinds), value)
    assert allowed in str(caught.value)


def test_a_choice_with_a_number_in_it_stands_for_any_number() -> None:
    assert read_value(LORA["init_lora_weights"], "pissa_niter_16") == "pissa_niter_16"
    with pytest.raises(InvalidArguments, match="one of gaussian"):
        read_value(LORA["init_lora_weights"], "pissa_niter_many")


@given(st.sampled_from(sorted(TRAINER)), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9))
def test_any_value_is_read_or_refused_by_name(name: str, value: object) -> None:
    answer = read_or_refusal(TRAINER[name], value)
    assert not isinstance(answer, InvalidArguments) or answer.what.startswith(f"{name} cannot be ")


@given(st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9))
def test_a_number_means_the_same_as_its_text(number: float) -> None:
    field = ArgumentField("field", ("float",))
    assert read_value(field, json.dumps(number)) == read_value(field, number)


def test_arguments_are_sorted_to_the_class_they_belong_to() -> None:
    checked = check_trainer_arguments("SFTConfig", {"packing": "true", "lora_r": "8", "warmup_ratio": "0.1"})
    assert checked.config == {"packing": True, "warmup_steps": 0.1}
    assert checked.lora == {"r": 8}
    assert [finding.code for finding in checked.findings] == ["args.renamed", "args.renamed"]


@pytest.mark.parametrize("name", [*OWNED, *REMOVED])
def test_every_owned_or_removed_name_is_refused_with_the_way_on(name: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        check_trainer_arguments("SFTConfig", {name: "x"})
    assert name in caught.value.what
    assert (OWNED | REMOVED)[name] in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    given_values: dict[str, Any] = {"pakcing": True, "max_steps": "ten", "output_dir": "/x"}
    with pytest.raises(InvalidArguments) as caught:
        check_trainer_arguments("SFTConfig", given_values)
    assert [name for name in given_values if name not in str(caught.value)] == []


def test_an_argument_of_other_methods_is_refused_with_their_names() -> None:
    with pytest.raises(InvalidArguments, match=r"num_generations is no argument of sft: grpo, rloo have it") as caught:
        check_trainer_arguments("SFTConfig", {"num_generations": 4})
    assert "Every field of SFTConfig and LoraConfig can be given." in str(caught.value)


@pytest.mark.parametrize(
    ("name", "methods"), [("kl_coef", ["ppo"]), ("step_separator", ["prm"]), ("simpo_gamma", ["cpo"]), ("packing_", [])]
)
def test_a_field_is_known_from_the_version_of_trl_that_has_its_method(name: str, methods: list[str]) -> None:
    assert methods_with(name) == methods
