"""The repository of the result: made and claimed before anything is spent on training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.hub import HubError, ask_hub, commit_files, hub_client
from _job.job_facts import job_script
from _job.progress import is_first_process
from _job.result import RECORD_NAME, record_text

SCRIPT_NAME = "train.py"
LAST_CHECKPOINT = "last-checkpoint"
BEST_CHECKPOINT = "best-checkpoint"
# What the Hub itself may put into a new repository.
BARE_FILES = {".gitattributes", "README.md"}


@dataclass(frozen=True)
class OutputRepo:
    """The repository's name, and whether this run left a checkpoint there."""

    name: str
    has_checkpoint: bool


def open_output_repo(run: dict[str, Any]) -> OutputRepo | None:
    """Make the repository and write there what is about to run; end the job where that cannot be.

    None where the run names no repository, and in all processes but the first.
    """
    if run["output_repo"] is None or not is_first_process():
        return None
    try:
        return claim_repo(run)
    except HubError as refusal:
        raise SystemExit(f"the result could not be pushed: {refusal}") from None


def claim_repo(run: dict[str, Any]) -> OutputRepo:
    """Make the repository or check that it is this run's, then commit the script and the recipe."""
    from huggingface_hub import get_token

    name = run["output_repo"]
    if not get_token():
        raise HubError(f"HF_TOKEN is not set; a token that may write to {name} is needed")
    client = hub_client()
    ask_hub(lambda: client.create_repo(name, private=run["private"], exist_ok=True), name)
    there = set(ask_hub(lambda: client.list_repo_files(name), name))
    is_ours = owner_key(client, name, there) == run["run_key"]
    if not is_ours and there - BARE_FILES and run.get("overwrite") is not True:
        raise HubError(
            f"{name} holds files that are not of this run ({run['run_key']}), and nothing allows to overwrite them; "
            "another output_repo is needed, or that consent"
        )
    # A checkpoint of another run would be taken for one of this run from now on.
    commit_files(name, script_and_record(run), lambda path: not is_ours and is_checkpoint(path), "Start training")
    return OutputRepo(name, is_ours and f"{LAST_CHECKPOINT}/trainer_state.json" in there)


def owner_key(client: Any, name: str, there: set[str]) -> str | None:
    """Return the run key that the repository's record names."""
    if RECORD_NAME not in there:
        return None
    # The copy of an earlier job, kept on this machine, could name another run.
    path = ask_hub(lambda: client.hf_hub_download(name, RECORD_NAME, force_download=True), name)
    try:
        record = json.loads(Path(path).read_bytes())
    except ValueError:
        return None
    return record.get("run_key") if isinstance(record, dict) else None


def is_checkpoint(path: str) -> bool:
    """Tell whether a file of the repository belongs to a checkpoint."""
    return path.partition("/")[0] in {LAST_CHECKPOINT, BEST_CHECKPOINT}


def script_and_record(run: dict[str, Any]) -> dict[str, Path | bytes]:
    """Return the files that say what runs."""
    script = job_script()
    files: dict[str, Path | bytes] = {SCRIPT_NAME: script.read_bytes()} if script else {}
    return files | {RECORD_NAME: record_text(run).encode()}
