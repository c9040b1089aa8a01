import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.backends.desk import Desk, python_path

MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="session")
def shared_envs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("envs")


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an operator's shell may hold, on a machine whose GPUs are out of sight."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": python_path(),
        "SOME_API_KEY": "not for jobs",
        "UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv")),
    }


@pytest.fixture
def make_desk(tmp_path: Path, shared_envs: Path, environ: dict[str, str]) -> Generator[MakeDesk]:
    """Make desks whose jobs share the Python environments of the whole session."""
    made: list[Desk] = []

    def make(name: str = "home", *, grace_s: float = 1, **variables: str) -> Desk:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        if not (home / "envs").exists():
            (home / "envs").symlink_to(shared_envs)
        made.append(Desk(home, environ | variables, grace_s))
        return made[-1]

    yield make
    for desk in made:
        desk.clear()


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()
