"""Data files on the Hub, read in parts: only the bytes that are needed, and no token to anybody but the Hub."""

import gzip
import io
import random
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs] - pyarrow ships no types
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs] - pyarrow ships no types
import pytest
from anyio import to_thread

from tests.hf.desk import Desk
from tests.hub import Fault
from trl_mcp.errors import HubUnreachable, NotFound, RateLimited, TokenRejected
from trl_mcp.hub.ranges import RangeClient, RemoteFile

pytestmark = pytest.mark.anyio
T = TypeVar("T")
arrow: Any = pa
parquet: Any = pyarrow.parquet
RESOLVE = "/datasets/*/resolve/*"
CONTENT = random.Random(3).randbytes(700_001)
FOOTER = 1 << 16


def table_bytes(rows: int) -> bytes:
    noise = random.Random(5)
    columns = {
        "heavy": [noise.randbytes(400).hex() for _ in range(rows)],
        "text": [noise.randbytes(60).hex() for _ in range(rows)],
        "n": list(range(rows)),
    }
    out = io.BytesIO()
    parquet.write_table(arrow.table(columns), out, row_group_size=rows // 8, compression="zstd")
    return out.getvalue()


async def opened(desk: Desk, content: bytes, user: str | None = "alice", **how: Any) -> BinaryIO:
    """Return the only file of a new private data set, big enough to lie in the storage for large files."""
    sha = desk.emulated.add_repo("alice/d", {"train.parquet": content}, repo_type="dataset", private=True)
    files = await desk.hub.dataset_files(desk.emulated.tokens["alice"], "alice/d", sha)
    desk.emulated.clear_requests()
    token = desk.emulated.tokens[user] if user else None
    return desk.hub.open_file(token, files, files.files[0], **how)


async def in_thread(act: Callable[[], T]) -> T:
    return await to_thread.run_sync(act)


def hasty(desk: Desk, clock: Callable[[], float] = time.monotonic) -> RangeClient:
    """Return a client that does not pause between its tries."""
    return RangeClient(desk.emulated.endpoint, sleep=lambda _: None, clock=clock)


def remote(desk: Desk, content: bytes, **how: Any) -> RemoteFile:
    sha = desk.emulated.add_repo("acme/r", {"f.bin": content})
    address = f"{desk.emulated.endpoint}/acme/r/resolve/{sha}/f.bin"
    return RemoteFile(address, len(content), "read f.bin", **how)


async def test_one_column_costs_its_own_bytes_and_the_footer(desk: Desk) -> None:
    content = table_bytes(20_000)
    file = await opened(desk, content)

    def read() -> tuple[Any, int]:
        opened = parquet.ParquetFile(file, pre_buffer=True)
        groups = [opened.metadata.row_group(number) for number in range(opened.num_row_groups)]
        return opened.read(columns=["text"]), sum(group.column(1).total_compressed_size for group in groups)

    table, needed = await in_thread(read)
    requests = desk.emulated.requests(RESOLVE)
    fetched = sum(request.sent for request in requests)
    assert table.num_rows == 20_000
    assert needed < fetched <= 1.1 * needed + FOOTER < len(content) / 5
    assert len(desk.emulated.requests()) == len(requests) <= 9
    assert all(request.range and request.status == 206 for request in requests)


async def test_a_small_file_costs_one_request(desk: Desk) -> None:
    content = table_bytes(40)
    assert len(content) < FOOTER
    file = await opened(desk, content)
    assert (await in_thread(lambda: parquet.read_table(file))).num_rows == 40
    assert [request.sent for request in desk.emulated.requests()] == [len(content)]


async def test_reads_return_what_stands_there(desk: Desk) -> None:
    file = await opened(desk, CONTENT)

    def look() -> None:
        for start, length in ((0, 10), (300_000, 100_000), (690_000, 50_000), (700_001, 5), (699_999, -1)):
            assert file.seek(start) == start
            assert file.read(length) == CONTENT[start:][: length if length >= 0 else None]
        assert file.seek(-1, io.SEEK_END) == 700_000
        assert (file.read(), file.read(), file.tell()) == (CONTENT[-1:], b"", 700_001)
        assert file.seek(0) == 0
        assert (file.read(), file.seekable(), file.readable(), file.writable()) == (CONTENT, True, True, False)
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)

    await in_thread(look)


