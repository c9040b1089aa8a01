"""The token worker: no secrets, one process, gone with the server, and honest about what it is waiting for."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import psutil
import pytest

from tests.templates.count_tokens_desk import make_tokenizer, token_python
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.errors import NotPossible

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def tokens_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tokens_home")
    token_python(home)
    return home


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "count_tokens.py" in " ".join(child.cmdline())]


async def test_the_process_knows_no_token_stays_for_all_questions_and_goes_with_the_server(
    tokens_home: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    folder = str(make_tokenizer(tmp_path / "model", "bpe"))
    async with TokenWorker(tokens_home, environ) as worker:
        assert children() == []
        await worker.ask("open", 60, folder=folder)
        (process,) = children()
        assert not {"HF_TOKEN", "UV_INDEX", "TRL_MCP_HOME"} & process.environ().keys()
        assert environ["HF_TOKEN"] not in process.environ().values()
        async with anyio.create_task_group() as together:
            for _ in range(4):
                together.start_soon(ask_open, worker, folder)
        assert children() == [process]
    assert not process.is_running()


async def ask_open(worker: TokenWorker, folder: str) -> Any:
    return await worker.ask("open", 60, folder=folder)


async def test_a_process_that_was_killed_is_followed_by_another(
    tokens_home: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    folder = str(make_tokenizer(tmp_path / "model", "bpe"))
    async with TokenWorker(tokens_home, environ) as worker:
        await ask_open(worker, folder)
        (first,) = children()
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
        with suppress(NotPossible):  # the death may be seen in the middle of this question
            await ask_open(worker, folder)
        assert (await ask_open(worker, folder))["eos_token"] == "</s>"
        assert [child.pid for child in children()] != [first.pid]


async def test_an_environment_that_is_not_ready_in_time_is_told_and_goes_on_being_made(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    async with TokenWorker(home, {**environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "none")}) as worker:
        with pytest.raises(NotPossible, match="is still being made"):
            await worker.ask("open", 0.01, folder=str(tmp_path))
        with pytest.raises(NotPossible, match="The environment could not be made"):
            await worker.ask("open", 60, folder=str(tmp_path))


async def test_a_folder_without_a_tokenizer_is_told(
    tokens_home: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    async with TokenWorker(tokens_home, environ) as worker:
        with pytest.raises(NotPossible, match="Tokens cannot be counted"):
            await worker.ask("open", 60, folder=str(tmp_path))
        model = make_tokenizer(tmp_path / "model", "bpe")
        with pytest.raises(NotPossible, match="there is no method 'dop'"):
            await worker.ask("measure", 60, folder=str(model), method="dop", rows=[], limits=[None])


async def test_a_tokenizer_whose_files_change_is_opened_again(
    tokens_home: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    make_tokenizer(folder, "bpe")
    async with TokenWorker(tokens_home, environ) as worker:
        assert not (await ask_open(worker, str(folder)))["chat_template"]
        make_tokenizer(folder, "bpe", "{{ messages[0]['content'] }}")
        assert (await ask_open(worker, str(folder)))["chat_template"]


async def test_a_server_that_ends_while_the_process_starts_leaves_none_behind(
    tokens_home: Path, environ: Mapping[str, str]
) -> None:
    own = psutil.Process()
    before = {child.pid for child in own.children()}
    for _ in range(5):
        async with TokenWorker(tokens_home, environ) as worker:
            worker.warm_up()
            with anyio.fail_after(60):
                while {child.pid for child in own.children()} <= before:
                    await anyio.lowlevel.checkpoint()
    assert {child.pid for child in own.children()} <= before
