"""Frozen values that rooms hand to each other, and the names that must exist only once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ToolName(StrEnum):
    """The tools an agent can call."""

    SUBMIT_TRAINING = "submit_training"
    START_JOB = "start_job"
    JOB_STATUS = "job_status"
    JOB_LOGS = "job_logs"
    CANCEL_JOB = "cancel_job"


class Severity(StrEnum):
    """How much a finding matters: an error stops the submission unless it is accepted by its code."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: what is wrong or was translated, and the mend."""

    code: str
    severity: Severity
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a scan of a data set found. Counts are rows; `rows_checked` is less than all where time ran out."""

    name: str
    layout: str
    conversion: str
    rows_checked: int
    rows_kept: int
    complete: bool
    fingerprint: str
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of a model without loading it; `has_chat_template` is None where it was not looked at."""

    name: str
    fingerprint: str
    has_chat_template: bool | None = None


@dataclass(frozen=True, slots=True)
class Flavor:
    """A kind of machine on offer. GB are 10^9 bytes, `vram_gb` of all its GPUs; the price is per started minute."""

    name: str
    pretty_name: str
    vcpu: int
    ram_gb: float
    disk_gb: float
    accelerator: str
    gpu_count: int
    vram_gb: float
    micro_usd_per_minute: int


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
    has_model: bool = False
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
class GpuUse:
    """What the GPUs of a job do at one moment: the mean use in percent, memory of all of them in GB (10^9 bytes)."""

    gpus: int
    utilization: float
    memory_used_gb: float
    memory_total_gb: float


def call(tool: ToolName, **arguments: object) -> str:
    """Return the literal call of a tool that an agent can make next."""
    given = ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items())
    return f"{tool}({given})"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
