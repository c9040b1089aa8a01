"""The GGUF files of a run that are done: kept in a folder, or in the run's repository."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.checkpoints import read_json_object
from _job.hub import HubError, ask_hub, commit_files, hub_client
from _job.output_repo import OutputRepo

REPORT_NAME = "report.json"


@dataclass
class GgufShelf:
    """The files that are done, in the folder that outlives the job and, where there is one, in the repository."""

    folder: Path
    repo: OutputRepo | None
    facts: dict[str, Any]

    @property
    def files(self) -> list[dict[str, Any]]:
        """What is known of each file."""
        return self.facts["files"]

    def done(self, quantization: str) -> dict[str, Any] | None:
        """Return what is known of a file that is there and right."""
        known = next((file for file in self.files if file["quantization"] == quantization), None)
        return known if known is not None and self.has(known) else None

    def has(self, file: dict[str, Any]) -> bool:
        """Tell whether a file lies in the repository, or without one in the folder, byte for byte."""
        if self.repo is not None:
            return stored_digest(self.repo.name, file["name"]) == file["sha256"]
        path = self.folder / file["name"]
        return path.is_file() and path.stat().st_size == file["bytes"] and file_digest(path) == file["sha256"]

    def sort(self, quantizations: list[str]) -> None:
        """Bring the files into an order, without those that it does not name."""
        kept = [file for file in self.files if file["quantization"] in quantizations]
        self.facts["files"] = sorted(kept, key=lambda file: quantizations.index(file["quantization"]))

    def add(self, path: Path, facts: dict[str, Any]) -> None:
        """Keep a verified file: pushed and removed where there is a repository, else in the folder."""
        others = [file for file in self.files if file["quantization"] != facts["quantization"]]
        self.facts["files"] = [*others, facts]
        if self.repo is None:
            path.replace(self.folder / facts["name"])
            write_whole(self.folder / REPORT_NAME, report_text(self.facts))
            return
        additions: dict[str, Path | bytes] = {facts["name"]: path, REPORT_NAME: report_text(self.facts).encode()}
        commit_files(self.repo.name, additions, lambda _: False, f"Add {facts['name']}")
        if stored_digest(self.repo.name, facts["name"]) != facts["sha256"]:
            raise HubError(f"{self.repo.name} holds another {facts['name']} than was sent")
        path.unlink()


def open_shelf(folder: Path, repo: OutputRepo | None, run_key: str) -> GgufShelf:
    """Return the files that an earlier job of the run has left."""
    folder.mkdir(parents=True, exist_ok=True)
    known = read_json_object(folder / REPORT_NAME) if repo is None else stored_report(repo.name)
    return GgufShelf(folder, repo, known if known.get("run_key") == run_key else {"run_key": run_key, "files": []})


def stored_report(repo: str) -> dict[str, Any]:
    """Return the report in a repository; an empty one where there is none."""
    client = hub_client()
    if REPORT_NAME not in ask_hub(lambda: client.list_repo_files(repo), repo):
        return {}
    return read_json_object(Path(ask_hub(lambda: client.hf_hub_download(repo, REPORT_NAME, force_download=True), repo)))


def stored_digest(repo: str, name: str) -> str | None:
    """Return the sha256 of a file in a repository; of a small one, which the Hub keeps otherwise, by reading it."""
    client = hub_client()
    found = ask_hub(lambda: client.get_paths_info(repo, [name]), repo)
    if not found:
        return None
    if found[0].lfs is not None:
        return found[0].lfs.sha256
    return file_digest(Path(ask_hub(lambda: client.hf_hub_download(repo, name, force_download=True), repo)))


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    staged = path.with_name(f"{path.name}.part")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


def report_text(value: dict[str, Any]) -> str:
    """Return a value as JSON for people and programs."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
