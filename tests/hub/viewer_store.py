"""Configurations and splits of stored data sets, and their conversion to Parquet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from tests.hub.blobs import BlobStore
from tests.hub.repo_store import Commit, Repo, RepoStore
from tests.hub.tables import SUFFIXES, Table, join, read_table

KEYWORDS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}
KEYWORD = re.compile(r"(?:^|[/_.-])(" + "|".join([*KEYWORDS, "dev", "eval"]) + r")(?=[/_.-])")
NOT_DATA = {"dataset_infos.json", "dataset_dict.json", "config.json"}


@dataclass(frozen=True)
class Split:
    """One split of one configuration, and the files that hold it."""

    config: str
    name: str
    files: tuple[str, ...]


def _declared(commit: Commit, card: dict[str, Any] | None) -> list[Split]:
    """Return the splits that the "configs" of a card name."""
    splits = list[Split]()
    for config in cast("list[dict[str, Any]]", (card or {}).get("configs") or []):
        files: Any = config.get("data_files", [])
        if isinstance(files, str) or (files and isinstance(files[0], str)):
            files = [{"split": "train", "path": files}]
        for entry in cast("list[dict[str, Any]]", files):
            globs = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
            found = [path for path in sorted(commit.files) if any(fnmatchcase(path, glob) for glob in globs)]
            splits.append(Split(str(config.get("config_name", "default")), str(entry["split"]), tuple(found)))
    return splits


def _guessed(commit: Commit) -> list[Split]:
    """Return the splits that the names of the data files suggest."""
    files = dict[str, list[str]]()
    for path in sorted(commit.files):
        if path.endswith(SUFFIXES) and path not in NOT_DATA:
            found = KEYWORD.findall(path)
            files.setdefault(KEYWORDS.get(found[-1], "validation") if found else "train", []).append(path)
    order = {"train": 0, "validation": 1, "test": 2}
    return [Split("default", name, tuple(files[name])) for name in sorted(files, key=lambda name: order[name])]


class ViewerStore:
    """Reads data sets for the viewer, and keeps what it has read."""

    def __init__(self, repos: RepoStore, blobs: BlobStore) -> None:
        self._repos = repos
        self._blobs = blobs
        self._tables: dict[tuple[str, str, str], Table] = {}
        self._converted: dict[str, str] = {}
        self.frozen: dict[str, str] = {}

    def splits(self, commit: Commit, card: dict[str, Any] | None) -> list[Split]:
        """List the splits of a data set."""
        return _declared(commit, card) or _guessed(commit)

    def table(self, commit: Commit, split: Split) -> Table:
        """Read all files of a split."""
        key = (commit.sha, split.config, split.name)
        if key not in self._tables:
            contents = [(path, self._blobs.read(commit.files[path].sha256)) for path in split.files]
            self._tables[key] = join([read_table(path, content) for path, content in contents])
        return self._tables[key]

    def convert(self, repo: Repo, splits: list[Split]) -> Commit:
        """Bring the branch with the Parquet form of a data set up to date."""
        head = repo.head
        if self._converted.get(repo.internal_id) != head.sha:
            self.keep(repo, {self.parquet_path(split): self.table(head, split).parquet() for split in splits})
        return repo.commits[repo.converts["parquet"]]

    def keep(self, repo: Repo, contents: Mapping[str, bytes]) -> None:
        """Make files the Parquet form of a data set's newest commit."""
        files = {path: self._repos.file(path, self._blobs.add(data)) for path, data in contents.items()}
        commit = repo.add_commit(None, files, "Update parquet files", "parquet-converter")
        repo.converts["parquet"] = commit.sha
        self._converted[repo.internal_id] = repo.head.sha

    @staticmethod
    def parquet_path(split: Split) -> str:
        """Return where the Parquet form of a split lies on its branch."""
        return f"{split.config}/{split.name}/0000.parquet"
