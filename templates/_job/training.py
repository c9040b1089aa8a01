"""The training itself, from the newest checkpoint to the last step."""

import contextlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.arguments import saves_by_clock
from _job.device import TrainingDevice
from _job.keeping import CheckpointKeeper
from _job.progress import report
from _job.source import TrainingData
from _job.watchers import AlreadyTrainedError, CheckpointClock, ProgressWatch, StopRequest, as_callback

EXIT_STOPPED_EARLY = 75
EXIT_TERMINATED = 143


@dataclass(frozen=True)
class TrainingOutcome:
    """How many steps the model has behind it, and the mean loss over those of this job."""

    steps: int
    train_loss: float | None


def quiet_libraries() -> None:
    """Keep progress bars, and what is said of the trainer's own defaults and of its age, out of the log."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)


def watch_training(trainer: Any, run: dict[str, Any], data: TrainingData, device: TrainingDevice) -> None:
    """Add what reports the run's progress and asks for its checkpoints."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    if not len(trainer.train_dataset):
        raise SystemExit("no row is left to train on: in every one the prompt alone fills max_length")
    missing = len(data.train) - len(trainer.train_dataset)
    if missing > 0 and not run["config"].get("packing"):
        report(
            "warning", message=f"{missing} of {len(data.train)} rows are not trained on: they do not fit in max_length"
        )
    if saves_by_clock(run):
        trainer.add_callback(as_callback(CheckpointClock(run["save_minutes"])))
    facts = {
        "rows_kept": len(data.train),
        "rows_dropped": data.dropped.total(),
        "dropped": dict(data.dropped),
        "eval_rows": len(data.evaluation or ()),
        "sequences": len(trainer.train_dataset),
        "device": device.name,
        "dtype": str(trainer.model.dtype).removeprefix("torch."),
    }
    decide_logging = not {"logging_steps", "logging_strategy"} & run["config"].keys()
    trainer.add_callback(as_callback(ProgressWatch(facts, decide_logging)))


def run_training(trainer: Any, checkpoint: Path | None, keeper: CheckpointKeeper) -> TrainingOutcome:
    """Train up to the last step, or leave the job with the exit code that says why it is not reached."""
    loss = None
    trainer.add_callback(as_callback(keeper))
    with keeper, StopRequest() as stop:
        trainer.add_callback(as_callback(stop))
        with contextlib.suppress(AlreadyTrainedError):
            loss = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None).training_loss
    steps, last = trainer.state.global_step, trainer.state.max_steps
    if stop.requested:
        leave(EXIT_TERMINATED, f"stopped on request at step {steps} of {last}, with a checkpoint")
    if steps < last:
        leave(EXIT_STOPPED_EARLY, f"stopped early, at step {steps} of {last}")
    return TrainingOutcome(steps, loss)


def leave(code: int, message: str) -> None:
    """End the job with an exit code, and with a progress line that explains it."""
    report("error", where="training", message=message)
    raise SystemExit(code)
