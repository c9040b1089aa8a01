"""What the data-set viewer knows: taken where it is quick, of the right commit and to be trusted; never waited for."""

import json
import time
from collections.abc import AsyncGenerator

import pytest

from tests.hf.desk import Desk, quickly
from tests.hub import Fault
from trl_mcp.errors import InvalidArguments
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import HubFiles, TextLengths
from trl_mcp.hub.viewer import Viewer
from trl_mcp.settings import Settings

pytestmark = pytest.mark.anyio
ROWS = "".join(json.dumps({"text": "x" * n, "n": n}) + "\n" for n in range(101))


@pytest.fixture
async def viewing(desk: Desk) -> AsyncGenerator[Hub]:
    async with Hub(desk.emulated.endpoint, viewer=desk.emulated.viewer_endpoint, sleep=quickly) as opened:
        yield opened


async def listed(desk: Desk, repo: str = "acme/d", **how: bool | str) -> HubFiles:
    files = {"train.jsonl": ROWS, "test.jsonl": ROWS.partition("\n")[0]}
    sha = desk.emulated.add_repo(repo, files, repo_type="dataset", **how)  # type: ignore[arg-type]  # private, gated
    token = desk.emulated.tokens[repo.partition("/")[0]] if how else None
    return await desk.hub.dataset_files(token, repo, sha)


async def test_rows_bytes_and_text_lengths_of_a_split_are_known(desk: Desk, viewing: Hub) -> None:
    facts = await viewing.viewer(None, await listed(desk), 10)
    assert facts is not None
    assert (facts.rows, facts.columns, facts.is_partial) == (101, 2, False)
    assert facts.memory_bytes > facts.parquet_bytes > 0
    assert dict(facts.texts) == {"text": TextLengths(shortest=0, median=50, mean=50, longest=100)}


async def test_an_answer_for_another_commit_is_no_answer(desk: Desk, viewing: Hub) -> None:
    old = await listed(desk)
    desk.emulated.freeze_viewer("acme/d")
    sha = desk.emulated.commit_files("acme/d", {"train.jsonl": ROWS * 2}, repo_type="dataset")
    new = await desk.hub.dataset_files(None, "acme/d", sha)
    assert await viewing.viewer(None, new, 10) is None
    assert await viewing.viewer(None, old, 10) is not None


async def test_a_slow_viewer_is_not_waited_for(desk: Desk, viewing: Hub) -> None:
    files = await listed(desk)
    desk.emulated.faults.add(Fault("GET", "/datasets-server/statistics", kind="slow", delay_s=20))
    before = time.monotonic()
    facts = await viewing.viewer(None, files, 0.5)
    assert time.monotonic() - before < 5
    assert facts is None or (facts.rows, facts.texts) == (101, {})
    desk.emulated.faults.add(Fault("GET", "/datasets-server/*", kind="slow", delay_s=20, times=2))
    assert await viewing.viewer(None, files, 0.1) is None


@pytest.mark.parametrize("kind", ["status", "drop_before", "drop_after"])
async def test_a_failing_viewer_is_asked_once_and_fails_nothing(desk: Desk, viewing: Hub, kind: str) -> None:
    files = await listed(desk)
    code = "ResponseNotReadyError"
    fault = Fault("GET", "/datasets-server/*", kind=kind, error_code=code, times=9)  # type: ignore[arg-type]  # a kind
    desk.emulated.faults.add(fault)
    desk.emulated.clear_requests()
    assert await viewing.viewer(None, files, 10) is None
    assert len(desk.emulated.requests("/datasets-server/*")) == 2


async def test_private_and_gated_data_sets_are_shown_to_their_readers_only(desk: Desk, viewing: Hub) -> None:
    desk.emulated.add_user("paula", is_pro=True)
    for repo, how in (("paula/private", {"private": True}), ("paula/gated", {"gated": "manual"})):
        files = await listed(desk, repo, **how)
        assert await viewing.viewer(desk.emulated.tokens["paula"], files, 10) is not None
        assert await viewing.viewer(desk.emulated.tokens["alice"], files, 10) is None
        assert await viewing.viewer(None, files, 10) is None


async def test_a_viewer_on_another_host_gets_no_token(desk: Desk) -> None:
    files = await listed(desk)
    elsewhere = desk.emulated.viewer_endpoint.replace("127.0.0.1", "localhost")
    async with Hub(desk.emulated.endpoint, viewer=elsewhere) as viewing:
        assert await viewing.viewer(desk.emulated.tokens["alice"], files, 10) is not None
    asked = desk.emulated.requests("/datasets-server/*")
    assert [request.has_token for request in asked] == [False, False]


async def test_a_hub_of_ones_own_has_no_viewer_unless_its_address_is_set(desk: Desk) -> None:
    assert await desk.hub.viewer(desk.emulated.tokens["alice"], await listed(desk), 10) is None
    assert not desk.emulated.requests("/datasets-server/*")
    assert Viewer("https://huggingface.co").address == "https://datasets-server.huggingface.co"
    assert Viewer("https://hub.example").address is None


def test_the_operator_sets_the_viewers_address() -> None:
    assert Settings.from_environ({}).viewer_url is None
    assert Settings.from_environ({"TRL_MCP_VIEWER_URL": "https://v.example/"}).viewer_url == "https://v.example"
    with pytest.raises(InvalidArguments, match="TRL_MCP_VIEWER_URL is 'viewer'"):
        Settings.from_environ({"TRL_MCP_VIEWER_URL": "viewer"})
