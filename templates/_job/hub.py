"""Talking to the Hub: what may pass is tried again, and what stays is said in one sentence, without any token."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HUB_TRIES = 5
FIRST_WAIT_S = 5.0
WAIT_GROWTH = 3
LONGEST_WAIT_S = 300.0
NEEDED_RIGHTS = {
    "write to": "the role write, or in a fine-grained token repo.write, for",
    "read": "the role read, or in a fine-grained token repo.content.read, for",
}
# 409 and 412: another commit came in between.
PASSING_STATUS = {408, 409, 412, 425, 429}


class HubError(Exception):
    """What the Hub refused or could not do; the message is for a reader."""


def hub_client() -> Any:
    """Return a client of the Hub that HF_ENDPOINT names, which prints nothing by itself."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars, logging

    logging.set_verbosity_error()
    disable_progress_bars()
    return HfApi()


def ask_hub(action: Callable[[], Any], target: str, purpose: str = "write to") -> Any:
    """Return what the action returns, tried again while its failure may pass. Raises HubError, naming the target."""
    from httpx2 import HTTPError

    wait = FIRST_WAIT_S
    for left in reversed(range(HUB_TRIES)):
        try:
            return action()
        # The client's storage library raises RuntimeError for all that happens to it.
        except (HTTPError, OSError, RuntimeError) as error:
            if not left or not may_pass(error):
                raise HubError(explain_failure(error, target, purpose)) from error
            time.sleep(min(max(wait, asked_wait(error)), LONGEST_WAIT_S))
            wait *= WAIT_GROWTH
    raise AssertionError("the last try returns or raises")


def may_pass(error: Exception) -> bool:
    """Tell whether the same request may succeed later."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    status = failure_status(error)
    if status is not None:
        return status in PASSING_STATUS or status >= 500
    passing_files = ConnectionError | TimeoutError | LocalEntryNotFoundError
    is_local = isinstance(error, OSError) and not isinstance(error, passing_files)
    return not is_local and not isinstance(error, OfflineModeIsEnabled)


def failure_status(error: BaseException) -> int | None:
    """Return the status of the answer that an error stands for."""
    return getattr(getattr(error, "response", None), "status_code", None)


def asked_wait(error: Exception) -> float:
    """Return for how many seconds the Hub asks to wait."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    found = re.search(r"\bt=(\d+)", headers.get("RateLimit", "")) or re.fullmatch(
        r"(\d+)", headers.get("Retry-After", "")
    )
    return float(found[1]) + 1 if found else 0.0


def explain_failure(error: Exception, target: str, purpose: str) -> str:
    """Say what a failure means and what would mend it."""
    said = hide_token(getattr(error, "server_message", None) or f"{type(error).__name__}: {error}")
    owner = target.partition("/")[0]
    causes = {
        401: f"the Hub does not know the token in HF_TOKEN (401); a valid one that may {purpose} {target} is needed",
        403: f"HF_TOKEN may not {purpose} {target} (403); it needs {NEEDED_RIGHTS[purpose]} {owner}",
        404: f"{target} cannot be found with this HF_TOKEN (404); it must exist, and the token may {purpose} it",
        429: f"the Hub takes no more requests for now (429), asked {HUB_TRIES} times",
    }
    cause = causes.get(failure_status(error) or 0, f"{target}: a request to {purpose} it failed")
    return f"{cause}. The answer was: {said}"


def hide_token(text: str) -> str:
    """Return the text without the job's own token."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "***") if token else text


def commit_files(repo: str, files: dict[str, Path | bytes], replaces: Callable[[str], bool], message: str) -> str:
    """Commit files, and the removal of all other files that they replace; return the commit. Raises HubError."""
    client = hub_client()
    return ask_hub(lambda: commit_once(client, repo, files, replaces, message), repo)


def commit_once(
    client: Any, repo: str, files: dict[str, Path | bytes], replaces: Callable[[str], bool], message: str
) -> str:
    """Commit as `commit_files` does, and see that the Hub has every file in its full size."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    # After an answer that was lost, the commit may be there: what is to be done is found out anew each time.
    there = client.list_repo_files(repo)
    removals = [CommitOperationDelete(name) for name in there if name not in files and replaces(name)]
    additions = [CommitOperationAdd(name, content) for name, content in files.items()]
    commit = client.create_commit(repo, [*additions, *removals], commit_message=message).oid
    check_sizes(client, repo, commit, files)
    return commit


def check_sizes(client: Any, repo: str, commit: str, files: dict[str, Path | bytes]) -> None:
    """Raise RuntimeError unless the commit holds the files with as many bytes as they have here."""
    found = client.get_paths_info(repo, list(files), revision=commit) if files else []
    there = {entry.path: entry.size for entry in found}
    here = {name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in files.items()}
    wrong = sorted(name for name, size in here.items() if there.get(name) != size)
    if wrong:
        raise RuntimeError(f"{repo} at {commit} has not all of {', '.join(wrong)}")
