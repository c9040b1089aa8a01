"""Scripts of any recipe: the template's own code around a RUN literal that holds only what the pinned TRL knows."""

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.conftest import FAKE_TOKEN
from tests.render.test_script import outside_run
from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.training import run_values
from trl_mcp.recipes.extras import FOUR_BITS, TRACKERS
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.recipe import TUNINGS, Asked, Recipe, make_recipe
from trl_mcp.recipes.trainer_arguments import ArgumentField, argument_table
from trl_mcp.render.script import header_of, inline_job_modules, read_run, render, with_dependencies
from trl_mcp.render.templates import template_source

# Values that fit a field of each kind, to be filled into any field that the recipe leaves to the caller.
VALUES: dict[str, st.SearchStrategy[object]] = {
    "bool": st.booleans(),
    "int": st.integers(1, 64),
    "float": st.floats(0.001, 0.5),
    "str": st.text(max_size=20),
    "list": st.lists(st.text(max_size=5), max_size=3),
    "dict": st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    "null": st.none(),
}
NEEDS: dict[str, dict[str, Any]] = {
    "grpo": {"rewards": ("good", "think_format_reward:0.5")},
    "rloo": {"rewards": ("accuracy_reward", "a/reward@v1")},
    "online_dpo": {"rewards": ("good",)},
    "ppo": {"rewards": ("a/reward",)},
    "distillation": {"teacher_model": "a/teacher@v2"},
    "gkd": {"teacher_model": "/models/teacher"},
}
CODE = 'def good(completions, answer):\n    """Say "good"."""\n    return [0.5 for _ in completions]\n'
# Fields that trackers read, which only the job may fill in.
TRACKED = ("trackio_space_id", "trackio_static_space_id", "trackio_bucket_id", "hub_private_repo", "hub_token")
PIN = re.compile(r"[a-z-]+(?:\[[a-z,]+\])?==\d+(?:\.\d+)+")
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@st.composite
def wishes(draw: st.DrawFn) -> Asked:
    """Draw what somebody could ask of any method, sensible or not."""
    name = draw(st.sampled_from(sorted(METHODS)))
    method = METHODS[name]
    fields = draw(st.lists(st.sampled_from(sorted(argument_table(method.config_name))), max_size=5, unique=True))
    trainer_args = {field: draw(_value(argument_table(method.config_name)[field])) for field in fields}
    needs = dict(NEEDS.get(name, {}))
    if teacher := needs.pop("teacher_model", None):
        trainer_args["teacher_model"] = teacher
    tuning = draw(st.sampled_from(TUNINGS))
    if tuning != "full" and draw(st.booleans()):
        trainer_args |= {"lora_r": draw(st.integers(1, 64)), "use_dora": draw(st.booleans())}
    if draw(st.booleans()):
        trainer_args["report_to"] = draw(st.lists(st.sampled_from(sorted(TRACKERS)), min_size=1))
    return Asked(
        method=name,
        model="a/b",
        dataset="c/d",
        columns=draw(st.dictionaries(st.sampled_from(["prompt", "answer"]), any_text, max_size=2)),
        system_prompt=draw(st.none() | any_text),
        tuning=tuning,
        epochs=draw(st.none() | st.floats(0.1, 5)),
        learning_rate=draw(st.none() | st.floats(1e-7, 1e-2)),
        batch_size=draw(st.none() | st.integers(1, 64)),
        trainer_args=trainer_args,
        reward_code=CODE + f"# {draw(any_text)!r}\n" if "good" in needs.get("rewards", ()) else None,
        **needs,
    )


def _value(field: ArgumentField) -> st.SearchStrategy[object]:
    if field.choices:
        return st.sampled_from(field.choices)
    return st.one_of(*(VALUES[kind] for kind in field.kinds))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw a recipe: of what was asked, or where that is refused of the method as it is."""
    asked = draw(wishes())
    try:
        return make_recipe(asked)
    except InvalidArguments as error:
        event(f"refused: {error}"[:40])
    taught = {name: value for name, value in asked.trainer_args.items() if name == "teacher_model"}
    plain = Asked(asked.method, "a/b", "c/d", tuning=asked.tuning, trainer_args=taught)
    return make_recipe(replace(plain, rewards=asked.rewards, reward_code=asked.reward_code))


def run_of(recipe: Recipe) -> dict[str, Any]:
    """Return what the RUN literal of a recipe's script says."""
    return run_values(recipe, "0123456789ab")


def header_for(recipe: Recipe) -> str:
    """Return the header of a recipe's script."""
    return with_dependencies(header_of(template_source(recipe.template)), recipe.dependencies)


