"""A program finds itself in a forked Python as in one that was started for it."""

import subprocess
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.templates.warm_start import WarmPython

pytestmark = pytest.mark.training
TELLS = """
import __main__, os, sys
print(sys.argv, sys.orig_argv, sys.path[0], os.getcwd(), sorted(os.environ.items()), __name__, sorted(vars(__main__)))
print(sys.stdin.read() == "", "transformers" in sys.modules, os.environ["OWN"])
sys.stderr.write("beside\\n")
"""
OWN = {"OWN": "ä", "LC_ALL": "C.UTF-8"}
ENDS = ["sys.exit(75)", "sys.exit('no')", "1 / 0", "os.kill(os.getpid(), 9)", "os._exit(3)", "pass"]


@pytest.fixture(scope="module")
def warm(training_python: str) -> Generator[WarmPython]:
    """An interpreter that is forked."""
    python = WarmPython(training_python)
    yield python
    python.close()


def ends(warm: WarmPython, arguments: list[str], folder: Path) -> tuple[str, str, int]:
    """Return what a program prints, what it prints beside that, and its exit code."""
    with TemporaryFile() as errors:
        process = warm.start(arguments, folder, OWN, errors)
        assert process.stdout is not None
        with process.stdout as printed:
            text = printed.read()
        code = process.wait()
        errors.seek(0)
        return text, errors.read().decode(), code


@pytest.mark.parametrize("end", ENDS)
def test_a_forked_program_does_and_ends_as_a_started_one(
    warm: WarmPython, training_python: str, tmp_path: Path, end: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{TELLS}\nsys.stdout.flush()\n{end}\n", encoding="utf-8")
    arguments = [str(script), "one", "two"]
    started = subprocess.run(
        [training_python, *arguments],
        cwd=tmp_path,
        env=OWN,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    text, errors, code = ends(warm, arguments, tmp_path)
    assert code == started.returncode
    assert text == started.stdout
    assert errors.splitlines()[:1] == started.stderr.splitlines()[:1] == ["beside"]
    assert errors.splitlines()[-1] == started.stderr.splitlines()[-1]
