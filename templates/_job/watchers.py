"""What watches a training run from inside: progress lines, checkpoints by the clock, and the request to stop."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any, Self

from _job.progress import report

LOG_STEPS_LIMIT = 10
LOGS_PER_RUN = 50


class AlreadyTrainedError(Exception):
    """The checkpoint to go on from is already at the last step."""


class ProgressWatch:
    """Prints a progress line for the start and each log."""

    def __init__(self, facts: dict[str, Any], decide_logging: bool) -> None:
        """Keep what the start line tells of data and device, and whether the run left open how often to log."""
        self.facts = facts
        self.decide_logging = decide_logging
        self.began = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say what is about to run, and from which step."""
        self.began = time.monotonic()
        if self.decide_logging:
            args.logging_steps = state.logging_steps = max(1, min(LOG_STEPS_LIMIT, state.max_steps // LOGS_PER_RUN))
        batch = {"per_device_batch": args.per_device_train_batch_size, "accumulation": args.gradient_accumulation_steps}
        steps = {"max_steps": state.max_steps, "resume_step": state.global_step}
        report("start", **self.facts, **steps, **batch, world_size=args.world_size)
        if state.global_step >= state.max_steps:
            raise AlreadyTrainedError

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log at each checkpoint too, so that a run that goes on from there averages over the same steps."""
        control.should_log = control.should_log or control.should_save

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Print what the trainer logs, as numbers."""
        elapsed = round(time.monotonic() - self.began, 3)
        place = {"step": state.global_step, "max_steps": state.max_steps, "epoch": state.epoch, "elapsed_s": elapsed}
        report("log", **{**(logs or {}), **place})


class CheckpointClock:
    """Asks for a checkpoint before so many minutes of work could be lost, as far as steps take as long as the last."""

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        """Set the interval; `now` tells the time in seconds."""
        self.seconds, self.now = minutes * 60, now
        self.saved = self.stepped = now()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.saved = self.stepped = self.now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint where the next step would be too late for it; after the last the model itself is saved."""
        now = self.now()
        next_end, self.stepped = now + (now - self.stepped), now
        due = any_process(next_end - self.saved > self.seconds, args)
        control.should_save = control.should_save or (due and state.global_step < state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock again."""
        self.saved = self.stepped = self.now()


class StopRequest:
    """Turns SIGTERM into a checkpoint at the end of the running step, and the end of training."""

    def __init__(self) -> None:
        """Begin without a request."""
        self.requested = False

    def __enter__(self) -> Self:
        """Take the signal over."""
        self.previous = signal.signal(signal.SIGTERM, self.note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signal back: from here on it ends the job at once."""
        signal.signal(signal.SIGTERM, self.previous)

    def note(self, *_: object) -> None:
        """Remember the request until the step is over."""
        self.requested = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log, save and stop where that was asked for."""
        self.requested = any_process(self.requested, args)
        if self.requested:
            control.should_log = control.should_save = control.should_training_stop = True


def any_process(decision: bool, args: Any) -> bool:
    """Return the decision of this process, or with several ones what any of them decided: all must do the same."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return decision
    from torch import distributed, tensor

    vote = tensor(int(decision), device=args.device)
    distributed.all_reduce(vote, op=distributed.ReduceOp.MAX)
    return bool(vote.item())


def as_callback(watcher: Any) -> Any:
    """Return a callback for the trainer that passes its events on to the watcher's methods."""
    from transformers import TrainerCallback

    events = {name: staticmethod(getattr(watcher, name)) for name in dir(watcher) if name.startswith("on_")}
    return type(type(watcher).__name__, (TrainerCallback,), events)()
