"""Frozen values that the Hub's room hands out: accounts, repositories, their files and what is stored in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What a fine-grained token may do with one user, organisation or repository."""

    kind: str
    name: str
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token belongs to and what it may do; `access`, the kind of token, is read, write, fineGrained or oauth.

    `organisations` are those the user is a member of, with the role: admin, write, contributor or read.
    """

    name: str
    organisations: Mapping[str, str]
    access: str
    scopes: tuple[TokenScope, ...] = ()
    tokens_page: str = ""

    def why_no_jobs(self, namespace: str) -> str | None:
        """Say why jobs cannot be run in a namespace, None where nothing speaks against it."""
        return self._why_not_in(namespace, "run jobs") or self._why_not_scoped("job.write", namespace, namespace)

    def why_no_write(self, target: str) -> str | None:
        """Say why nothing can be written to a namespace or a repository `namespace/name`; None as `why_no_jobs`."""
        namespace = target.partition("/")[0]
        return self._why_not_in(namespace, "write") or self._why_not_scoped("repo.write", namespace, target)

    def _why_not_in(self, namespace: str, what: str) -> str | None:
        if self.access == "read":
            return (
                f"The token of {self.name} may only read; it cannot {what}. Make one that may write: {self.tokens_page}"
            )
        if namespace == self.name:
            return None
        role = self.organisations.get(namespace)
        if role is None:
            known = ", ".join([self.name, *self.organisations])
            return f"{self.name} is no member of {namespace} and cannot {what} there. Namespaces: {known}."
        if role == "read":
            return f"{self.name} may only read in {namespace}; an admin there can give the role write."
        return None

    def _why_not_scoped(self, permission: str, namespace: str, target: str) -> str | None:
        if self.access != "fineGrained" or any(
            permission in scope.permissions and scope.name in {namespace, target} for scope in self.scopes
        ):
            return None
        return f"The fine-grained token lacks {permission} for {target}. Add it at {self.tokens_page}"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model repository at one commit, `sha`. What the Hub does not say is empty or None.

    `base_model` is what an adapter or fine-tune was made from; `parameters` counts stored numbers.
    """

    id: str
    sha: str
    private: bool
    gated: bool
    licence: str
    base_model: str
    has_chat_template: bool | None
    model_type: str = ""
    architectures: tuple[str, ...] = ()
    pipeline: str = ""
    library: str = ""
    parameters: int | None = None
    files: tuple[str, ...] = ()

    @property
    def is_adapter(self) -> bool:
        """Whether the repository holds an adapter and no whole model."""
        return "adapter_config.json" in self.files and "config.json" not in self.files


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A data-set repository at one commit, `sha`; `configs` maps each config to its splits as far as the card says."""

    id: str
    sha: str
    private: bool
    gated: bool
    configs: Mapping[str, tuple[str, ...]]
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputRepo:
    """A model repository to write to; `run_key` is that of its trl-mcp.json, None where there is none.

    `why_no_write` says why the token cannot write to it; empty where it can, or where there is nothing yet.
    """

    id: str
    exists: bool
    run_key: str | None = None
    private: bool | None = None
    why_no_write: str = ""


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """The private bucket of a namespace, or why it cannot be had."""

    id: str | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class HeldRun:
    """What a bucket keeps of one run: its files, their bytes, and when the newest was written."""

    run: str
    files: int
    size: int
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """What a model repository tells of its weights without their download: config.json, and what is stored.

    `tensors` maps the name of every stored tensor to its type, such as "BF16", and shape; None where nothing is stored
    as safetensors. `parameters` counts stored numbers by type. `bytes_on_disk` is the size of the weight files.
    """

    config: Mapping[str, object]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] | None
    parameters: Mapping[str, int]
    bytes_on_disk: int

    @property
    def parameter_count(self) -> int | None:
        """How many numbers are stored; None where that is not known."""
        return sum(self.parameters.values()) or None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: its bytes, and what it holds: parquet, jsonl, json, csv, the last three also as ".gz"."""

    path: str
    size: int
    kind: str


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The data files of one config and split of a data set at `commit`, in order, to be read at `revision`.

    `configs` maps every config to its splits. The two commits differ where `is_converted`: the files are then the Hub's
    own conversion to Parquet, since the repository has none that can be read; `note` says so in words.
    """

    repo_id: str
    commit: str
    revision: str
    config: str
    split: str
    files: tuple[HubFile, ...]
    configs: Mapping[str, tuple[str, ...]]
    is_converted: bool = False
    note: str = ""

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class TextLengths:
    """How long the texts of a column are, in characters."""

    shortest: int
    median: float
    mean: float
    longest: int


@dataclass(frozen=True, slots=True)
class ViewerFacts:
    """What the data-set viewer has counted in a split; where `is_partial`, from its beginning only.

    `memory_bytes` is the size of the rows in Arrow's layout. `texts` covers the text columns with many values.
    """

    rows: int
    columns: int
    memory_bytes: int
    parquet_bytes: int
    is_partial: bool
    texts: Mapping[str, TextLengths]
