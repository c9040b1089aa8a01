"""Data files that go up, and what a bucket keeps of runs."""

import hashlib
import secrets
from pathlib import Path

import pytest

from tests.hf.desk import Desk
from tests.hub import Fault
from trl_mcp.errors import HubError, HubUnreachable, InvalidArguments, NotPossible
from trl_mcp.hub.storage import data_path, data_repo

pytestmark = pytest.mark.anyio
REPO = "alice/trl-mcp-data"


class Told:
    """Keeps what progress was reported."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def __call__(self, _done: float, _total: float | None, message: str) -> None:
        self.messages.append(message)


@pytest.mark.parametrize("name", ["rows.jsonl", "weights of words.parquet"])
async def test_a_file_goes_up_once_under_its_content(desk: Desk, tmp_path: Path, name: str) -> None:
    content = secrets.token_bytes(100_000)
    (tmp_path / name).write_bytes(content)
    token, told = desk.emulated.tokens["alice"], Told()
    expected = f"{hashlib.sha256(content).hexdigest()}/{name.replace(' ', '_')}"
    assert await desk.hub.upload_data(token, "alice", tmp_path / name, told) == expected
    assert desk.emulated.read_file(REPO, expected, repo_type="dataset") == content
    assert told.messages[0] == f"uploading {name} (0.1 MB) to {REPO}"
    desk.emulated.clear_requests()
    again = Told()
    assert await desk.hub.upload_data(token, "alice", tmp_path / name, again) == expected
    assert (again.messages, desk.emulated.requests("*/commit/*")) == ([], [])
    view = await desk.hub.dataset(token, REPO)
    assert view.private


async def test_two_files_of_one_name_lie_side_by_side(desk: Desk, tmp_path: Path) -> None:
    paths: list[str] = []
    for content in ("a", "b"):
        (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
        paths.append(
            await desk.hub.upload_data(desk.emulated.tokens["alice"], "alice", tmp_path / "rows.jsonl", Told())
        )
    assert set(paths) <= set(desk.emulated.list_files(REPO, repo_type="dataset"))
    assert len(set(paths)) == 2


def test_the_place_of_a_file_is_known_before_it_is_uploaded() -> None:
    assert data_repo("acme") == "acme/trl-mcp-data"
    assert data_path("0" * 64, "a ä/b.jsonl") == f"{'0' * 64}/a_b.jsonl"
    assert data_path("0" * 64, "...") == f"{'0' * 64}/data"


async def test_what_cannot_go_up_is_refused(desk: Desk, tmp_path: Path) -> None:
    token, file = desk.emulated.tokens["alice"], tmp_path / "rows.jsonl"
    with pytest.raises(NotPossible, match="cannot be read: No such file"):
        await desk.hub.upload_data(token, "alice", file, Told())
    with file.open("wb") as stream:
        stream.truncate(50_000_001)
    with pytest.raises(NotPossible, match=r"at most 50 MB .*hf upload"):
        await desk.hub.upload_data(token, "alice", file, Told())
    file.write_text("{}", encoding="utf-8")
    for user in ("alice-read", "broken"):
        with pytest.raises(HubError) as caught:
            await desk.hub.upload_data(desk.emulated.tokens[user], "alice", file, Told())
        assert desk.emulated.tokens[user] not in str(caught.value)
    assert desk.emulated.repo_ids("dataset") == []


async def test_a_public_data_set_gets_no_files_of_users(desk: Desk, tmp_path: Path) -> None:
    desk.emulated.add_repo(REPO, repo_type="dataset")
    (tmp_path / "rows.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(NotPossible, match=r"is public.*Make it private"):
        await desk.hub.upload_data(desk.emulated.tokens["alice"], "alice", tmp_path / "rows.jsonl", Told())


async def test_an_upload_that_breaks_off_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}", encoding="utf-8")
    desk.emulated.faults.add(Fault("POST", "/api/repos/create", "drop_before", times=100))
    with pytest.raises(HubUnreachable, match="upload data to alice/trl-mcp-data"):
        await desk.hub.upload_data(desk.emulated.tokens["alice"], "alice", tmp_path / "rows.jsonl", Told())


@pytest.mark.parametrize(
    "path", ["*/xet-write-token/*", "/cas/v1/xorbs/*", "/cas/v*/shards", "*/commit/*", "*/preupload/*"]
)
async def test_an_upload_that_fails_on_its_way_is_told(desk: Desk, tmp_path: Path, path: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(secrets.token_bytes(1000))
    token = desk.emulated.tokens["alice"]
    desk.emulated.faults.add(Fault("*", path, status=403, times=1000, message="not now"))
    with pytest.raises(HubError, match="upload data to alice/trl-mcp-data") as caught:
        await desk.hub.upload_data(token, "alice", tmp_path / "rows.parquet", Told())
    assert token not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"


async def test_the_bucket_is_made_private_and_found_again(desk: Desk) -> None:
    token = desk.emulated.tokens["alice"]
    for _ in range(2):
        access = await desk.hub.bucket(token, "alice")
        assert (access.id, access.why_not) == ("alice/trl-mcp", "")
    assert (await desk.hub.bucket(token, "acme")).id == "acme/trl-mcp"


async def test_a_bucket_that_cannot_be_had_is_explained(desk: Desk) -> None:
    reading = await desk.hub.bucket(desk.emulated.tokens["alice-read"], "alice")
    assert reading.id is None
    assert "repo.write" in reading.why_not
    desk.emulated.add_bucket("alice/trl-mcp", private=False)
    public = await desk.hub.bucket(desk.emulated.tokens["alice"], "alice")
    assert public.id is None
    assert "is public" in public.why_not
    desk.emulated.faults.add(Fault("POST", "/api/buckets/*", status=503, times=100))
    with pytest.raises(HubUnreachable):
        await desk.hub.bucket(desk.emulated.tokens["alice"], "alice")


async def test_what_the_bucket_holds_is_listed_by_run_and_freed_by_run(desk: Desk) -> None:
    token = desk.emulated.tokens["alice"]
    assert await desk.hub.held_runs(token, "alice") == []
    assert await desk.hub.free_checkpoints(token, "alice", "abc") == 0
    root = desk.emulated.add_bucket("alice/trl-mcp")
    for run, step, size in (("abc", 1, 100), ("abc", 2, 50), ("abcd", 1, 7)):
        folder = root / "runs" / run / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * size)
    (root / "else.txt").write_text("kept", encoding="utf-8")
    desk.emulated.set_page_size(2)
    held = {run.run: (run.files, run.size) for run in await desk.hub.held_runs(token, "alice")}
    assert held == {"abc": (2, 150), "abcd": (1, 7)}
    assert all(run.newest is not None for run in await desk.hub.held_runs(token, "alice"))
    assert await desk.hub.free_checkpoints(token, "alice", "abc") == 150
    assert [run.run for run in await desk.hub.held_runs(token, "alice")] == ["abcd"]
    assert (root / "else.txt").exists()


@pytest.mark.parametrize("run", ["", "..", "a/b", "../abc"])
async def test_only_a_run_key_names_what_is_freed(desk: Desk, run: str) -> None:
    with pytest.raises(InvalidArguments, match="is no run key"):
        await desk.hub.free_checkpoints(desk.emulated.tokens["alice"], "alice", run)
