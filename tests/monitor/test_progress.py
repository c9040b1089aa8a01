"""Progress lines: only the job's own count, and they say how far it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.logs import TAG
from trl_mcp.monitor.progress import ProgressEvent, parse_line, parse_lines, summarize, trend

SILENT = "00112233aabbccdd"
FIELDS: dict[str, Any] = {"kind": "log", "step": 3, "loss": 1.5}
LINE = f"TRL_MCP {TAG} {json.dumps(FIELDS)}"


def log(step: int, **fields: Any) -> ProgressEvent:
    return ProgressEvent("log", {"kind": "log", "step": step, "max_steps": 100, **fields})


def test_a_progress_line_is_its_kind_and_fields() -> None:
    assert parse_line(LINE, TAG) == ProgressEvent("log", FIELDS)


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(TAG, SILENT),
        LINE.replace(TAG, TAG[:-1]),
        LINE.replace(TAG, TAG.upper()),
        LINE.replace("TRL_MCP ", "TRL_MCP  "),
        f" {LINE}",
        f"\x1b[0m{LINE}",
        f"printed {LINE}",
        LINE[:-1],
        f"{LINE} and more",
        f"TRL_MCP {TAG} []",
        f"TRL_MCP {TAG} null",
        f"TRL_MCP {TAG} " + '{"step": 1}',
        f"TRL_MCP {TAG} " + '{"kind": 5}',
        f"TRL_MCP {TAG}",
        "TRL_MCP",
        "",
    ],
)
def test_what_only_looks_like_a_progress_line_is_none(line: str) -> None:
    assert parse_line(line, TAG) is None


@given(
    st.text() | st.text().map("TRL_MCP {}".format) | st.text().map((f"TRL_MCP {SILENT} " + '{{"kind": "{}"}}').format)
)
def test_what_a_job_prints_never_passes_for_progress(line: str) -> None:
    assert parse_line(line, TAG) is None


@given(st.text())
def test_without_a_tag_nothing_is_progress(text: str) -> None:
    assert parse_line(f'TRL_MCP  {{"kind": "{text}"}}', "") is None


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4), st.text())
def test_what_the_job_reports_comes_back_as_it_was(fields: dict[str, Any], kind: str) -> None:
    fields |= {"kind": kind}
    noise = ["noise", LINE.replace(TAG, SILENT)]
    assert list(parse_lines([*noise, f"TRL_MCP {TAG} {json.dumps(fields)}", *noise], TAG)) == [
        ProgressEvent(kind, fields)
    ]


def test_a_job_that_said_nothing_has_done_nothing() -> None:
    progress = summarize([])
    assert (progress.step, progress.max_steps, progress.percent, progress.trend, progress.eta_s) == (
        0,
        0,
        0,
        None,
        None,
    )
    assert not progress.is_training


def test_progress_is_that_of_the_newest_lines() -> None:
    progress = summarize(
        [log(10, loss=2.0, epoch=0.1), log(20, eval_loss=1.5, epoch=0.2), log(25, loss=1.0, epoch=0.25)]
    )
    assert (progress.step, progress.max_steps, progress.percent, progress.epoch) == (25, 100, 25.0, 0.25)
    assert progress.metrics == {"loss": 1.0, "eval_loss": 1.5}
    assert progress.is_training


def test_a_job_can_be_resumed_from_its_newest_checkpoint() -> None:
    saved = [ProgressEvent("checkpoint", {"kind": "checkpoint", "step": step}) for step in (10, 20)]
    assert summarize([*saved, log(25)]).resume_step == 20


def test_a_resumed_job_that_saved_nothing_yet_can_be_resumed_where_it_began() -> None:
    start = ProgressEvent("start", {"kind": "start", "resume_step": 40, "max_steps": 100})
    assert summarize([start, log(41)]).resume_step == 40


def test_the_last_error_is_the_one_that_counts() -> None:
    errors = [ProgressEvent("error", {"kind": "error", "message": text}) for text in ("first", "last")]
    assert summarize(errors).error == "last"


def test_what_a_job_warns_of_is_told_once_in_its_order() -> None:
    said = ["reward function a is constant", "reward function b has no bound", "reward function a is constant", "", 7]
    warnings = [ProgressEvent("warning", {"kind": "warning", "message": message}) for message in said]
    assert summarize([*warnings, log(3, message="no warning")]).warnings == (said[0], said[1])
    assert summarize([log(1)]).warnings == ()


def test_only_whole_samples_are_shown() -> None:
    samples = [ProgressEvent("sample", {"kind": "sample", **fields}) for fields in ({"prompt": "a"}, {"after": "b"})]
    assert [sample["prompt"] for sample in summarize(samples).samples] == ["a"]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.0, 1.9, 1.0, 0.9], "falling"),
        ([1.0, 1.1, 1.9, 2.0], "rising"),
        ([1.0, 1.01, 1.0, 1.01], "flat"),
        ([0.0, 0.0, 0.0, 0.0], "flat"),
        ([-1.0, -1.0, -2.0, -2.0], "falling"),
        ([1.0, 1.0, 1.0], None),
        ([], None),
        ([1.0, "nan"], "nan"),
        ([1.0, float("inf"), 1.0, 1.0], "nan"),
        (["nan", *[1.0] * 40], "flat"),
        ([*[9.0] * 100, *[1.0] * 40], "flat"),
    ],
)
def test_the_trend_is_that_of_the_last_forty_losses(losses: list[float | str], expected: str | None) -> None:
    assert trend(losses) == expected


@given(st.lists(st.floats(0.1, 100), min_size=4, max_size=60))
def test_a_loss_read_backwards_turns_the_trend_around(losses: list[float]) -> None:
    turned = {"falling": "rising", "rising": "falling", "flat": "flat"}
    window: list[float | str] = [*losses[-40:]]
    forwards, backwards = trend(window), trend(window[::-1])
    # Near the 2 % it makes a difference which half the change is measured by.
    assert backwards == turned[str(forwards)] or "flat" in (forwards, backwards)


def test_the_time_left_follows_from_the_pace_of_the_last_lines() -> None:
    assert summarize([log(10, elapsed_s=100.0), log(20, elapsed_s=120.0)]).eta_s == 160


def test_a_slow_start_is_forgotten() -> None:
    late = [log(step, elapsed_s=1000.0 + step) for step in range(20, 60)]
    assert summarize([log(10, elapsed_s=0.0), *late]).eta_s == 41


@pytest.mark.parametrize(
    "events", [[log(10, elapsed_s=1.0)], [log(10), log(20)], [log(10, elapsed_s=1.0), log(10, elapsed_s=2.0)]]
)
def test_without_a_pace_there_is_no_time_left(events: list[ProgressEvent]) -> None:
    assert summarize(events).eta_s is None


def test_at_the_last_step_no_time_is_left() -> None:
    assert summarize([log(90, elapsed_s=9.0), log(100, elapsed_s=10.0)]).eta_s == 0


def test_the_files_of_a_conversion_are_those_of_its_last_line() -> None:
    made = ProgressEvent("file", {"kind": "file", "name": "a-Q8_0.gguf", "bytes": 7, "agreement": 0.99})
    end = ProgressEvent(
        "end", {"kind": "end", "files": [{"name": "a-F16.gguf", "bytes": 9}], "ollama_run": "ollama run a"}
    )
    assert [file["name"] for file in summarize([made]).files] == ["a-Q8_0.gguf"]
    over = summarize([made, end])
    assert ([file["name"] for file in over.files], over.ollama_run) == (["a-F16.gguf"], "ollama run a")
