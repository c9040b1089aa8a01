"""Repositories with their commits, branches and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex

from tests.hub.accounts import Accounts, Token
from tests.hub.blobs import BlobStore
from tests.hub.clock import utcnow
from tests.hub.errors import HubError, missing_permission, repo_not_found

LFS_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".gguf",
    ".parquet",
    ".pt",
    ".pth",
    ".arrow",
    ".zip",
    ".gz",
    ".onnx",
    ".pkl",
    ".model",
)
LFS_THRESHOLD = 10_000_000
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def is_lfs(path: str, size: int) -> bool:
    """Whether a file of this name and size goes to large-file storage."""
    return size > LFS_THRESHOLD or path.endswith(LFS_SUFFIXES)


@dataclass(frozen=True)
class RepoFile:
    """One file of a commit."""

    sha256: str
    size: int
    oid: str
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """A snapshot of a repository."""

    sha: str
    title: str
    message: str
    author: str
    date: datetime
    parent: str | None
    files: Mapping[str, RepoFile]


@dataclass
class SpaceSettings:
    """What a Space has beyond its files."""

    sdk: str
    hardware: str = "cpu-basic"
    sleep_time: int | None = None
    stage: str = "RUNNING"
    secrets: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    variables: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    volumes: list[dict[str, object]] = field(default_factory=list[dict[str, object]])


@dataclass
class Repo:
    """A model, data-set or Space repository."""

    type: str
    id: str
    creator: str
    private: bool = False
    gated: bool | str = False
    granted: set[str] = field(default_factory=set[str])
    internal_id: str = field(default_factory=lambda: token_hex(12))
    created: datetime = field(default_factory=utcnow)
    branches: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    converts: dict[str, str] = field(default_factory=dict[str, str])
    commits: dict[str, Commit] = field(default_factory=dict[str, Commit])
    space: SpaceSettings | None = None

    @property
    def namespace(self) -> str:
        """The user or organisation that owns the repository."""
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        """The newest commit of the main branch."""
        return self.commits[self.branches["main"]]

    @property
    def path(self) -> str:
        """The repository's path below the endpoint."""
        return PREFIXES[self.type] + self.id

    def revision(self, name: str) -> Commit:
        """Find a commit by branch, tag, ref or (shortened) commit hash."""
        short = name.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("refs/convert/")
        table = self.converts if name.startswith("refs/convert/") else {**self.tags, **self.branches}
        sha = table.get(short)
        if sha is None and len(name) >= 7:
            sha = next((sha for sha in self.commits if sha.startswith(name)), None)
        if sha is None:
            raise HubError(404, f"Invalid rev id: {name}", "RevisionNotFound", {"X-Repo-Commit": self.head.sha})
        return self.commits[sha]

    def history(self, commit: Commit) -> list[Commit]:
        """Return a commit and its ancestors, newest first."""
        line = [commit]
        while line[-1].parent is not None:
            line.append(self.commits[line[-1].parent])
        return line

    def add_commit(self, parent: Commit | None, files: Mapping[str, RepoFile], title: str, author: str) -> Commit:
        """Record a snapshot on top of a parent; the first line of the title is what lists show."""
        head, _, body = title.partition("\n")
        commit = Commit(
            token_hex(20), head, body.strip(), author, utcnow(), parent.sha if parent else None, dict(files)
        )
        self.commits[commit.sha] = commit
        return commit


class RepoStore:
    """All repositories of one emulated Hub, and who may see and change them."""

    def __init__(self, accounts: Accounts, blobs: BlobStore) -> None:
        self._accounts = accounts
        self._blobs = blobs
        self.repos: dict[tuple[str, str], Repo] = {}

    def create(self, repo_type: str, repo_id: str, creator: str, *, private: bool = False) -> Repo:
        """Create a repository with its first commit."""
        self._accounts.owner(repo_id.split("/", maxsplit=1)[0])
        repo = self.repos[(repo_type, repo_id)] = Repo(repo_type, repo_id, creator, private=private)
        files = {".gitattributes": self.file(".gitattributes", self._blobs.add(GIT_ATTRIBUTES.encode()))}
        repo.branches["main"] = repo.add_commit(None, files, "initial commit", creator).sha
        return repo

    def file(self, path: str, sha256: str, *, lfs: bool | None = None) -> RepoFile:
        """Describe stored content as a file of a commit."""
        size = self._blobs.size(sha256)
        lfs = is_lfs(path, size) if lfs is None else lfs
        body = self._pointer(sha256, size) if lfs else self._blobs.read(sha256)
        oid = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        return RepoFile(sha256, size, oid, lfs)

    def put(self, repo: Repo, files: Mapping[str, bytes], title: str = "add files") -> Commit:
        """Commit contents to the main branch."""
        added = {path: self.file(path, self._blobs.add(content)) for path, content in files.items()}
        commit = repo.add_commit(repo.head, {**repo.head.files, **added}, title, repo.creator)
        repo.branches["main"] = commit.sha
        return commit

    def visible(self, repo_type: str, repo_id: str, token: Token | None) -> Repo:
        """Find a repository that the caller may know about."""
        repo = self.repos.get((repo_type, repo_id))
        if repo is None or (repo.private and not self._accounts.may_read(token, repo_type, repo_id)):
            raise repo_not_found(authenticated=token is not None)
        return repo

    def readable(self, repo_type: str, repo_id: str, token: Token | None) -> Repo:
        """Find a repository whose content the caller may read."""
        repo = self.visible(repo_type, repo_id, token)
        if repo.gated and not self._passes_gate(repo, token):
            self._refuse_gate(repo, token)
        return repo

    def writable(self, repo_type: str, repo_id: str, token: Token | None) -> Repo:
        """Find a repository that the caller may change."""
        repo = self.visible(repo_type, repo_id, token)
        if not self._accounts.may_write(token, repo_type, repo_id, repo.creator):
            if token is None:
                raise repo_not_found(authenticated=False)
            raise missing_permission(repo.namespace, "repo.write")
        return repo

    def _passes_gate(self, repo: Repo, token: Token | None) -> bool:
        if token is None:
            return False
        return token.user.name in repo.granted or self._accounts.may_read(token, repo.type, repo.id)

    def _refuse_gate(self, repo: Repo, token: Token | None) -> None:
        if token is None:
            text = f"Access to {repo.type} {repo.id} is restricted. You must have access to it and be authenticated"
            raise HubError(401, f"{text} to access it. Please log in.", "GatedRepo")
        text = f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list."
        raise HubError(403, f"{text} Visit https://huggingface.co/{repo.path} to ask for access.", "GatedRepo")

    @staticmethod
    def _pointer(sha256: str, size: int) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
