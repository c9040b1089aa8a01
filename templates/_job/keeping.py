"""Checkpoints brought to where the run's continuation finds them, since the machine may not outlive the job."""

import json
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from _job.checkpoints import CHECKPOINT_NAME, is_complete, newest_complete_checkpoint, read_json_object
from _job.folders import JobFolders, copy_folder, files_below
from _job.hub import HubError, ask_hub, commit_files, hub_client
from _job.output_repo import BEST_CHECKPOINT, LAST_CHECKPOINT, OutputRepo, is_checkpoint
from _job.progress import is_first_process, report
from _job.watchers import any_process

STATE_NAME = "trainer_state.json"


class CheckpointKeeper:
    """Keeps each new checkpoint while training goes on, one at a time, and prints that it is kept."""

    def __init__(self, keep: Callable[[Path, Path | None], None] | None = None) -> None:
        """Take what keeps a checkpoint, given the newest and the best one; nothing where it is kept as it is."""
        self.keep = keep
        self.running: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin with nothing to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the last checkpoint is kept."""
        self.wait()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin to keep the checkpoint that was just written, by all processes."""
        any_process(False, args)
        if self.keep is None:
            report("checkpoint", step=state.global_step)
            return
        self.wait()
        newest = Path(args.output_dir, f"checkpoint-{state.global_step}")
        best = Path(state.best_model_checkpoint) if state.best_model_checkpoint else None
        self.running = threading.Thread(target=self.keep_now, args=(self.keep, newest, best))
        self.running.start()

    def keep_now(self, keep: Callable[[Path, Path | None], None], newest: Path, best: Path | None) -> None:
        """Keep a checkpoint and say so; one that cannot be kept costs no training."""
        try:
            keep(newest, best)
        except (HubError, OSError) as error:
            sys.stderr.write(f"{newest.name} could not be kept for a continuation: {error}\n")
        else:
            report("checkpoint", step=int(newest.name.rpartition("-")[2]))

    def wait(self) -> None:
        """Wait for the checkpoint that is being kept."""
        if self.running is not None:
            self.running.join()


def checkpoint_keeper(folders: JobFolders, repo: OutputRepo | None) -> CheckpointKeeper:
    """Return what keeps checkpoints: in the folder that outlives the job, or else in the repository."""
    mirror = folders.mirror
    if mirror is not None and is_first_process():
        return CheckpointKeeper(lambda newest, _: mirror_checkpoint(newest, mirror))
    if folders.kept is None and repo is not None:
        return CheckpointKeeper(lambda newest, best: upload_checkpoint(repo.name, newest, best))
    return CheckpointKeeper()


def mirror_checkpoint(checkpoint: Path, mirror: Path) -> None:
    """Copy a checkpoint, then remove the copies of those that the trainer has removed."""
    copy_folder(checkpoint, mirror / checkpoint.name, STATE_NAME)
    for copy in mirror.glob("checkpoint-*"):
        if not (checkpoint.parent / copy.name).is_dir():
            shutil.rmtree(copy, ignore_errors=True)


def upload_checkpoint(repo: str, newest: Path, best: Path | None) -> None:
    """Put a checkpoint in the place of the last one in the repository, in one commit."""
    folders = {LAST_CHECKPOINT: newest} | ({BEST_CHECKPOINT: best} if best not in (None, newest) else {})
    files = {f"{place}/{name}": folder / name for place, folder in folders.items() for name in files_below(folder)}
    commit_files(repo, {**files}, is_checkpoint, f"Keep {newest.name}")


def find_checkpoint(folders: JobFolders, repo: OutputRepo | None) -> Path | None:
    """Return the checkpoint to go on from, brought to this machine; None for a run that begins."""
    if folders.mirror is not None:
        for checkpoint in sorted(filter(is_complete, folders.mirror.glob("checkpoint-*")), key=saved_step):
            adopt_checkpoint(checkpoint, folders.checkpoints)
    elif repo is not None and folders.kept is None and repo.has_checkpoint:
        download_checkpoints(repo.name, folders)
    newest = newest_complete_checkpoint(folders.checkpoints)
    if newest is not None:
        correct_best(newest)
    return newest


def saved_step(checkpoint: Path) -> int:
    """Return the step that a complete checkpoint was saved at."""
    return read_json_object(checkpoint / STATE_NAME)["global_step"]


def adopt_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy a complete checkpoint to where the trainer looks for it, under the name of its step."""
    target = folder / f"checkpoint-{saved_step(checkpoint)}"
    if not is_complete(target):
        copy_folder(checkpoint, target, STATE_NAME)


def download_checkpoints(repo: str, folders: JobFolders) -> None:
    """Fetch the checkpoints that the run left in the repository."""
    client, target = hub_client(), folders.work / "download"
    wanted = [f"{place}/*" for place in (LAST_CHECKPOINT, BEST_CHECKPOINT)]
    ask_hub(lambda: client.snapshot_download(repo, allow_patterns=wanted, local_dir=target), repo)
    for place in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        if is_complete(target / place):
            adopt_checkpoint(target / place, folders.checkpoints)
    shutil.rmtree(target)


def correct_best(checkpoint: Path) -> None:
    """Let a checkpoint name the best one by its place on this machine, if it is here."""
    state = read_json_object(checkpoint / STATE_NAME)
    best = Path(state.get("best_model_checkpoint") or "")
    here = checkpoint.parent / best.name
    if best == here or not CHECKPOINT_NAME.fullmatch(best.name) or not here.is_dir():
        return
    changed = checkpoint / f"{STATE_NAME}.new"
    changed.write_text(json.dumps(state | {"best_model_checkpoint": str(here)}, indent=2), encoding="utf-8")
    changed.replace(checkpoint / STATE_NAME)
