"""One Python environment per header: made once, from the right wheels, never with CUDA for a machine without it."""

import os
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uv
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import platform_tags

from tests.backends.conftest import MakeDesk
from tests.backends.desk import HEADER, Desk, until
from tests.backends.fake_index import FakeIndex, make_wheel
from trl_mcp.backends.base import Stage
from trl_mcp.environments import prepare, read_header, with_cpu_torch, write_header
from trl_mcp.errors import NotPossible
from trl_mcp.wheel_folders import find_wheels, write_index

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's own wheels hold no CUDA")
PYTHON_TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"


def header(*dependencies: str, more: str = "") -> str:
    """Return a script header that asks for these packages."""
    lines = ['requires-python = ">=3.11"', f"dependencies = {list(dependencies)}", *more.splitlines()]
    return "\n".join(["# /// script", *(f"# {line}".rstrip() for line in lines), "# ///", ""])


@dataclass
class Workshop:
    """A home, an index where torch needs CUDA, one with its CPU builds, and the variables that name them."""

    home: Path
    index: FakeIndex
    cpu_index: FakeIndex
    environ: dict[str, str]

    def prepare(self, script: str, **variables: str) -> Path:
        """Make the script's environment."""
        return prepare(script, self.home, self.environ | variables)

    def folders(self) -> list[Path]:
        """Return the folders of the environments made so far."""
        return list((self.home / "envs").iterdir())


@pytest.fixture
def workshop(tmp_path: Path, environ: dict[str, str]) -> Workshop:
    index, cpu_index = FakeIndex(tmp_path / "index"), FakeIndex(tmp_path / "cpu index")
    index.add("nvidia-cublas", "13.0")
    index.add("torch", "2.15.0", ["nvidia-cublas"])
    index.add("torch", "2.13.0", ["nvidia-cublas"])
    index.add("toy-trl", "1.0", ["torch"])
    index.add("plain", "1.0")
    cpu_index.add("torch", "2.15.0+cpu")
    variables = {
        "UV_DEFAULT_INDEX": index.url,
        "UV_INDEX": f"pytorch-cpu={cpu_index.url}",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    return Workshop(tmp_path / "home", index, cpu_index, environ | variables)


def ask(python: Path, code: str) -> str:
    """Return what the interpreter prints."""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def packages(python: Path) -> set[str]:
    """Return the names of the packages an environment holds."""
    code = "from importlib.metadata import distributions\nfor d in distributions(): print(d.metadata['Name'])"
    return set(ask(python, code).split())


def test_a_header_gets_an_environment_with_its_packages(workshop: Workshop) -> None:
    python = workshop.prepare(header("plain"))

    assert ask(python, "import plain; print(plain.version)") == "1.0"


def test_the_second_use_of_a_header_asks_nobody(workshop: Workshop) -> None:
    first = workshop.prepare(header("plain"))

    assert workshop.prepare(header("plain"), UV_CACHE_DIR="/nowhere", PATH="") == first


def test_an_environment_that_was_removed_is_made_again(workshop: Workshop) -> None:
    first = workshop.prepare(header("plain"))
    first.unlink()

    assert ask(workshop.prepare(header("plain")), "import plain; print(plain.version)") == "1.0"


def test_a_sync_that_was_killed_halfway_is_repaired(workshop: Workshop) -> None:
    python = workshop.prepare(header("plain"))
    folder = workshop.folders()[0]
    Path(ask(python, "import plain; print(plain.__file__)")).unlink()
    (folder / "ready.json").unlink()
    (folder / "begun").touch()

    assert ask(workshop.prepare(header("plain")), "import plain; print(plain.version)") == "1.0"


def test_the_table_for_hugging_face_jobs_and_the_layout_make_no_other_environment(workshop: Workshop) -> None:
    tables = "[tool.hf-jobs]\nflavor = 't4-small'\n[tool.hf-jobs.env]\nA = '[x]'\n[[tool.hf-jobs.volumes]]\na = 1"
    texts = [header("plain"), header("plain", more=tables), header("plain", more="# a comment").replace("\n", "\r\n")]

    assert len({workshop.prepare(text + "print()\n") for text in texts}) == 1
    assert len(workshop.folders()) == 1


def test_what_else_tools_are_told_makes_another_environment(workshop: Workshop) -> None:
    workshop.prepare(header("plain"))
    workshop.prepare(header("plain", more="[tool.uv]\nprerelease = 'allow'"))

    assert len(workshop.folders()) == 2


def test_two_that_need_one_environment_at_once_make_it_once(workshop: Workshop) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(workshop.prepare, [header("plain")] * 2))

    assert made[0] == made[1]
    assert len(workshop.folders()) == 1


