"""What TRL's loop for PPO lacks: to stop on request, to go on from a checkpoint, to serve few prompts."""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _job.device import TrainingDevice
from _job.watchers import as_callback

VALUE_FOLDER = "value_model"
STATE_FILE = "trainer_state.json"


class TrainingStoppedError(Exception):
    """The run is to stop, and TRL's loop would not."""


class PromptBatches:
    """Batches of prompts without end, in an order that follows from the seed, from the trainer's step on."""

    def __init__(self, trainer: Any) -> None:
        """Serve the rows of this trainer."""
        self.trainer = trainer
        self.order: tuple[int, list[int]] = (-1, [])

    def __iter__(self) -> Iterator[Any]:
        """Yield this process's share of each batch until training is to stop."""
        args, rank = self.trainer.args, self.trainer.accelerator.process_index
        first = self.trainer.state.global_step * args.batch_size + rank * args.local_batch_size
        for start in itertools.count(first, args.batch_size):
            if self.trainer.control.should_training_stop:
                raise TrainingStoppedError
            places = range(start, start + args.local_batch_size)
            yield self.trainer.data_collator([self.row(place) for place in places])

    def row(self, place: int) -> dict[str, Any]:
        """Return the row at a place in the endless sequence of passes over the data."""
        rows = self.trainer.train_dataset
        turn, within = divmod(place, len(rows))
        if self.order[0] != turn:
            self.order = (turn, self.shuffled(turn, len(rows)))
        return rows[self.order[1][within]]

    def shuffled(self, turn: int, count: int) -> list[int]:
        """Return the order of one pass; drawing it leaves all other random numbers as they were."""
        import torch

        generator = torch.Generator().manual_seed(self.trainer.args.seed + turn)
        return torch.randperm(count, generator=generator).tolist()


class CheckpointRestorer:
    """Puts a trainer where a checkpoint left it, after its loop has set everything to zero."""

    def __init__(self, trainer: Any, checkpoint: Path) -> None:
        """Keep what is restored, and from where."""
        self.trainer = trainer
        self.checkpoint = checkpoint

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Restore models, optimizer, schedule, counters and random numbers, and leave only the other steps to do."""
        self.trainer.restore(self.checkpoint)
        saved = type(state).load_from_json(str(self.checkpoint / STATE_FILE))
        for name in ("global_step", "episode", "epoch", "log_history"):
            setattr(state, name, getattr(saved, name))
        args.num_total_batches = state.max_steps - state.global_step


class ResumablePPO:
    """Mixed into TRL's PPO trainer: it stops where a callback asks for it and goes on from a checkpoint."""

    args: Any
    state: Any
    control: Any
    model: Any
    policy_model: Any
    value_model: Any
    optimizer: Any
    lr_scheduler: Any
    callback_handler: Any
    dataloader: Any
    _load_from_checkpoint: Any
    _load_rng_state: Any

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Train to the last step, or until a callback stops it, and return how far it came with the mean loss."""
        from transformers.trainer_utils import TrainOutput

        self.dataloader = PromptBatches(self)
        if resume_from_checkpoint:
            restorer = CheckpointRestorer(self, Path(resume_from_checkpoint))
            # Before all others: they report the step that training goes on from.
            self.callback_handler.callbacks.insert(0, as_callback(restorer))
        try:
            super().train()  # pyright: ignore[reportAttributeAccessIssue]
        except TrainingStoppedError:
            self.callback_handler.on_train_end(self.args, self.state, self.control)
        loss = mean_ppo_loss(self.state.log_history, self.args.vf_coef)
        return TrainOutput(self.state.global_step, loss, {})

    def restore(self, checkpoint: Path) -> None:
        """Load policy, value model, optimizer, schedule and random numbers from a checkpoint."""
        import torch
        from transformers import AutoModelForSequenceClassification

        with self.policy_as_model():
            self._load_from_checkpoint(str(checkpoint))
        value = AutoModelForSequenceClassification.from_pretrained(checkpoint / VALUE_FOLDER)
        self.value_model.load_state_dict(value.state_dict())
        for part, name in ((self.optimizer, "optimizer.pt"), (self.lr_scheduler, "scheduler.pt")):
            part.load_state_dict(torch.load(checkpoint / name, map_location="cpu", weights_only=True))
        self._load_rng_state(str(checkpoint))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the policy alone, also where several processes train it."""
        with self.policy_as_model():
            super().save_model(output_dir, _internal_call)  # pyright: ignore[reportAttributeAccessIssue]

    @contextmanager
    def policy_as_model(self) -> Generator[None]:
        """Let the trainer take the policy for its model, as saving and loading want it."""
        trained, self.model = self.model, self.policy_model
        try:
            yield
        finally:
            self.model = trained

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save the value model beside the optimizer: both are needed to go on."""
        super()._save_optimizer_and_scheduler(output_dir)  # pyright: ignore[reportAttributeAccessIssue]
        if self.args.should_save:
            self.value_model.save_pretrained(Path(output_dir, VALUE_FOLDER))


def limit_episodes(args: Any, device: TrainingDevice) -> None:
    """Let max_steps mean what it does elsewhere: TRL's loop counts prompts instead."""
    if args.max_steps > 0:
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * device.processes
        args.total_episodes = args.max_steps * batch


def act_as_policy(trainer: Any) -> Any:
    """Return the trainer with a model that answers, and tells of itself, as the policy inside it does."""
    for name in ("generate", "device", "dtype"):
        setattr(trainer.model, name, getattr(trainer.policy_model, name))
    return trainer


def mean_ppo_loss(history: list[dict[str, Any]], value_weight: float) -> float:
    """Return the mean over all logged steps of what was minimised."""
    steps = [entry for entry in history if "loss/policy_avg" in entry]
    losses = [entry["loss/policy_avg"] + value_weight * entry["loss/value_avg"] for entry in steps]
    return sum(losses) / max(1, len(losses))
