"""What every template and shared module keeps to, so that a template becomes a script by pasting."""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.templates.job_modules import SHARED_FILES, TEMPLATE_FILES, TEMPLATES

ALL_FILES = [*TEMPLATE_FILES, *SHARED_FILES]
EVERY_FILE = pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: path.stem)
EVERY_TEMPLATE = pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: path.stem)
HEADER_END = "# ///\n"
CURRENT_TRL = "1.16.0"
NOT_TRAINING = {"convert_gguf", "count_tokens"}
# Methods that later versions of TRL no longer have.
OLDER_TRL = {"ppo": "1.12.0", "prm": "1.13.0"}


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def shared_name(node: ast.stmt) -> str | None:
    """Return the shared module that a statement imports from."""
    module = node.module if isinstance(node, ast.ImportFrom) else None
    return module.removeprefix("_job.") if module and module.startswith("_job.") else None


def imported_packages(node: ast.AST) -> list[str]:
    """Return the top-level packages that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [(node.module or "").partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


def defined_names(path: Path) -> set[str]:
    """Return the functions, classes and constants that a file defines at its top level."""
    names: set[str] = set()
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def imported_names(path: Path) -> set[str]:
    """Return the names that a file's own top-level imports bind, shared modules apart."""
    nodes = [node for node in parse(path).body if not shared_name(node)]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}


def kind_of(node: ast.stmt) -> str:
    """Say which part of a template a top-level statement belongs to."""
    if isinstance(node, ast.Expr):
        return "docstring"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "shared import" if shared_name(node) else "import"
    is_run = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RUN"
    return "RUN" if is_run else "main" if isinstance(node, ast.If) else "code"


def paste(path: Path, done: set[str]) -> str:
    """Return a file's text with each import of a shared module replaced by that module's body, once."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in reversed(parse(path).body):
        name = shared_name(node)
        if name is not None:
            lines[node.lineno - 1] = f"from _job.{name}\n"
    pasted = ""
    for line in lines:
        name = line.removeprefix("from _job.").strip() if line.startswith("from _job.") else None
        if name is None:
            pasted += line
        elif name not in done:
            done.add(name)
            pasted += paste(TEMPLATES / "_job" / f"{name}.py", done)
    return pasted


@EVERY_FILE
def test_shared_modules_are_imported_in_one_form_only(path: Path) -> None:
    nodes = [node for node in ast.walk(parse(path)) if "_job" in imported_packages(node)]
    top = [node for node in parse(path).body if shared_name(node)]
    assert len(nodes) == len(top), "only at top level, and as `from _job.x import a`"
    for node in top:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 0
        assert node.lineno == node.end_lineno
        assert all(alias.asname is None and alias.name != "*" for alias in node.names)
        assert {alias.name for alias in node.names} <= defined_names(TEMPLATES / "_job" / f"{shared_name(node)}.py")


@EVERY_FILE
def test_third_party_packages_are_imported_inside_functions(path: Path) -> None:
    packages = [package for node in parse(path).body for package in imported_packages(node)]
    assert set(packages) <= {*sys.stdlib_module_names, "_job"}
    assert "__future__" not in packages


@pytest.mark.parametrize("name", ["rows", "files"])
def test_what_the_server_runs_too_needs_the_standard_library_only(name: str) -> None:
    path = TEMPLATES / "_job" / f"{name}.py"
    nodes = [*ast.walk(parse(path))]
    assert {package for node in nodes for package in imported_packages(node)} <= {*sys.stdlib_module_names, "_job"}
    for node in parse(path).body:
        if isinstance(node, ast.ImportFrom) and (shared := shared_name(node)):
            test_what_the_server_runs_too_needs_the_standard_library_only(shared)


def test_names_are_unique_among_the_shared_modules() -> None:
    counts = Counter(name for path in SHARED_FILES for name in defined_names(path))
    assert [name for name, count in counts.items() if count > 1] == []


@EVERY_TEMPLATE
def test_a_template_uses_no_name_of_a_shared_module_for_its_own(path: Path) -> None:
    shared = {name for file in SHARED_FILES for name in defined_names(file)}
    assert defined_names(path) & shared == set()


def test_no_name_stands_for_an_import_of_another_file() -> None:
    imported = {name for path in ALL_FILES for name in imported_names(path)}
    defined = {name for path in ALL_FILES for name in defined_names(path)}
    assert imported & defined == set()


@EVERY_TEMPLATE
def test_a_template_has_its_parts_in_order(path: Path) -> None:
    kinds = [kind_of(node) for node in parse(path).body]
    order = ["docstring", "import", "RUN", "shared import", "code", "main"]
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds)
    assert kinds.count("RUN") == kinds.count("main") == kinds.count("docstring") == 1


@EVERY_TEMPLATE
def test_run_is_a_literal(path: Path) -> None:
    value = next(node.value for node in parse(path).body if isinstance(node, ast.Assign) and kind_of(node) == "RUN")
    assert isinstance(ast.literal_eval(value), dict)


def header(path: Path) -> str:
    """Return the PEP 723 header of a template."""
    return path.read_text(encoding="utf-8").partition(HEADER_END)[0]


def test_templates_that_train_differ_in_no_pin_but_trl() -> None:
    headers = {path.stem: header(path) for path in TEMPLATE_FILES if path.stem not in NOT_TRAINING}
    assert {*OLDER_TRL, "sft", "tiny_model"} <= headers.keys()
    for name, pin in OLDER_TRL.items():
        assert f'"trl=={pin}"' in headers[name]
    same = {text.replace(f'"trl=={OLDER_TRL.get(name)}"', f'"trl=={CURRENT_TRL}"') for name, text in headers.items()}
    assert len(same) == 1
    assert same.pop().startswith('# /// script\n# requires-python = ">=3.11"\n')


def test_a_package_has_one_version_in_all_templates() -> None:
    pins = {pin for path in TEMPLATE_FILES for pin in re.findall(r'"([\w.-]+==[\w.]+)"', header(path))}
    versions = Counter(pin.partition("==")[0] for pin in pins)
    assert {package for package, count in versions.items() if count > 1} == {"trl"}


@EVERY_TEMPLATE
def test_a_pasted_template_defines_all_that_it_needs(path: Path) -> None:
    script = paste(path, set())
    assert "from _job" not in script
    namespace = {"__name__": "script"}
    exec(compile(script, path.name, "exec"), namespace)
    wanted = {alias.name for node in parse(path).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert wanted <= namespace.keys()


@EVERY_FILE
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef)]
    for node in functions:
        arguments = [*node.args.args, *node.args.kwonlyargs]
        assert (node.end_lineno or 0) - node.lineno < 60, node.name
        assert len([argument for argument in arguments if argument.arg != "self"]) <= 6, node.name
