"""No token in anything that can be read: errors, logs, scripts, labels, environments, pages."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.hf.desk import Desk, spec
from tests.hub import Fault
from trl_mcp.errors import InvalidArguments, TrlMcpError

pytestmark = pytest.mark.anyio
SECRET = "wandb-" + "k" * 30


async def attempts(desk: Desk, tmp_path: Path) -> list[str]:
    """Let everything go wrong and return what was said."""
    (tmp_path / "rows.jsonl").write_text("{}", encoding="utf-8")

    async def silent(*_: Any) -> None:
        pass

    said: list[str] = []
    for user in ("alice", "alice-read", "alice-fine", "broken", "bob"):
        token, backend = desk.emulated.tokens[user], desk.backend_of(user)
        desk.emulated.faults.add(Fault("POST", "/api/jobs/*", "drop_before", times=4))
        calls = [
            lambda backend=backend: backend.submit(spec(hardware="none")),
            lambda backend=backend: backend.submit(spec()),
            lambda backend=backend: backend.inspect("0" * 24),
            lambda backend=backend: backend.logs("0" * 24),
            lambda token=token: desk.hub.model(token, "bob/none"),
            lambda token=token: desk.hub.output_repo(token, "bob/none"),
            lambda token=token: desk.hub.upload_data(token, "bob", tmp_path / "rows.jsonl", silent),
        ]
        for ask in calls:
            try:
                said.append(repr(await ask()))
            except TrlMcpError as error:
                said += [str(error), repr(error.__cause__), repr(error.__context__)]
    return said


async def test_nothing_that_can_be_read_holds_a_token_or_secret(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = desk.emulated.tokens["alice"]
    given = spec("import os; print(len(os.environ['HF_TOKEN']), 'HF_TOKEN' in os.environ)")
    job = await desk.start(script=given.script, secrets={"HF_TOKEN": token, "WANDB_API_KEY": SECRET})
    done = await desk.ended(job)
    piece = await desk.backend.logs(done.id)
    assert piece.lines == [f"{len(token)} True"]
    assert set(desk.emulated.jobs()[0]["secrets"]) == {"HF_TOKEN", "WANDB_API_KEY"}
    said = await attempts(desk, tmp_path)
    everything = "\n".join(
        [
            *said,
            json.dumps(desk.emulated.jobs()),
            *[line for made in desk.emulated.jobs() for line in desk.emulated.job_log(made["id"])],
            repr(done),
            repr(desk.hub.__dict__),
            repr(spec(secrets={"HF_TOKEN": token})),
            await desk.backend.script(done.id),
            caplog.text,
            repr(desk.emulated.requests()),
        ]
    )
    for secret in (*desk.emulated.tokens.values(), SECRET):
        assert secret not in everything
    assert "@example.org" not in everything


async def test_a_secret_in_the_environment_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidArguments, match="secret's value") as caught:
        await desk.backend.submit(spec(env={"A": f"key={SECRET}"}, secrets={"WANDB_API_KEY": SECRET}))
    assert SECRET not in str(caught.value)
    assert desk.emulated.jobs() == []