def script_of(recipe: Recipe) -> str:
    """Return the script of a recipe."""
    return render(recipe.template, run_of(recipe), header_for(recipe))


@cache
def own_code(template: str) -> list[str]:
    """Return the syntax of a template, its shared modules written in."""
    return outside_run(inline_job_modules(template_source(template)))


def header_table(header: str) -> Mapping[str, Any]:
    """Return what a header says."""
    return tomllib.loads(re.sub(r"^# ?(?:///.*)?", "", header, flags=re.MULTILINE))


@settings(max_examples=15)
@given(recipes())
def test_the_code_of_a_script_is_the_templates_own_and_its_run_the_recipe(recipe: Recipe) -> None:
    script = script_of(recipe)
    assert script == script_of(recipe)
    assert outside_run(script) == own_code(recipe.template)
    assert read_run(script) == _as_literal(run_of(recipe))
    assert header_of(script) == header_for(recipe)


def _as_literal(value: object) -> object:
    """Return a value as a literal reads back: sequences are lists, mappings dictionaries."""
    if isinstance(value, Mapping):
        return {key: _as_literal(item) for key, item in cast(Mapping[str, object], value).items()}
    return [_as_literal(item) for item in cast(list[object], value)] if isinstance(value, list | tuple) else value


@settings(max_examples=60)
@given(recipes())
def test_every_argument_of_a_script_is_a_field_of_the_config_it_is_for(recipe: Recipe) -> None:
    run = run_of(recipe)
    trainer = argument_table(METHODS[recipe.method].config_name)
    config, lora = (cast(dict[str, object], run[name] or {}) for name in ("config", "lora"))
    assert [name for name in config if name not in trainer] == []
    assert [name for name in lora if name not in argument_table("LoraConfig")] == []
    assert bool(lora) == (recipe.tuning != "full")


@settings(max_examples=60)
@given(recipes())
def test_every_package_of_a_script_is_pinned_exactly(recipe: Recipe) -> None:
    header = header_table(header_for(recipe))
    packages: list[str] = header["dependencies"]
    assert [package for package in packages if not PIN.fullmatch(package)] == []
    assert f"trl=={METHODS[recipe.method].trl}" in packages
    names = [re.split(r"\[|==", package)[0] for package in packages]
    assert {"torch", "transformers", "peft", "datasets", "accelerate", "trl"} <= set(names)
    assert len(set(names)) == len(names)
    assert (recipe.tuning == "qlora") <= (FOUR_BITS in packages)
    assert header["requires-python"] == ">=3.11"


@settings(max_examples=60)
@given(recipes())
def test_weights_and_trackers_are_the_business_of_the_code_alone(recipe: Recipe) -> None:
    config = cast(dict[str, object], run_of(recipe)["config"])
    loading = cast(dict[str, object], config.get("model_init_kwargs") or {})
    assert [name for name in ("dtype", "torch_dtype", "trust_remote_code", "token") if name in loading] == []
    assert [name for name in TRACKED if name in config] == []
    assert set(cast(list[str], config.get("report_to") or [])) <= set(TRACKERS)
    assert "push_to_hub" not in config


@pytest.mark.parametrize("template", sorted(METHODS))
def test_the_code_says_the_type_of_weights_and_starts_no_tracker(template: str) -> None:
    code = inline_job_modules(template_source(template))
    called = [ast.unparse(node.func) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert "weights_dtype" in called
    assert "trackio.init" not in called
    assert "torch_dtype" not in code


def test_no_script_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", FAKE_TOKEN)
    for name in METHODS:
        needs = dict(NEEDS.get(name, {}))
        teacher = {"teacher_model": needs.pop("teacher_model")} if "teacher_model" in needs else {}
        code = CODE if "good" in needs.get("rewards", ()) else None
        made = make_recipe(Asked(name, "a/b", "c/d", trainer_args=teacher, reward_code=code, **needs))
        script = script_of(made)
        assert FAKE_TOKEN not in script
        assert str(Path.home()) not in script


@pytest.mark.parametrize("given_as", ["hub_token", "token"])
def test_a_token_cannot_be_put_into_a_script(given_as: str) -> None:
    inside = {"model_init_kwargs": {"token": FAKE_TOKEN}} if given_as == "token" else {given_as: FAKE_TOKEN}
    with pytest.raises(InvalidArguments, match="Tokens are never arguments") as refused:
        make_recipe(Asked("sft", "a/b", "c/d", trainer_args=inside))
    assert FAKE_TOKEN not in str(refused.value)
