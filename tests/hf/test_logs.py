"""The log of a job: its end without long waiting, all of it piece by piece, whatever the stream looks like."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hf.desk import Desk
from tests.hub import Fault
from trl_mcp.backends import hf_logs
from trl_mcp.backends.base import Job
from trl_mcp.backends.hf_logs import DEADLINE_S, IDLE_S
from trl_mcp.errors import HubUnreachable
from trl_mcp.hub.sse import EventReader
from trl_mcp.monitor.logs import pieces, tail_view

pytestmark = pytest.mark.anyio
GOES_ON = "\nprint('up', flush=True)\nimport time; time.sleep(600)\n"


async def running(desk: Desk, body: str) -> Job:
    job = await desk.start(body + GOES_ON)
    await desk.started(job, "up")
    return await desk.backend.inspect(job.id)


async def test_the_tail_of_a_running_job_comes_long_before_the_deadline(desk: Desk) -> None:
    job = await running(desk, "for n in range(3000): print('line', n)")
    began = time.monotonic()
    piece = await desk.backend.logs(job.id, tail=3)
    assert time.monotonic() - began < DEADLINE_S / 2
    assert piece.lines == ["line 2998", "line 2999", "up"]


async def test_a_job_that_waits_has_an_empty_log_long_before_the_deadline(desk: Desk) -> None:
    desk.emulated.hold_jobs()
    desk.emulated.set_keep_alive(0.05)
    job = await desk.start()
    for which in ({"tail": 5}, {"cursor": 0}):
        began = time.monotonic()
        piece = await desk.backend.logs(job.id, **which)
        assert time.monotonic() - began < DEADLINE_S / 2
        assert (piece.lines, piece.start == piece.end) == ([], True)


async def test_the_log_of_a_finished_job_needs_no_waiting(desk: Desk) -> None:
    job = await desk.run("print('a'); print(); print('ä\\x85\\u2028b')")
    taken: list[float] = []
    for _ in range(3):  # a machine that is busy with others may be slow once
        began = time.monotonic()
        assert (await desk.backend.logs(job.id)).lines == ["a", "", "ä\x85\u2028b"]
        taken.append(time.monotonic() - began)
    assert min(taken) < IDLE_S


async def test_reading_goes_on_after_a_tail(desk: Desk) -> None:
    go = desk.emulated.add_bucket("alice/go") / "now"
    wait = f"print('up', flush=True)\nimport os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
    job = await desk.start(f"for n in range(500): print(n)\n{wait}print('later')")
    await desk.started(job, "up")
    tail = await desk.backend.logs(job.id, tail=4)
    assert tail.lines == ["497", "498", "499", "up"]
    nothing = await desk.backend.logs(job.id, cursor=tail.end)
    assert (nothing.lines, nothing.start, nothing.end) == ([], tail.end, tail.end)
    go.touch()
    await desk.ended(job)
    assert (await desk.backend.logs(job.id, cursor=tail.end)).lines == ["later"]
    view = await tail_view(desk.backend, job, 2, None, [])
    assert view.lines == ["up", "later"]


async def test_a_long_log_comes_in_pieces_without_gaps(desk: Desk) -> None:
    job = await desk.run("for n in range(30): print(n, 'x' * 60_000)\nfor n in range(5000): print(n)")
    lines: list[str] = []
    sizes: list[int] = []
    async for piece in pieces(desk.backend, job.id):
        lines += piece.lines
        sizes.append(sum(len(line.encode()) for line in piece.lines))
        assert piece.ends == sorted(set(piece.ends))
    assert [line.split()[0] for line in lines] == [*map(str, range(30)), *map(str, range(5000))]
    assert len(sizes) == 2
    assert max(sizes) <= 1_000_000


async def test_each_attempt_goes_on_in_one_log_without_headers(desk: Desk) -> None:
    job = await desk.run("print('try'); raise SystemExit(1)", attempts=2)
    assert (await desk.backend.logs(job.id)).lines == ["try", "try"]


async def test_a_stream_that_cannot_be_opened_is_told(desk: Desk) -> None:
    job = await desk.run()
    desk.emulated.faults.add(Fault("GET", "*/logs", status=503))
    with pytest.raises(HubUnreachable, match="read the log"):
        await desk.backend.logs(job.id)
    desk.emulated.faults.add(Fault("GET", "*/logs", "drop_before"))
    with pytest.raises(HubUnreachable):
        await desk.backend.logs(job.id)
    assert (await desk.backend.logs(job.id)).lines == ["hello"]


@asynccontextmanager
async def stream(*events: Any, then: str = "end") -> AsyncGenerator[AsyncIterator[list[str]]]:
    async def batches() -> AsyncIterator[list[str]]:
        for event in events:
            yield [event if isinstance(event, str) else json.dumps(event)]
        if then == "break":
            raise httpx2.ReadError("")
        if then == "chatter":
            while True:
                await anyio.sleep(0.01)
                yield []

    yield batches()


def event(text: str, second: float = 0) -> dict[str, str]:
    return {"data": text, "timestamp": f"2026-11-20T12:00:{second:06.3f}Z"}


async def test_what_came_before_the_stream_broke_off_is_kept() -> None:
    for how in ({"tail": 9, "cursor": None}, {"tail": None, "cursor": 0}):
        piece = await hf_logs.read_piece(stream(event("a"), event("b"), then="break"), **how)
        assert piece.lines == ["a", "b"]


async def test_comments_do_not_keep_a_silent_stream_open() -> None:
    with anyio.fail_after(2):
        piece = await hf_logs.read_piece(stream(event("a"), then="chatter"), 1, None)
    assert piece.lines == ["a"]


async def test_events_that_are_no_lines_are_skipped() -> None:
    odd = ["", "no json", "[]", "null", {"text": 1}, {"data": 5}, {"data": "===== Job started at 1 ====="}]
    piece = await hf_logs.read_piece(stream(*odd, {"data": "kept"}, {"data": "too", "timestamp": "yesterday"}), None, 0)
    assert piece.lines == ["kept", "too"]
    assert piece.ends == [1, 2]


async def test_a_tail_within_one_moment_is_followed_by_what_comes_later_only() -> None:
    burst = [event(str(n)) for n in range(100)]
    tail = await hf_logs.read_piece(stream(*burst[-3:]), 3, None)
    later = await hf_logs.read_piece(stream(*burst, event("later", 1)), None, tail.end)
    assert later.lines == ["later"]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 40))
def test_positions_are_the_same_in_each_reading(steps: list[int], read: int) -> None:
    async def check() -> None:
        at, events = 0.0, list[dict[str, str]]()
        for number, step in enumerate(steps):
            at += step / 1000
            events.append(event(str(number), at))
        whole = await hf_logs.read_piece(stream(*events), None, 0)
        part = await hf_logs.read_piece(stream(*events[:read]), None, 0)
        rest = await hf_logs.read_piece(stream(*events), None, part.end)
        assert part.lines + rest.lines == whole.lines
        assert part.ends + rest.ends == whole.ends

    anyio.run(check)


@given(st.lists(st.text(min_size=1).filter(lambda text: "\n" not in text and "\r" not in text)), st.data())
def test_events_are_the_same_however_the_bytes_arrive(texts: list[str], data: st.DataObject) -> None:
    sent = "".join(f": comment\n\nevent: x\nid: 3\ndata: {text}\r\n\r\n" for text in texts)
    raw = sent.encode("utf-8", errors="surrogatepass")
    reader, read = EventReader(), list[str]()
    while raw:
        size = data.draw(st.integers(1, 40))
        read += reader.feed(raw[:size])
        raw = raw[size:]
    assert read == [text.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="replace") for text in texts]


def test_data_on_several_lines_is_one_event() -> None:
    assert EventReader().feed(b"data:a\ndata: b\n\ndata: c") == ["a\nb"]
