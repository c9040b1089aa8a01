"""Runs of a template as a process of its own, with a recipe written into a copy of it."""

import ast
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import IO, Any, Self

import pytest

from tests.templates.job_modules import TEMPLATES
from tests.templates.warm_start import PASSED_ON, Process, WarmPython, can_be_forked

TAG = "test-tag"
Start = Callable[[list[str], Path, dict[str, str], IO[bytes]], Process]
Line = dict[str, Any]


def write_recipe(template: Path, changes: dict[str, Any]) -> None:
    """Change keys of the template's RUN literal."""
    text = template.read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
    node = next(node for node in nodes if ast.unparse(node.targets[0]) == "RUN")
    recipe = ast.literal_eval(node.value)
    unknown = changes.keys() - recipe.keys()
    assert not unknown, unknown
    lines = text.splitlines(keepends=True)
    lines[node.lineno - 1 : node.end_lineno] = [f"RUN = {recipe | changes!r}\n"]
    template.write_text("".join(lines), encoding="utf-8")


class Job:
    """One process that runs a template, and the progress lines that it prints."""

    def __init__(self, start: Start, script: Path, folder: Path, environment: dict[str, str]) -> None:
        """Start the process."""
        self.output = Path(environment["TRL_MCP_OUTPUT"])
        self.log = folder / "stderr.txt"
        self.printed: list[str] = []
        self.lines: list[Line] = []
        with self.log.open("wb") as errors:
            self.process = start([str(script)], folder, environment, errors)

    def read(self) -> Line | None:
        """Return the next progress line; None at the end."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.printed.append(text)
            if text.startswith(f"TRL_MCP {TAG} "):
                self.lines.append(json.loads(text.split(" ", 2)[2]))
                return self.lines[-1]
        return None

    def read_until(self, wanted: Callable[[Line], bool]) -> Line:
        """Return the first progress line from here on that is wanted."""
        while (line := self.read()) is not None:
            if wanted(line):
                return line
        raise AssertionError(f"the job ended before: {self.errors()}")

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        while self.read() is not None:
            pass
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait()

    def kill(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.finish()

    def errors(self) -> str:
        """Return what the job wrote beside its output."""
        return self.log.read_text(encoding="utf-8")

    def of_kind(self, kind: str) -> list[Line]:
        """Return the progress lines of one kind."""
        return [line for line in self.lines if line["kind"] == kind]

    def losses(self) -> dict[int, float]:
        """Return the training loss at each step that was logged."""
        return {line["step"]: line["loss"] for line in self.of_kind("log") if "loss" in line}


class JobRuns:
    """Starts jobs with the interpreter of a training environment; in a `with` block they find torch loaded."""

    def __init__(self, python: str, folders: pytest.TempPathFactory) -> None:
        """Keep the interpreter and the maker of folders."""
        self.python = python
        self.folders = folders
        self._warm: WarmPython | None = None

    def __enter__(self) -> Self:
        self._warm = WarmPython(self.python)
        return self

    def __exit__(self, *_: object) -> None:
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def start(
        self,
        template: str,
        changes: dict[str, Any],
        run_folder: Path | None = None,
        edit: Callable[[Path], None] = lambda _: None,
        variables: Mapping[str, str] | None = None,
    ) -> Job:
        """Start a template with changes to its recipe; `edit` may change the copy further. An empty variable is none."""
        folder = self.folders.mktemp(template)
        copy = folder / "templates"
        shutil.copytree(TEMPLATES, copy, ignore=shutil.ignore_patterns("__pycache__"))
        write_recipe(copy / f"{template}.py", changes)
        edit(copy)
        places = {"TRL_MCP_OUTPUT": str(folder / "output"), "TRL_MCP_RUN_FOLDER": str(run_folder or folder / "run")}
        wanted = self.environment(folder) | places | dict(variables or {})
        given = {name: value for name, value in wanted.items() if value}
        return Job(self._process, copy / f"{template}.py", folder, given)

    def program(self, code: str, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Any:
        """Run a program in the training environment; return the JSON value of the last line it prints."""
        environment = self.environment(folder) | dict(variables or {})
        with tempfile.TemporaryFile() as errors:
            process = self._process(["-c", dedent(code), *arguments], Path.cwd(), environment, errors)
            assert process.stdout is not None
            with process.stdout as printed:
                lines = printed.read().splitlines()
            code_at_end = process.wait()
            errors.seek(0)
            assert code_at_end == 0, errors.read().decode()[-3000:]
        return json.loads(lines[-1])

    def _process(self, arguments: list[str], folder: Path, environment: dict[str, str], errors: IO[bytes]) -> Process:
        """Start a file or, behind `-c`, code."""
        if self._warm is not None and can_be_forked(environment):
            return self._warm.start(arguments, folder, environment, errors)
        command = [self.python, *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)

    def environment(self, folder: Path) -> dict[str, str]:
        """Return an environment without a network, and with as many threads as tiny models are fastest with."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hf")}
        return kept | quiet | {"TRL_MCP_RUN_TAG": TAG}
