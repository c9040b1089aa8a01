"""Views of a log: bounded, clean, and read on without losing or repeating a line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.logs import JOB, TAG, PrintedLog
from trl_mcp.backends.base import Backend
from trl_mcp.monitor.logs import LogView, NearFault, filtered_view, readable, script_view, tail_view

pytestmark = pytest.mark.anyio

LIMIT = 8000
TOKEN = "hf_" + "aB3" * 10
WIDE_LINES = ["ascii", "é" * 3000, "\U0001f600" * 900, "", "x" * 100_000]


def progress(**fields: object) -> str:
    return f"TRL_MCP {TAG} {json.dumps(fields)}"


def size(view: LogView) -> int:
    return sum(len(line.encode()) + 1 for line in view.lines)


async def read_to_the_end(backend: Backend, lines: int, cursor: int = 0) -> list[str]:
    """Return all that tail shows, read on from cursor to cursor."""
    read: list[str] = []
    while (view := await tail_view(backend, JOB, lines, cursor, [])).lines:
        assert view.cursor > cursor
        read, cursor = read + view.lines, view.cursor
    assert view.cursor == cursor
    return read


async def test_the_tail_is_the_last_lines() -> None:
    view = await tail_view(PrintedLog([f"line {n}" for n in range(90)]), JOB, 3, None, [])
    assert view == LogView(["line 87", "line 88", "line 89"], cursor=90)


@given(
    texts=st.lists(st.text("ab é\U0001f600", max_size=1500), max_size=40),
    limit=st.integers(1, 30),
    piece_lines=st.integers(1, 9),
)
async def test_reading_on_neither_loses_nor_repeats_a_line(texts: list[str], limit: int, piece_lines: int) -> None:
    lines = [f"{number} {text}" for number, text in enumerate(texts)]
    read = await read_to_the_end(PrintedLog(lines, piece_lines=piece_lines), limit)
    assert read == [readable(line, TAG, []) for line in lines]


async def test_what_is_printed_later_is_read_from_the_cursor_of_the_tail() -> None:
    log = PrintedLog([f"line {n}" for n in range(50)])
    view = await tail_view(log, JOB, 10, None, [])
    assert await read_to_the_end(log, 10, view.cursor) == []
    log.lines += ["new 1", "new 2"]
    assert await read_to_the_end(log, 10, view.cursor) == ["new 1", "new 2"]


@pytest.mark.parametrize("cursor", [None, 0])
async def test_a_view_fits_into_8_kb_unless_more_lines_were_asked_for(cursor: int | None) -> None:
    log = PrintedLog([*WIDE_LINES] * 20)
    view = await tail_view(log, JOB, 40, cursor, [])
    assert 0 < size(view) <= LIMIT
    filtered = await filtered_view(log, JOB, 40, cursor, lambda _: True, [])
    assert 0 < size(filtered) <= LIMIT


async def test_lines_that_had_no_room_are_counted() -> None:
    log = PrintedLog(["y" * 900] * 30)
    view = await tail_view(log, JOB, 30, None, [])
    assert len(view.lines) + view.omitted == 30
    filtered = await filtered_view(log, JOB, 10, None, lambda _: True, [])
    assert len(filtered.lines) + filtered.omitted == 30


async def test_a_filter_searches_the_whole_log_and_keeps_the_newest() -> None:
    log = PrintedLog([f"line {n}" for n in range(1000)], piece_lines=7)
    view = await filtered_view(log, JOB, 2, None, lambda line: line.endswith("5"), [])
    assert view == LogView(["line 985", "line 995"], cursor=1000, omitted=98)


async def test_a_filter_reads_on_from_its_cursor() -> None:
    log = PrintedLog(["match 1"])
    view = await filtered_view(log, JOB, 9, None, lambda line: "match" in line, [])
    log.lines += ["noise", "match 2"]
    later = await filtered_view(log, JOB, 9, view.cursor, lambda line: "match" in line, [])
    assert later.lines == ["match 2"]
    assert (await filtered_view(log, JOB, 9, later.cursor, lambda line: "match" in line, [])).lines == []


async def test_an_empty_log_has_an_empty_view() -> None:
    assert await tail_view(PrintedLog(), JOB, 40, None, []) == LogView([], 0)
    assert await filtered_view(PrintedLog(), JOB, 40, None, lambda _: True, []) == LogView([], 0)


def test_progress_lines_read_as_words() -> None:
    line = progress(kind="log", step=20, max_steps=150, loss=1.23456, epoch=None)
    assert readable(line, TAG, []) == "step 20/150  loss 1.235"
    assert readable(progress(kind="checkpoint", step=9), TAG, []) == "[checkpoint]  step 9"


def test_a_sample_reads_as_json_where_there_is_room_for_it() -> None:
    line = progress(kind="sample", prompt="1 + 1?", before="3", after="2")
    assert readable(line, TAG, []) == "[sample]  prompt 1 + 1?  after 2"
    assert json.loads(readable(line, TAG, [], longest=4000)) == {"prompt": "1 + 1?", "before": "3", "after": "2"}


async def test_every_view_is_masked() -> None:
    log = PrintedLog([f"login with {TOKEN}", "key=sesame-open", progress(kind="error", message=f"401 for {TOKEN}")])
    views = [
        await tail_view(log, JOB, 9, None, iter(["sesame-open"])),
        await tail_view(log, JOB, 9, 0, iter(["sesame-open"])),
        await filtered_view(log, JOB, 9, None, lambda _: True, iter(["sesame-open"])),
        script_view("\n".join(log.lines), 9, None, "", iter(["sesame-open"])),
    ]
    for view in views:
        assert len(view.lines) == 3
        assert [word for word in (TOKEN, "sesame-open") if word in "\n".join(view.lines)] == []


def test_lines_near_a_fault_are_kept_and_others_not() -> None:
    lines = ["fine", "ValueError: x", "after 1", "after 2", "after 3", progress(kind="log", step=1), "fine again"]
    assert list(filter(NearFault(TAG), lines)) == ["ValueError: x", "after 1", "after 2"]


@pytest.mark.parametrize(
    "line",
    [
        (
            "This is a friendly reminder - the current text generation call has exceeded the model's predefined maximum "
            "length (2048). Depending on the model, you may observe exceptions, performance degradation, or nothing at all."
        ),
        (
            "Token indices sequence length is longer than the specified maximum sequence length for this model (9 > 8). "
            "Running this sequence through the model will result in indexing errors"
        ),
        "UserWarning: in version 2.9 we will raise an exception if use_reentrant is not passed.",
        "Checked 40 files without errors",
    ],
)
def test_a_line_that_only_warns_of_faults_is_none(line: str) -> None:
    assert list(filter(NearFault(TAG), [line, "next"])) == []


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: this will fail",
        "[rank0]: torch.OutOfMemoryError: CUDA out of memory. It may fail again",
        "Error: it failed",
        "RuntimeError",
        "subprocess.CalledProcessError: without errors",
    ],
)
def test_a_fault_that_happened_is_shown_whatever_it_says_besides(line: str) -> None:
    assert list(filter(NearFault(TAG), [line])) == [line]


def test_a_traceback_is_kept_to_its_end() -> None:
    frames = [f'  File "a.py", line {n}' for n in range(20)]
    lines = ["fine", "Traceback (most recent call last):", *frames, "KeyError: 'a'"]
    assert list(filter(NearFault(TAG), lines)) == lines[1:]


def test_of_progress_lines_only_errors_are_faults() -> None:
    lines = [progress(kind="log", step=1, note="failed"), progress(kind="error", message="disk")]
    assert list(filter(NearFault(TAG), lines)) == lines[1:]


@given(st.lists(st.text("ab \t{}é", max_size=1500), min_size=1, max_size=60), st.integers(1, 30))
def test_a_script_is_read_to_its_end_without_losing_a_line(texts: list[str], limit: int) -> None:
    script = "\n".join(texts)
    read: list[str] = []
    while (view := script_view(script, limit, len(read), "", [])).lines:
        assert size(view) <= LIMIT
        read += view.lines
        assert (view.cursor, view.omitted) == (len(read), len(texts) - len(read))
    assert read == [readable(line, "", []) for line in texts]


def test_of_a_script_the_lines_with_a_pattern_are_shown() -> None:
    assert script_view("import a\nx = 1\nimport b\n", 9, None, "import", []) == LogView(["import a", "import b"], 2)