def test_two_jobs_with_one_header_share_an_environment(make_desk: MakeDesk) -> None:
    desk = make_desk()
    (desk.home / "envs").unlink()
    where = "import sys\nprint(sys.prefix)\n"
    jobs = [desk.ended(job) for job in (desk.start(where), desk.start(where))]

    assert desk.tail(jobs[0]) == desk.tail(jobs[1])
    assert len(list((desk.home / "envs").iterdir())) == 1


@linux
def test_torch_comes_without_cuda_where_there_is_no_gpu(workshop: Workshop) -> None:
    python = workshop.prepare(header("torch", "plain"))

    assert packages(python) == {"torch", "plain"}
    assert ask(python, "import torch; print(torch.version)") == "2.15.0+cpu"


@linux
def test_torch_that_another_package_brings_comes_without_cuda_too(workshop: Workshop) -> None:
    with pytest.raises(NotPossible):  # the real index, and no network
        workshop.prepare(header("toy-trl"), UV_INDEX="", UV_OFFLINE="1")
    asked = read_header((workshop.folders()[0] / "header.py").read_text())

    assert asked["dependencies"] == ["toy-trl", "torch"]
    assert asked["tool"]["uv"]["sources"] == {"torch": {"index": "pytorch-cpu"}}


def test_torch_is_left_alone_where_there_is_a_gpu(workshop: Workshop, tmp_path: Path) -> None:
    driver = _driver(tmp_path)
    variables = {"PATH": f"{driver}:{workshop.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0", "UV_INDEX": ""}

    assert "nvidia-cublas" in packages(workshop.prepare(header("torch"), **variables))


@linux
def test_an_environment_without_cuda_is_made_anew_when_a_gpu_comes(workshop: Workshop, tmp_path: Path) -> None:
    workshop.prepare(header("torch"))
    driver = _driver(tmp_path)
    variables = {"PATH": f"{driver}:{workshop.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0", "UV_INDEX": ""}

    assert "nvidia-cublas" in packages(workshop.prepare(header("torch"), **variables))


def _driver(folder: Path) -> Path:
    program = folder / "driver" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-aa)'\n")
    program.chmod(0o755)
    return program.parent


@linux
def test_wheels_in_pips_folders_stand_in_for_the_index_of_cpu_builds_that_a_header_names(
    workshop: Workshop, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "torch", "2.13.0+mine", tag=f"{PYTHON_TAG}-{PYTHON_TAG}-{next(platform_tags())}")
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nfind-links = {wheels.as_uri()}\n")
    named = write_header(with_cpu_torch(read_header(header("torch", "plain"))))
    python = workshop.prepare(named, PIP_CONFIG_FILE=str(config), UV_INDEX="")

    assert ask(python, "import importlib.metadata as m; print(m.version('torch'))") == "2.13.0+mine"


@linux
def test_wheels_in_pips_folders_win_for_what_other_packages_bring_as_well(workshop: Workshop, tmp_path: Path) -> None:
    wheels = tmp_path / "wheel house"
    wheels.mkdir()
    make_wheel(wheels, "torch", "2.13.0+mine", tag=f"{PYTHON_TAG}-{PYTHON_TAG}-{next(platform_tags())}")
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nfind-links = {wheels.as_uri()}\n")
    python = workshop.prepare(header("toy-trl", "plain"), PIP_CONFIG_FILE=str(config))

    assert packages(python) == {"torch", "toy-trl", "plain"}
    assert ask(python, "import torch; print(torch.version)") == "2.13.0+mine"


def test_a_wheel_that_the_header_rules_out_is_left_out(workshop: Workshop, tmp_path: Path) -> None:
    make_wheel(tmp_path, "plain", "0.5")
    python = workshop.prepare(header("plain>=1"), PIP_FIND_LINKS=str(tmp_path))

    assert ask(python, "import plain; print(plain.version)") == "1.0"


@linux
def test_a_torch_wheel_for_no_python_that_the_header_allows_is_left_out(workshop: Workshop, tmp_path: Path) -> None:
    make_wheel(tmp_path, "torch", "2.13.0+old", tag="cp36-cp36m-any")
    python = workshop.prepare(header("torch"), PIP_FIND_LINKS=str(tmp_path))

    assert ask(python, "import torch; print(torch.version)") == "2.15.0+cpu"


def test_only_folders_of_this_machine_are_looked_into(tmp_path: Path) -> None:
    make_wheel(tmp_path, "plain", "0.5")
    (tmp_path / "not-a-wheel.whl").touch()
    links = f"https://example.org/wheels {tmp_path} {tmp_path / 'missing'}"

    found = find_wheels({"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": links, "PATH": ""})
    assert [(wheel.name, str(wheel.version)) for wheel in found] == [("plain", "0.5")]


