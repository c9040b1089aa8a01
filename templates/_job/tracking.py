"""Where a run's metrics go beside its progress lines, and what keeps that from stopping the training."""

import importlib
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from _job.folders import job_folders
from _job.hub import hide_token, hub_client
from _job.progress import report


def named_trackers(config: dict[str, Any]) -> set[str]:
    """Return the trackers that the run reports to."""
    named = config.get("report_to") or []
    return {named} - {"none"} if isinstance(named, str) else set(named) - {"none"}


def check_trackers(run: dict[str, Any]) -> None:
    """End the job where a tracker that the run reports to would ask a person for a key."""
    offline = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    if "wandb" in named_trackers(run["config"]) and not offline and not os.environ.get("WANDB_API_KEY"):
        raise SystemExit("report_to names wandb, and WANDB_API_KEY is not set for this job")


def tracking_arguments(run: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's fields for its trackers, and set what they read from the environment."""
    config, name = run["config"], tracked_name(run)
    trackers = named_trackers(config)
    if not trackers:
        return {}
    folders = job_folders()
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folders.output / "runs" / name))
    os.environ.setdefault("WANDB_DIR", str(folders.work))
    os.environ.setdefault("WANDB_PROJECT", config.get("project") or run["method"])
    fields: dict[str, Any] = {"run_name": name}
    if "trackio" in trackers:
        # A copy of the metrics as a static Space would be a second one, and always public.
        fields["trackio_static_space_id"] = False
    if config.get("trackio_space_id"):
        fields["hub_private_repo"] = run["private"]
    return fields


def tracked_name(run: dict[str, Any]) -> str:
    """Return the run's name at its trackers: each job has one of its own, since a name seen before is appended to."""
    part = os.environ.get("TRL_MCP_PART") or secrets.token_hex(3)
    return "-".join(filter(None, (run["config"].get("run_name"), run["run_key"], part)))


def guard_tracking(trainer: Any) -> None:
    """Let the training go on where a tracker cannot be reached: its metrics are in the progress lines in any case."""
    guards = {"TrackioCallback": start_trackio, "WandbCallback": start_wandb}
    for callback in trainer.callback_handler.callbacks:
        start = guards.get(type(callback).__name__)
        if start is not None:
            callback.setup = partial(start, callback.setup)


def start_trackio(start: Callable[..., None], args: Any, *others: Any, **named: Any) -> None:
    """Start Trackio with its Space, or without one where it cannot be made or would show to all what is private."""
    from httpx2 import HTTPError

    try:
        refuse_public_space(args)
        start(args, *others, **named)
    except (HTTPError, OSError, RuntimeError) as error:
        if args.trackio_space_id is None:
            raise
        report("warning", message=hide_token(f"metrics are in this log, not in {args.trackio_space_id}: {error}"))
        args.trackio_space_id = None
        start(args, *others, **named)


def refuse_public_space(args: Any) -> None:
    """Raise RuntimeError where the model is private and the Space that is there is not."""
    from huggingface_hub.errors import RepositoryNotFoundError

    if not (args.trackio_space_id and args.hub_private_repo):
        return
    try:
        is_private = hub_client().space_info(args.trackio_space_id).private
    except RepositoryNotFoundError:
        return
    if not is_private:
        raise RuntimeError("it is public, and the model is private")


def start_wandb(start: Callable[..., None], *others: Any, **named: Any) -> None:
    """Start Weights & Biases, or a run of it that goes nowhere where it does not answer or does not know the key."""
    wandb: Any = importlib.import_module("wandb")
    try:
        start(*others, **named)
    except (wandb.errors.Error, OSError) as error:
        report("warning", message=f"metrics are in this log, not at Weights & Biases: {error}")
        wandb.init(mode="disabled")
        start(*others, **named)
