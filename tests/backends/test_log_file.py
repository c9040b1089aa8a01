"""The log of a job: its last lines, and what came after a position, whatever was printed and however much."""

import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.desk import Desk, until
from trl_mcp.backends.base import Stage
from trl_mcp.backends.log_file import read_after, read_tail

LONGEST = 64 * 1024
MEGABYTE = 1_000_000
SOME_LINES = "".join(f"line {number}\n" for number in range(100))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def test_the_tail_is_the_last_lines_and_ends_where_the_log_does(log: Path) -> None:
    log.write_text(SOME_LINES)
    piece = read_tail(log, 3, finished=False)

    assert piece.lines == ["line 97", "line 98", "line 99"]
    assert (piece.start, piece.end) == (len(SOME_LINES) - 24, len(SOME_LINES))
    assert piece.ends == [piece.end - 16, piece.end - 8, piece.end]


def test_a_tail_longer_than_the_log_is_the_whole_log(log: Path) -> None:
    log.write_text(SOME_LINES)
    piece = read_tail(log, 5000, finished=False)

    assert (len(piece.lines), piece.start, piece.end) == (100, 0, len(SOME_LINES))


def test_a_tail_of_no_lines_is_a_position_to_go_on_from(log: Path) -> None:
    log.write_text(SOME_LINES)
    piece = read_tail(log, 0, finished=False)

    assert (piece.lines, piece.start, piece.end, piece.ends) == ([], len(SOME_LINES), len(SOME_LINES), [])


def test_a_log_that_is_not_there_or_empty_has_no_lines(log: Path) -> None:
    for _ in range(2):
        for piece in (read_tail(log, 5, finished=True), read_after(log, 7, finished=True)):
            assert (piece.lines, piece.start, piece.end) == ([], 0, 0)
        log.touch()


def test_a_line_without_its_end_waits_while_the_job_runs(log: Path) -> None:
    log.write_text("done\nhalf")

    assert read_tail(log, 5, finished=False).lines == ["done"]
    assert read_tail(log, 5, finished=True).lines == ["done", "half"]
    assert read_after(log, 5, finished=False).lines == []
    assert read_after(log, 5, finished=True).lines == ["half"]


def test_a_cursor_beyond_the_end_or_before_the_start_is_moved_into_the_log(log: Path) -> None:
    log.write_text("one\n")

    assert read_after(log, 99, finished=True).start == read_after(log, 99, finished=True).end == 4
    assert read_after(log, -5, finished=True).lines == ["one"]


def test_carriage_returns_end_no_line(log: Path) -> None:
    log.write_bytes(b"10%\r20%\r100%\nnext\r\n")

    assert read_tail(log, 5, finished=False).lines == ["10%\r20%\r100%", "next\r"]


def test_what_is_no_text_is_replaced(log: Path) -> None:
    log.write_bytes(b"\xff\xfe\0abc\n\x80\n")

    assert read_tail(log, 5, finished=False).lines == ["��\0abc", "�"]


def test_a_line_too_long_is_cut_between_characters(log: Path) -> None:
    text = "ü€𝄞" * 60_000
    log.write_text(text + "\n", encoding="utf-8")
    lines = read_after(log, 0, finished=False).lines

    assert "".join(lines) == text
    assert max(len(line.encode()) for line in lines) <= LONGEST


def test_an_endless_line_is_given_out_while_the_job_runs(log: Path) -> None:
    log.write_bytes(b"x" * (LONGEST * 3 + 10))
    piece = read_after(log, 0, finished=False)

    assert len(piece.lines) == 3
    assert piece.end <= LONGEST * 3
    assert read_after(log, piece.end, finished=False).lines == []


def test_a_piece_is_never_more_than_a_megabyte(log: Path) -> None:
    log.write_bytes(b"0123456789\n" * 300_000)

    for piece in (read_after(log, 0, finished=False), read_tail(log, 10**9, finished=True)):
        assert MEGABYTE - LONGEST < piece.end - piece.start <= MEGABYTE


def test_the_tail_of_a_gigabyte_takes_milliseconds_and_little_memory(log: Path) -> None:
    with log.open("wb") as file:  # mostly a hole: what matters is that nobody reads it
        file.truncate(1_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + SOME_LINES.encode())
    tracemalloc.start()
    begin = time.perf_counter()
    piece = read_tail(log, 40, finished=False)
    took = time.perf_counter() - begin
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (len(piece.lines), piece.lines[-1]) == (40, "line 99")
    assert took < 0.05
    assert peak < 4 * MEGABYTE


@given(
    parts=st.lists(
        st.binary(max_size=40) | st.just(b"\n") | st.integers(1, 200_000).map(lambda size: b"\xc3\xbc" * size),
        max_size=8,
    ),
    cut=st.integers(0, 1_000_000),
    finished=st.booleans(),
)
def test_pieces_joined_are_the_log_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cut: int, finished: bool
) -> None:
    content = b"".join(parts)
    log = tmp_path_factory.getbasetemp() / "joined.txt"
    log.write_bytes(content)
    cursor = min(cut, len(content))
    while (piece := read_after(log, cursor, finished=finished)).start != piece.end:
        assert piece.start == cursor
        assert piece.ends[-1] == piece.end
        assert len(piece.lines) == len(piece.ends)
        cursor = piece.end
    tail = read_tail(log, 3, finished=finished)

    rest = content[cursor:]
    assert rest == b"" or (not finished and b"\n" not in rest and len(rest) <= LONGEST)
    assert len(tail.lines) <= 3
    assert tail.end == len(content) or not finished


def test_a_running_job_is_followed_without_losing_or_repeating_a_line(desk: Desk) -> None:
    job = desk.start(
        "import time\nfor i in range(300):\n    print('line', i)\n    time.sleep(0.002)\nprint('end', end='')"
    )
    seen: list[str] = []
    cursor = 0

    def read_on() -> bool:
        nonlocal cursor
        over = desk.look(job).stage.is_terminal
        piece = desk.logs(job, cursor=cursor)
        seen.extend(piece.lines)
        cursor = piece.end
        return over and piece.start == piece.end

    until(read_on, "the end of the log")
    assert seen == [*(f"line {number}" for number in range(300)), "end"]


def test_without_a_position_the_log_is_read_from_its_beginning(desk: Desk) -> None:
    job = desk.run("print('first')\nprint('last')\n")

    assert desk.logs(job).lines == ["first", "last"]
    assert desk.logs(job, tail=1).lines == ["last"]
    assert desk.logs(job, tail=1, cursor=0).lines == ["first", "last"]


def test_a_job_may_print_anything(desk: Desk) -> None:
    job = desk.run("import os\nos.write(1, bytes(range(256)) * 1000 + b'\\nlast\\n')\n")

    assert job.stage is Stage.COMPLETED
    assert desk.tail(job)[-1] == "last"