async def test_a_file_read_in_order_comes_in_one_request(desk: Desk) -> None:
    lines = b"".join(b'{"n": %d}\n' % number for number in range(100_000))
    file = await opened(desk, gzip.compress(lines), in_order=True)

    def read() -> int:
        with gzip.open(file, "rt") as text:
            return sum(1 for _ in text)

    assert await in_thread(read) == 100_000
    assert len(desk.emulated.requests()) == 1
    file.seek(5)
    assert len(await in_thread(lambda: file.read(20))) == 20


async def test_the_start_of_a_long_file_costs_no_more_than_that(desk: Desk) -> None:
    content = bytes(60_000_000)
    file = await opened(desk, content, in_order=True)
    with file:
        assert await in_thread(lambda: len(file.readline(1000))) == 1000
    (request,) = desk.emulated.requests()
    assert request.sent < len(content) / 2


@pytest.mark.parametrize("in_order", [False, True])
async def test_the_token_goes_to_the_hub_and_not_to_its_storage(desk: Desk, in_order: bool) -> None:
    desk.emulated.move_storage()
    file = await opened(desk, CONTENT, in_order=in_order)
    assert await in_thread(lambda: (file.read(1000), file.seek(500_000), file.read(1000))) == (
        CONTENT[:1000],
        500_000,
        CONTENT[500_000:501_000],
    )
    asked, stored = desk.emulated.requests(RESOLVE), desk.emulated.requests("/lfs-storage/*")
    assert [(request.user, request.status) for request in asked] == [("alice", 302)]
    assert [(request.has_token, request.host[:9], request.status) for request in stored] == [
        (False, "localhost", 206),
        (False, "localhost", 206),
    ]


async def test_a_link_to_the_storage_that_has_ended_is_asked_for_again(desk: Desk) -> None:
    desk.emulated.move_storage()
    file = await opened(desk, CONTENT)
    await in_thread(lambda: file.read(10))
    desk.emulated.expire_links()
    assert await in_thread(lambda: file.read(10)) == CONTENT[10:20]
    assert [request.status for request in desk.emulated.requests()] == [302, 206, 403, 302, 206]
    desk.emulated.faults.add(Fault("GET", "/lfs-storage/*", status=403, times=9))
    with pytest.raises(HubUnreachable, match="its storage answers 403"):
        await in_thread(lambda: file.read(10))


@pytest.mark.parametrize("kind", ["status", "drop_before"])
@pytest.mark.parametrize("in_order", [False, True])
async def test_what_fails_for_a_moment_is_asked_for_again(desk: Desk, kind: Any, in_order: bool) -> None:
    client = hasty(desk)
    file = client.open(remote(desk, CONTENT), in_order=in_order)
    desk.emulated.faults.add(Fault("GET", "*/resolve/*", kind=kind, status=503, times=2))
    assert await in_thread(lambda: file.read(300_000)) == CONTENT[:300_000]
    desk.emulated.faults.add(Fault("GET", "*/resolve/*", kind=kind, status=503, times=3))
    file.seek(600_000)
    with pytest.raises(HubUnreachable, match=r"could not read f\.bin"):
        await in_thread(lambda: file.read(10))
    client.close()


async def test_refusals_have_their_own_errors(desk: Desk) -> None:
    for user in ("bob", None):
        file = await opened(desk, CONTENT, user=user)
        with pytest.raises((NotFound, TokenRejected)):
            await in_thread(lambda file=file: file.read(10))
    client = hasty(desk)
    file = client.open(remote(desk, CONTENT))
    desk.emulated.faults.add(Fault("GET", "*/resolve/*", status=429, retry_after=60))
    with pytest.raises(RateLimited, match="Call again in 60 s"):
        await in_thread(lambda: file.read(10))
    client.close()


async def test_an_error_of_the_hub_comes_through_arrow_as_it_is(desk: Desk) -> None:
    file = await opened(desk, table_bytes(40), user="bob")
    with pytest.raises(NotFound):
        await in_thread(lambda: parquet.read_table(file))


async def test_nothing_is_read_after_the_deadline(desk: Desk) -> None:
    now = 100.0
    client = hasty(desk, lambda: now)
    file = client.open(remote(desk, CONTENT, deadline=110.0))
    assert len(await in_thread(lambda: file.read(10))) == 10
    now = 110.0
    with pytest.raises(HubUnreachable, match="the time for it is over"):
        await in_thread(lambda: file.read(10))
    desk.emulated.faults.add(Fault("GET", "*/resolve/*", kind="slow", delay_s=5, times=9))
    now, before = 109.8, time.monotonic()
    with pytest.raises(HubUnreachable, match="did not answer in time"):
        await in_thread(lambda: file.read(10))
    assert time.monotonic() - before < 3
    client.close()
