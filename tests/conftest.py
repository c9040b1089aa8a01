"""What all tests share: a home of their own, a server to talk to, folders that look like models, a Python that trains."""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import hypothesis
import pytest
from mcp import Client

from tests.templates.count_tokens_desk import token_python
from trl_mcp import environments
from trl_mcp.app import TrainingServer
from trl_mcp.backends.dashboard import close_dashboard
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings

Era = Literal["auto", "legacy"]
Connect = Callable[[], AbstractAsyncContextManager[Client]]
WriteRows = Callable[..., Path]

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# For each set of pins a template that has it, and the variable that names an environment made elsewhere.
ENVIRONMENTS = {
    "sft": "TRAINING_PYTHON",
    "ppo": "TRAINING_PYTHON_PPO",
    "prm": "TRAINING_PYTHON_PRM",
    "convert_gguf": "TRAINING_PYTHON_GGUF",
    "count_tokens": "TOKENS_PYTHON",
}
INHERITED = ("PATH", "LANG", "LC_ALL")
# Stands where the interpreter of what counts tokens would: it answers every question with an error.
NO_COUNTER = """#!/bin/sh
n=0
while read -r line; do
  n=$((n + 1))
  echo "{\\"id\\": $n, \\"error\\": \\"not in this test\\"}"
done
"""
FAKE_TOKEN = "hf_" + "fAkEtOkEn0" * 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let whole stories come first, then what else trains: no long file is left over for one worker alone."""
    training = {item.path for item in items if item.get_closest_marker("training")}
    items.sort(key=lambda item: (item.path not in training, "story" not in item.path.parts))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Generator[Path]:
    """A home that is not there yet; a dashboard that a job has got is told to end."""
    home = tmp_path / "home"
    yield home
    close_dashboard(home, seconds=0)


@pytest.fixture
def environ(home: Path) -> Mapping[str, str]:
    """What an operator's shell holds, with a token that must be seen nowhere; the Hub is out of reach."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_TOKEN": FAKE_TOKEN, "TRL_MCP_HOME": str(home)}


@pytest.fixture
def settings(environ: Mapping[str, str], home: Path) -> Settings:
    """The operator's settings, with a home in which tokens cannot be counted: it takes a second in every test."""
    without_counting(home)
    return Settings.from_environ(environ)


def without_counting(home: Path) -> None:
    """Let tokens not be counted by servers with this home."""
    counter = home / "envs" / "no-counter"
    counter.parent.mkdir(parents=True, exist_ok=True)
    counter.write_text(NO_COUNTER, encoding="utf-8")
    counter.chmod(0o755)
    adopt(home, template_source("count_tokens"), str(counter))


@pytest.fixture(scope="session")
def tokens_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose `envs` holds the environment that counts tokens; TOKENS_PYTHON names one made elsewhere."""
    home = tmp_path_factory.mktemp("tokens_home")
    token_python(home)
    return home


@pytest.fixture
def counting_settings(environ: Mapping[str, str], home: Path, tokens_home: Path) -> Settings:
    """The operator's settings, with a home in which tokens can be counted."""
    home.mkdir()
    (home / "envs").symlink_to(tokens_home / "envs")
    return Settings.from_environ(environ)


@pytest.fixture(params=["auto", "legacy"])
def era(request: pytest.FixtureRequest) -> Era:
    """Each of the two protocol eras: the newest revision, and the one with a handshake."""
    return request.param


@pytest.fixture
def connect(settings: Settings, era: Era) -> Connect:
    """Open a client on a server of these settings, in each protocol era."""
    return lambda: Client(TrainingServer(settings), mode=era)


@pytest.fixture
def connect_newest(settings: Settings) -> Connect:
    """Open a client on a server of these settings, in the newest protocol era."""
    return lambda: Client(TrainingServer(settings))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Return a folder that looks like a model to the server; it has no weights worth the name."""
    return write_model(tmp_path / "models" / "tiny")


def write_model(folder: Path) -> Path:
    """Write the files that every model folder has."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen3"}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (folder / "model.safetensors").touch()
    return folder


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Write rows as JSON Lines; without any, three prompts with completions."""

    def write(name: str = "data/train.jsonl", rows: list[dict[str, Any]] | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"prompt": f"{n} + 1?", "completion": f"{n + 1}"} for n in range(3)] if rows is None else rows
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def training_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose `envs` holds the environment that trains.

    TRAINING_PYTHON names the interpreter of such an environment where one is there already; TRAINING_PYTHON_PPO and
    TRAINING_PYTHON_PRM name those of the methods that pin an older TRL, TRAINING_PYTHON_GGUF the one that converts.
    """
    home = tmp_path_factory.mktemp("training_home")
    for template, variable in ENVIRONMENTS.items():
        if python := os.environ.get(variable):
            adopt(home, template_source(template), python)
    environments.prepare(template_source("sft"), home, os.environ)
    return home


@pytest.fixture(scope="session")
def pinned_python(training_home: Path) -> Callable[[str], str]:
    """Return what finds the interpreter of an environment that has what a template's header names."""
    return lambda template: str(environments.prepare(template_source(template), training_home, os.environ))


@pytest.fixture(scope="session")
def training_python(pinned_python: Callable[[str], str]) -> str:
    """Return the interpreter of an environment that has what the header of most templates names."""
    return pinned_python("sft")


def adopt(home: Path, script: str, python: str) -> None:
    """Let `prepare` find an environment that was made elsewhere."""
    header = environments.write_header(environments.read_header(script))
    folder = home / "envs" / hashlib.sha256(header.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ready.json").write_text(json.dumps({"python": python, "cpu_only": False}), encoding="utf-8")
