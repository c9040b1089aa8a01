"""How much work a job can lose: checkpoints by the clock, told from steps of any length."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

watchers = load_shared("watchers")
MINUTES = 10.0
SECONDS = 60 * MINUTES


def unsaved_seconds(steps: list[float], saving_s: float = 0.0) -> tuple[list[float], int]:
    """Return how much work was never saved at the end of each step, and how many checkpoints there were."""
    passed, saved, checkpoints, found = 0.0, 0.0, 0, list[float]()
    clock = watchers.CheckpointClock(MINUTES, lambda: passed)
    state = SimpleNamespace(global_step=0, max_steps=len(steps) + 1)
    clock.on_train_begin(None, state, None)
    for seconds in steps:
        passed, state.global_step = passed + seconds, state.global_step + 1
        found.append(passed - saved)
        control = SimpleNamespace(should_save=False)
        clock.on_step_end(None, state, control)
        if control.should_save:
            passed, checkpoints = passed + saving_s, checkpoints + 1
            saved = passed
            clock.on_save(None, state, control)
    return found, checkpoints


@given(st.floats(0.01, SECONDS), st.integers(1, 300), st.floats(0, 900))
def test_of_steps_that_take_equally_long_at_most_ten_minutes_are_lost(
    seconds: float, count: int, saving_s: float
) -> None:
    unsaved, checkpoints = unsaved_seconds([seconds] * count, saving_s)
    assert max(unsaved) <= SECONDS * (1 + 1e-9)
    assert checkpoints <= count * seconds / (SECONDS - seconds) + 1 if seconds < SECONDS else checkpoints <= count


@given(st.lists(st.floats(0.01, SECONDS), min_size=1, max_size=100))
def test_of_steps_of_any_length_at_most_ten_minutes_and_what_a_step_took_longer_are_lost(steps: list[float]) -> None:
    unsaved, _ = unsaved_seconds(steps)
    longer = [max(0.0, now - before) for before, now in zip([0.0, *steps], steps, strict=False)]
    assert all(lost <= SECONDS + more + 1e-6 for lost, more in zip(unsaved, longer, strict=True))


def test_a_step_of_more_than_ten_minutes_is_saved_each_time() -> None:
    assert unsaved_seconds([900.0] * 5)[1] == 5


def test_after_the_last_step_the_model_itself_is_saved() -> None:
    clock = watchers.CheckpointClock(0.0)
    control = SimpleNamespace(should_save=False)
    clock.on_step_end(None, SimpleNamespace(global_step=5, max_steps=5), control)
    assert not control.should_save
