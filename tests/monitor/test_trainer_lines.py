"""What a plain Trainer prints, as TRL's own scripts sft.py and dpo.py printed it, becomes progress."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.logs import JOB, PrintedLog
from trl_mcp.backends.base import Job
from trl_mcp.monitor.logs import metrics_view, tail_view
from trl_mcp.monitor.progress import Progress, summarize
from trl_mcp.monitor.trainer_lines import TrainerLog, fold_bars, trainer_events

SCRIPT = replace(JOB, kind="script", method="script")
# Where a log is split: at line ends as on this machine, or at every redraw too, as on Hugging Face Jobs.
SPLITS = {"lines": "\n", "redraws": "[\r\n]"}
WIPE = "\r          \r"


def captured(name: str, split: str = "lines") -> list[str]:
    """Return the lines of a training of 12 steps, logged every 2 and evaluated every 4 of them."""
    with (Path(__file__).parent / "captured" / f"{name}.txt").open(encoding="utf-8", newline="") as file:
        return re.split(SPLITS[split], file.read())


def bar(step: int, total: int, elapsed: str = "00:00", name: str = "") -> str:
    """Return a state of a bar as tqdm draws it."""
    return f"\r{name}{100 * step // total:3d}%|███       | {step}/{total} [{elapsed}<01:00,  2.00it/s]"


def logged(**metrics: object) -> str:
    """Return metrics as a Trainer prints them over its bar."""
    return f"{WIPE}{ {name: str(value) for name, value in metrics.items()} }"


def progress_of(*lines: str) -> Progress:
    """Return the progress that the lines tell."""
    return summarize(trainer_events(lines))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("name", "eval_loss"), [("sft", 4.808), ("dpo", 0.2077)])
def test_a_real_log_tells_every_step_with_its_losses(name: str, eval_loss: float, split: str) -> None:
    events = trainer_events(captured(name, split))
    assert [event.step for event in events if "loss" in event.fields] == [2, 4, 6, 8, 10, 12]
    assert [event.step for event in events if "eval_loss" in event.fields] == [4, 8, 12]
    progress = summarize(events)
    assert (progress.step, progress.max_steps, progress.trend, progress.eta_s) == (12, 12, "falling", 0)
    assert progress.metrics["eval_loss"] == eval_loss
    assert events[-1].kind == "end"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_a_real_log_that_is_cut_anywhere_tells_no_wrong_step(name: str, split: str) -> None:
    lines = captured(name, split)
    whole = [(event.step, event.fields["loss"]) for event in trainer_events(lines) if "loss" in event.fields]
    for cut in range(len(lines)):
        progress = summarize(trainer_events(lines[cut:]))
        assert progress.max_steps in (0, 12)
        assert progress.step in (0, 12)
        seen = [(event.step, event.fields["loss"]) for event in trainer_events(lines[cut:]) if "loss" in event.fields]
        assert seen == whole[len(whole) - len(seen) :]
        assert progress_of(*lines[:cut]).max_steps in (0, 12)


def test_the_time_left_follows_from_the_bar() -> None:
    lines = [bar(0, 100), bar(10, 100, "00:20"), logged(loss=2.0, epoch=0.1), bar(10, 100, "00:20")]
    progress = progress_of(*lines, bar(20, 100, "00:40"))
    assert (progress.step, progress.max_steps, progress.eta_s, progress.epoch) == (20, 100, 160, 0.1)
    assert progress_of(*lines, bar(90, 100, "1:00:00")).eta_s == 400


def test_before_the_first_loss_the_bar_alone_tells_the_step() -> None:
    progress = progress_of(bar(5, 5, name="Map: "), bar(0, 40), bar(3, 40, "00:03"))
    assert (progress.step, progress.max_steps, progress.is_training) == (3, 40, True)
    assert not progress_of(bar(5, 9, name="Loading weights: "), "Model loaded.").is_training


def test_bars_with_a_name_and_bars_inside_another_one_are_not_the_trainings() -> None:
    lines = [bar(4, 40), bar(7, 9, name="Generating: "), f"{bar(3, 5)}\x1b[A", bar(5, 9, name="[rank0]: Map: ")]
    assert (progress_of(*lines).step, progress_of(*lines).max_steps) == (4, 40)


def test_a_bar_of_the_scripts_own_gives_way_to_that_of_the_training() -> None:
    own = [bar(0, 300), bar(300, 300)]
    assert progress_of(*own, bar(0, 40)).max_steps == 40
    unfinished = [bar(0, 300), bar(7, 300), bar(0, 40), bar(2, 40)]
    assert progress_of(*unfinished, logged(loss=1.0, epoch=0.1), bar(2, 40)).step == 2


def test_an_evaluation_after_the_training_moves_no_step() -> None:
    lines = [bar(0, 40), logged(loss=1.0, epoch=1), bar(40, 40), logged(train_runtime=3.0, epoch=1), bar(40, 40)]
    assert (progress_of(*lines, bar(1, 5), bar(2, 5)).step, progress_of(*lines, bar(2, 5)).max_steps) == (40, 40)


def test_of_two_trainings_the_last_one_counts() -> None:
    first = [bar(0, 40), logged(loss=9.0, epoch=1), bar(40, 40)]
    second = [bar(0, 100), logged(loss=3.0, epoch=0.1), bar(10, 100), logged(loss=2.0, epoch=0.2), bar(20, 100)]
    progress = progress_of(*first, *second)
    assert (progress.step, progress.max_steps, progress.loss) == (20, 100, "3 (step 10) -> 2 (step 20)")


def test_a_training_that_begins_anew_with_another_batch_is_followed() -> None:
    first = [bar(0, 40), logged(loss=9.0, epoch=0.1), bar(4, 40)]
    anew = [bar(0, 80), logged(loss=8.0, epoch=0.1), bar(8, 80), logged(loss=7.0, epoch=0.2), bar(16, 80)]
    assert (progress_of(*first, *anew).step, progress_of(*first, *anew).max_steps) == (16, 80)


@pytest.mark.parametrize(
    "printed",
    [
        "{'loss': 1.5, 'epoch': 0.5}",
        "{'loss': '1.5', 'learning_rate': None, 'text': 'a, b', 'epoch': '0.5'}",
        "{'loss': np.float64(1.5), 'epoch': 0.5}",
        "step done {'loss': 1.5, 'epoch': 0.5} 33%",
        "{'a': 1} {'loss': 1.5, 'epoch': 0.5}",
    ],
)
def test_metrics_are_read_however_they_are_printed(printed: str) -> None:
    progress = progress_of(printed)
    assert (progress.metrics["loss"], progress.epoch, progress.step) == (1.5, 0.5, 0)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("quote", ["'", ""])
def test_a_loss_that_is_no_number_shows(value: str, quote: str) -> None:
    progress = progress_of(*[f"{{'loss': {quote}{value}{quote}, 'epoch': 0.5}}"] * 4)
    assert (progress.trend, progress.metrics["loss"]) == ("nan", value)


@pytest.mark.parametrize("printed", ["{'loss': 1.0}", "{'epoch': 1.0}", "{'epoch': 'a', 'b': 1}", "{}", "{'': 1}"])
def test_other_dictionaries_are_no_metrics(printed: str) -> None:
    assert trainer_events([printed]) == []


PARTS = [
    "{'loss': '1', 'epoch': '2'}",
    bar(1, 3),
    bar(2, 9, name="Map: "),
    "\x1b[A",
    "\r",
    "{'",
    "%|",
    "| 1/",
    " [00:",
    "'",
]


@given(st.lists(st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=9).map("".join), max_size=9))
def test_no_log_is_too_odd(lines: list[str]) -> None:
    progress = summarize(trainer_events(lines))
    assert 0 <= progress.percent <= 100 or progress.step > progress.max_steps
    for line in lines:
        folded = fold_bars(line)
        assert folded is None or "\r" not in folded


@pytest.mark.parametrize("part", [*PARTS, "{'a': '", "9%|", "1%|" + "a" * 290, "{'" + "a" * 7990, "'a': "])
def test_a_long_line_takes_time_in_proportion_to_its_length(part: str) -> None:
    def seconds(size: int) -> float:
        line = (part * (size // len(part) + 1))[:size]
        start = time.process_time()
        list(TrainerLog().read(line))
        fold_bars(line)
        return time.process_time() - start

    short = min(seconds(32_000) for _ in range(3))
    assert min(seconds(256_000) for _ in range(3)) < 40 * max(short, 1e-3)


def test_a_line_of_bars_folds_to_its_newest_state() -> None:
    assert fold_bars(bar(1, 3) + bar(2, 3)) == bar(2, 3)[1:].strip()
    assert fold_bars(f"{bar(2, 5)}\x1b[A{WIPE}") == bar(2, 5)[1:].strip()
    assert fold_bars(bar(2, 5, name="Map: ")) == bar(2, 5, name="Map: ")[1:]
    assert fold_bars(f"{WIPE}\x1b[A") == fold_bars(" " * 40) == ""
    for other in ("", "text", f"{bar(1, 3)} done", f"text{bar(1, 3)}", logged(loss=1.0, epoch=1.0)):
        assert fold_bars(other) is None


@pytest.mark.anyio
@pytest.mark.parametrize("cursor", [None, 0])
async def test_forty_lines_of_a_script_are_no_forty_bars(cursor: int | None) -> None:
    states = [bar(step, 5000) for step in range(3000)]
    log = PrintedLog(["Loading data", *states, "Saving", *states[:50]], SCRIPT, piece_lines=5000)
    view = await tail_view(log, SCRIPT, 40, cursor, [])
    assert view.lines == ["Loading data", states[-1].strip(), "Saving", states[49].strip()]
    assert view.cursor == len(log.lines)
    assert (await tail_view(log, SCRIPT, 40, view.cursor, [])).lines == []


@pytest.mark.anyio
@pytest.mark.parametrize("split", SPLITS)
async def test_reading_on_in_a_real_log_loses_no_line_but_bars(split: str) -> None:
    log = PrintedLog(captured("sft", split), SCRIPT, piece_lines=7)
    read: list[str] = []
    cursor = 0
    while (view := await tail_view(log, SCRIPT, 3, cursor, [])).lines:
        read, cursor = read + view.lines, view.cursor
    metrics = [line for line in read if line.startswith("{'")]
    assert len(metrics) == 10
    assert "'train_runtime'" in metrics[-1]
    assert [line for line in read if "\r" in line or line.isspace()] == []


@pytest.mark.anyio
async def test_metrics_of_a_script_read_as_those_of_a_training() -> None:
    log = PrintedLog(captured("sft", "redraws"), SCRIPT, piece_lines=9)
    view = await metrics_view(log, SCRIPT, 3, None, "", [])
    assert [line.partition("  ")[0] for line in view.lines] == ["step 10/12", "step 12/12", "step 12/12"]
    assert view.omitted == 6
    (only,) = (await metrics_view(log, SCRIPT, 9, None, "step 4/12  loss", [])).lines
    assert only.startswith("step 4/12  loss 5.")


@pytest.mark.anyio
@pytest.mark.parametrize("job", [SCRIPT, JOB])
async def test_progress_lines_come_before_what_else_is_printed(job: Job) -> None:
    own = f'TRL_MCP {JOB.run_tag} {{"kind": "log", "step": 1, "max_steps": 2, "loss": 0.5}}'
    view = await metrics_view(PrintedLog([*captured("sft"), own], job), job, 9, None, "", [])
    assert view.lines == ["step 1/2  loss 0.5"]
    nothing = await metrics_view(PrintedLog(captured("sft")), JOB, 9, None, "", [])
    assert nothing.lines == []