@linux
def test_with_the_wheels_that_pip_has_here_no_run_on_a_cpu_asks_for_cuda(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    torch = [wheel for wheel in find_wheels(environ) if wheel.name == "torch"]
    if not torch:
        pytest.skip("pip has no folder with torch here, and the PyTorch index may be out of reach")
    (tmp_path / "script.py").write_text(header("trl[peft]"))
    environ["UV_INDEX"] = write_index(torch, tmp_path / "wheels")
    python = max(torch[0].pythons(), default="3.11")
    command = [uv.find_uv_bin(), "sync", "--dry-run", "--python", python, "--script", str(tmp_path / "script.py")]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stderr

    assert f"torch=={torch[0].version}" in said
    assert "nvidia" not in said


def test_a_package_that_does_not_exist_is_named_and_no_folder_of_the_machine(workshop: Workshop) -> None:
    with pytest.raises(NotPossible) as raised:
        workshop.prepare(header("plain==99"))

    assert raised.value.what.startswith("The environment could not be made: ")
    assert "plain==99" in raised.value.what
    assert "/" not in raised.value.what
    assert raised.value.__notes__


def test_a_job_whose_environment_cannot_be_made_says_why(make_desk: MakeDesk, workshop: Workshop) -> None:
    desk = make_desk(**workshop.environ)
    job = desk.run("", script=header("plain==99"))

    assert (job.stage, job.exit_code, job.started_at) == (Stage.ERROR, None, None)
    assert job.message.startswith("The environment could not be made: ")
    assert "plain==99" in job.message
    assert any("plain==99" in line for line in desk.tail(job))


def test_building_an_environment_sees_neither_secrets_nor_the_jobs_variables(desk: Desk) -> None:
    spy = desk.home / "bin"
    spy.mkdir()
    (spy / "pip").write_text(f"#!/bin/sh\nenv > {spy}/seen\n")
    (spy / "pip").chmod(0o755)
    watched = Desk(desk.home, desk.environ | {"PATH": f"{spy}:{desk.environ['PATH']}"})
    script = header("never-there-at-all")
    watched.run("", script=script, secrets={"HF_TOKEN": "hf_secret"}, env={"OTHER": "private"})

    seen = until(lambda: (spy / "seen").read_text() if (spy / "seen").exists() else "", "pip was asked")
    assert "hf_secret" not in seen
    assert "private" not in seen


@pytest.mark.parametrize(
    "text",
    [
        header("plain") + header("plain"),
        "# /// script\n# dependencies = [\n# ///\n",
        "# /// script\n# tool = 3\n# ///\n",
        "# /// script\n# dependencies = 'plain'\n# ///\n",
    ],
)
def test_a_header_that_makes_no_sense_is_told_of(workshop: Workshop, text: str) -> None:
    with pytest.raises(NotPossible):
        workshop.prepare(text)
    assert not workshop.home.exists()


def test_a_script_without_a_header_needs_nothing() -> None:
    assert read_header("print(1)\n") == {"dependencies": []}


def _with_more(more: str) -> dict[str, Any]:
    return with_cpu_torch(read_header(header("torch", "torchvision>=0.1", "plain", more=more)))


@pytest.mark.parametrize(
    "more",
    [
        "",
        "[tool.uv]\nprerelease = 'allow'",
        "[tool.uv.sources]\nplain = { path = 'x' }",
        "[[tool.uv.index]]\nname = 'mine'\nurl = 'https://example.org'",
        "[tool.uv]\nsources = { plain = { path = 'x' } }\nindex = [{ name = 'mine', url = 'https://example.org' }]",
        "[tool.other]\nx = 1",
    ],
)
def test_the_cpu_index_is_added_to_what_the_header_says(more: str) -> None:
    before, after = read_header(header("torch", "torchvision>=0.1", "plain", more=more)), _with_more(more)
    uv_before, uv_after = before.get("tool", {}).get("uv", {}), after["tool"]["uv"]
    cpu = {"index": "pytorch-cpu"}

    assert uv_after["sources"] == uv_before.get("sources", {}) | {"torch": cpu, "torchvision": cpu}
    assert uv_after["index"][:-1] == uv_before.get("index", [])
    assert uv_after["index"][-1]["url"] == "https://download.pytorch.org/whl/cpu"
    assert after["tool"].get("other") == before.get("tool", {}).get("other")


def test_a_source_that_the_header_names_itself_is_kept() -> None:
    sources = _with_more("[tool.uv.sources]\ntorch = { url = 'https://example.org/torch.whl' }")["tool"]["uv"][
        "sources"
    ]

    assert sources["torch"] == {"url": "https://example.org/torch.whl"}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.datetimes() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_header_reads_back_as_it_was_written(content: dict[str, Any]) -> None:
    lines = write_header(content).split("\n")

    assert tomllib.loads("\n".join(line[2:] for line in lines[1:-2])) == content
    assert all(line.startswith("# ") for line in lines[:-1])


def test_the_header_alone_is_a_script_like_any_other() -> None:
    assert read_header(write_header(read_header(HEADER))) == read_header(HEADER)
