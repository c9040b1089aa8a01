"""What goes wrong inside the server is told without its inner words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.conftest import Era
from tests.face.answer import answer_of
from tests.face.conftest import Refuses
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings
from trl_mcp.tools import TOOLS

pytestmark = pytest.mark.anyio


class BrokenEnviron(Mapping[str, str]):
    """An environment that fails when a call asks it for the token."""

    def __getitem__(self, name: str) -> str:
        raise RuntimeError("the password is sesame")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def test_a_crash_is_told_without_its_words(home: Path, era: Era, caplog: pytest.LogCaptureFixture) -> None:
    server = TrainingServer(Settings(home, environ=BrokenEnviron()))
    async with Client(server, mode=era) as client:
        answer = answer_of(await client.call_tool("job_status", {}))
    assert answer.is_error
    assert answer.text == "job_status failed inside the server; its log says why. The call may be repeated."
    assert "sesame" in caplog.text


async def test_the_server_answers_on_after_a_crash(home: Path) -> None:
    async with Client(TrainingServer(Settings(home, environ=BrokenEnviron()))) as client:
        await client.call_tool("job_status", {})
        assert len((await client.list_tools()).tools) == len(TOOLS)


async def test_a_home_that_cannot_be_written_is_told_with_what_to_do(
    refuses: Refuses, training: dict[str, Any], home: Path
) -> None:
    (home / "plans").write_text("a file where a folder should be")
    words = ["The plan could not be kept", "TRL_MCP_HOME", "Nothing was started."]
    await refuses(words, "submit_training", **training, dry_run=True)


async def test_an_error_on_several_lines_comes_as_one(refuses: Refuses, training: dict[str, Any]) -> None:
    answer = await refuses(
        ['"model"', "first second third"], "submit_training", **training | {"model": "first\r\nsecond\rthird"}
    )
    assert "\n" not in answer.text
