"""Everything one emulated Hub knows, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from tests.hub.accounts import Accounts
from tests.hub.blobs import BlobStore
from tests.hub.bucket_store import BucketStore
from tests.hub.faults import Faults
from tests.hub.hardware import Hardware
from tests.hub.job_metrics import GpuSample
from tests.hub.job_runner import JobRunner, RunOptions, Stores
from tests.hub.job_store import JobStore
from tests.hub.repo_store import RepoStore
from tests.hub.request_log import RequestLog
from tests.hub.served_models import ServedModel
from tests.hub.viewer_store import ViewerStore
from tests.hub.xet_store import XetStore


@dataclass
class Storage:
    """The host that large files are read from, where it is not the Hub's own, and what its signed links carry."""

    endpoint: str | None = None
    signature: str = field(default_factory=lambda: token_hex(8))


@dataclass
class HubState:
    """The stores of one emulated Hub and the settings that tests may change."""

    accounts: Accounts
    blobs: BlobStore
    xet: XetStore
    repos: RepoStore
    buckets: BucketStore
    viewer: ViewerStore
    hardware: Hardware
    jobs: JobStore
    runner: JobRunner
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(default_factory=RequestLog)
    gpu: GpuSample = field(default_factory=GpuSample)
    served: dict[str, ServedModel] = field(default_factory=dict[str, ServedModel])
    credits: dict[str, int] = field(default_factory=dict[str, int])
    endpoint: str = ""
    storage: Storage = field(default_factory=Storage)
    keep_alive_s: float = 30.0
    page_size: int = 100

    @classmethod
    def below(cls, root: Path, options: RunOptions) -> HubState:
        """Create an empty Hub that keeps its files below a directory."""
        accounts, hardware = Accounts(), Hardware()
        blobs = BlobStore(root / "blobs")
        xet = XetStore(root / "xorbs", blobs)
        repos = RepoStore(accounts, blobs)
        buckets = BucketStore(root / "buckets", accounts, blobs, xet)
        runner = JobRunner(root / "jobs", Stores(repos, buckets, blobs, hardware), options)
        viewer = ViewerStore(repos, blobs)
        return cls(accounts, blobs, xet, repos, buckets, viewer, hardware, JobStore(), runner)

    def balance(self, namespace: str) -> int:
        """Return the credits that a namespace has left, in micro-USD."""
        return self.credits.get(namespace, 0) - self.jobs.billed(namespace=namespace)
