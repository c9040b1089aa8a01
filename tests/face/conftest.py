"""What the tests of the face share: asking a tool, and what every refusal must keep to."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAKE_TOKEN, Connect, WriteRows
from tests.face.answer import Answer, answer_of
from trl_mcp.backends.local import LocalBackend

Ask = Callable[..., Awaitable[Answer]]
Refuses = Callable[..., Awaitable[Answer]]


@pytest.fixture
async def ask(connect_newest: Connect, home: Path) -> AsyncGenerator[Ask]:
    """Ask a tool over MCP. A job that is started in spite of all is stopped at the end."""

    async def call(tool: str, /, **arguments: Any) -> Answer:
        async with connect_newest() as client:
            return answer_of(await client.call_tool(tool, arguments))

    yield call
    backend = LocalBackend(home, environ={})
    for job in await backend.list(limit=100):
        await backend.cancel(job.id)


@pytest.fixture
def training(model_folder: Path, write_rows: WriteRows) -> dict[str, Any]:
    """Return arguments of submit_training that are right."""
    return {"method": "sft", "model": str(model_folder), "dataset": str(write_rows())}


@pytest.fixture
def refuses(ask: Ask, home: Path) -> Refuses:
    """Ask a tool that must refuse in these words, start nothing, write no job and tell nothing of the machine."""

    async def call(words: list[str], tool: str, /, **arguments: Any) -> Answer:
        answer = await ask(tool, **arguments)
        assert answer.is_error or answer.result["status"] == "refused", answer.text
        assert [word for word in words if word not in answer.text] == [], answer.text
        assert [word for word in (str(home), FAKE_TOKEN, "Traceback", "pydantic") if word in answer.text] == []
        assert list(home.glob("jobs/*")) == []
        return answer

    return call


@pytest.fixture
def refuses_training(refuses: Refuses, training: dict[str, Any], home: Path) -> Refuses:
    """Ask for a training that is right but for these arguments; nothing at all may be written."""

    async def call(*words: str, **arguments: Any) -> Answer:
        answer = await refuses([*words, "Nothing was started."], "submit_training", **training | arguments)
        assert [path.name for path in home.iterdir()] == ["envs"]
        return answer

    return call
