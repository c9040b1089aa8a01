"""A rendered script is the template itself, with another RUN literal and its shared modules written in."""

import ast
import re
import tomllib
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.test_literal import any_text, json_like
from trl_mcp.render.script import header_of, inline_job_modules, read_run, render, replace_run, with_dependencies
from trl_mcp.render.templates import job_module, job_module_source, template_source, templates_folder

TEMPLATES = sorted(path.stem for path in templates_folder().glob("*.py"))
runs = st.dictionaries(any_text, json_like, max_size=5)


def outside_run(script: str) -> list[str]:
    """Return the syntax of all that is not the RUN literal."""
    return [ast.dump(node) for node in ast.parse(script).body if not _is_run(node)]


@cache
def own_code() -> list[str]:
    """Return the syntax of the template itself, its shared modules written in."""
    return outside_run(inline_job_modules(template_source("sft")))


def _is_run(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RUN"


@settings(max_examples=20)
@given(runs)
def test_whatever_is_asked_the_code_outside_run_is_the_templates_own(run: dict[str, Any]) -> None:
    script = render("sft", run)
    assert outside_run(script) == own_code()
    assert read_run(script) == run


@settings(max_examples=10)
@given(runs)
def test_rendering_twice_gives_the_same_bytes(run: dict[str, Any]) -> None:
    assert render("sft", run) == render("sft", run)


@given(runs, runs)
def test_a_run_can_be_replaced_as_if_it_had_been_the_first(first: dict[str, Any], second: dict[str, Any]) -> None:
    script = '"""Doc."""\n\nRUN = {"a": 1}\n\nprint(RUN)\n'
    again = replace_run(replace_run(script, first), second)
    assert read_run(again) == second
    assert again == replace_run(script, second)


def test_a_run_can_be_replaced_in_a_finished_script() -> None:
    run = read_run(template_source("sft"))
    assert replace_run(render("sft", {"text": "a\nb\n"}), run) == render("sft", run)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_becomes_a_self_contained_script(template: str) -> None:
    source = template_source(template)
    script = render(template, read_run(source))
    imported = [node.module or "" for node in ast.walk(ast.parse(script)) if isinstance(node, ast.ImportFrom)]
    assert [module for module in imported if module.startswith("_job")] == []
    assert read_run(script) == read_run(source)
    assert header_of(script) == header_of(source)
    compile(script, template, "exec")


def test_a_shared_module_is_written_in_once() -> None:
    script = render("sft", {})
    functions = [node.name for node in ast.parse(script).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(functions) == len(set(functions))
    assert "report" in functions


def test_a_shared_module_is_headed_by_what_it_is_for() -> None:
    first_line = (ast.get_docstring(ast.parse(job_module_source("progress"))) or "").splitlines()[0]
    assert f"# {first_line}\n" in render("sft", {})


def test_a_header_can_be_replaced() -> None:
    header = '# /// script\n# dependencies = ["trl==9.9.9"]\n# ///\n'
    script = render("sft", {}, header=header)
    assert header_of(script) == header
    assert script.count("# /// script") == 1


def test_packages_are_added_behind_those_of_the_template() -> None:
    header = header_of(template_source("sft"))
    extended = with_dependencies(header, ["bitsandbytes==0.50.2", "math-verify==0.9.0"])
    own, added = (tomllib.loads(re.sub(r"^# ?(?:///.*)?", "", each, flags=re.MULTILINE)) for each in (header, extended))
    assert added["dependencies"] == [*own["dependencies"], "bitsandbytes==0.50.2", "math-verify==0.9.0"]
    assert added["requires-python"] == own["requires-python"]
    assert header_of(render("sft", {}, header=extended)) == extended
    assert with_dependencies(header, []) == header


def test_a_header_that_lists_no_packages_takes_none() -> None:
    with pytest.raises(ValueError, match="lists no dependencies"):
        with_dependencies("# /// script\n# dependencies = []\n# ///\n", ["a==1"])


@pytest.mark.parametrize("script", ["", "x = 1\n", "RUN: dict = {}\n"])
def test_a_script_without_a_run_literal_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match="no RUN literal"):
        read_run(script)
    with pytest.raises(ValueError, match="no RUN literal"):
        replace_run(script, {})


def test_a_script_without_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="no PEP 723 header"):
        header_of("RUN = {}\n")


def test_server_and_job_read_rows_with_the_same_code() -> None:
    rows: Any = job_module("rows")
    assert rows is job_module("rows")
    assert rows.__file__ == str(templates_folder() / "_job" / "rows.py")


def test_an_import_in_a_text_of_the_recipe_is_no_import_of_the_script() -> None:
    run = read_run(template_source("grpo")) | {
        "reward_code": "import re\nimport time\n\ndef score(completions): return []\n"
    }
    imports = {
        alias.name
        for node in ast.parse(render("grpo", run)).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert {"re", "time"} <= imports
