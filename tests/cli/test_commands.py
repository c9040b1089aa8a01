"""The command line itself: its version, the script it renders, what it says of a wrong word."""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cli.conftest import Run
from trl_mcp import __version__
from trl_mcp.environments import read_header
from trl_mcp.render.script import read_run
from trl_mcp.render.templates import template_source


def test_it_tells_its_version(trl_mcp: Run) -> None:
    done = trl_mcp("--version")
    assert (done.returncode, done.stdout) == (0, f"trl-mcp {__version__}\n")


def test_a_command_that_is_none_is_refused_with_those_there_are(trl_mcp: Run) -> None:
    done = trl_mcp("serv")
    assert done.returncode == 2
    assert "invalid choice: 'serv'" in done.stderr
    assert "doctor" in done.stderr


def test_a_rendered_template_is_one_script_that_runs_alone(
    trl_mcp: Run, shell: Mapping[str, str], tmp_path: Path
) -> None:
    done = trl_mcp("render", "sft")
    assert (done.returncode, done.stderr) == (0, "")
    tree = ast.parse(done.stdout)
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in modules if name and name.startswith("_job")] == []
    assert read_header(done.stdout) == read_header(template_source("sft"))
    assert read_run(done.stdout) == read_run(template_source("sft"))
    script = tmp_path / "alone" / "sft.py"
    script.parent.mkdir()
    script.write_text(done.stdout, encoding="utf-8")
    # Without the packages of its header it gets as far as they are needed, and no part of it is missing.
    command = [sys.executable, "-I", "-S", os.fspath(script)]
    ran = subprocess.run(
        command, check=False, capture_output=True, encoding="utf-8", env=dict(shell), cwd=script.parent
    )
    assert '"kind": "start"' in ran.stdout
    assert "ModuleNotFoundError" in ran.stderr
    assert "_job" not in ran.stderr.splitlines()[-1]


def test_a_template_that_is_none_is_named(trl_mcp: Run) -> None:
    done = trl_mcp("render", "sfft")
    assert done.returncode == 2
    assert "There is no template sfft." in done.stderr
