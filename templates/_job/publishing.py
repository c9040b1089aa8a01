"""The result brought to the Hub, and kept until it is there."""

import json
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from _job.checkpoints import has_whole_weights, read_json_object
from _job.folders import JobFolders, copy_folder, files_below
from _job.hub import HubError, commit_files, hub_client
from _job.output_repo import OutputRepo, is_checkpoint
from _job.progress import is_first_process, report
from _job.result import RECORD_NAME

# Beside a new model such files of an older one would be loaded with it, or in its place.
MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


def kept_result(run: dict[str, Any], folders: JobFolders) -> dict[str, Any] | None:
    """Return what is known of the result that an earlier job of the run could not push; None where there is none."""
    if folders.final is None or run["output_repo"] is None:
        return None
    record = read_json_object(folders.final / RECORD_NAME)
    same = record.get("run_key") == run["run_key"] and record["recipe"]["config"] == as_json(run["config"])
    return record.get("result") if same and has_whole_weights(folders.final) else None


def as_json(value: Any) -> Any:
    """Return the value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def take_kept_result(folders: JobFolders) -> None:
    """Bring the result of an earlier job to the output folder."""
    if folders.final is not None and is_first_process():
        copy_folder(folders.final, folders.output, RECORD_NAME)


def keep_result(folders: JobFolders) -> None:
    """Keep the result where a continuation finds it, so that a push that fails costs no training."""
    if folders.final is None:
        return
    try:
        copy_folder(folders.output, folders.final, RECORD_NAME)
    except OSError as error:
        sys.stderr.write(f"the result is not kept for a continuation: {error}\n")


def publish(repo: OutputRepo, folders: JobFolders) -> None:
    """Push the result, say so, and only then remove what was kept for a continuation; end the job where it fails."""
    names = [name for name in files_below(folders.output) if folders.work not in (folders.output / name).parents]
    files: dict[str, Path | bytes] = {name: folders.output / name for name in names}
    try:
        commit = commit_files(repo.name, files, is_model_file, "Finish training")
    except HubError as refusal:
        is_kept = folders.final is not None and (folders.final / RECORD_NAME).is_file()
        stays = "A continuation of the run only pushes" if is_kept else f"It lies in {folders.output}"
        raise SystemExit(f"the model could not be pushed: {refusal}. {stays}") from None
    report("push", repo=repo.name, commit=commit, url=f"{hub_client().endpoint}/{repo.name}")
    forget_run(repo.name, folders)


def is_model_file(path: str) -> bool:
    """Tell whether a file of the repository is one that a model is loaded from."""
    return "/" not in path and any(fnmatchcase(path, pattern) for pattern in MODEL_FILES)


def forget_run(repo: str, folders: JobFolders) -> None:
    """Remove checkpoints and whatever else was kept for a continuation."""
    try:
        commit_files(repo, {}, is_checkpoint, "Remove the last checkpoint")
    except HubError as refusal:
        sys.stderr.write(f"the last checkpoint stays in the repository: {refusal}\n")
    for path in filter(None, (folders.mirror, folders.final, folders.checkpoints, folders.rows)):
        shutil.rmtree(path, ignore_errors=True)
