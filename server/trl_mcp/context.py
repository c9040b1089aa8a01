"""What every tool is handed."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from trl_mcp.backends.base import Backend, Job
from trl_mcp.backends.hf import HfBackend
from trl_mcp.data.scan_memory import ScanMemory
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.data.tokens import MeasurementMemory
from trl_mcp.errors import TokenMissing
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import LOCAL, Gathering, Progress, no_progress
from trl_mcp.plan.plan import PlanStore
from trl_mcp.settings import Settings
from trl_mcp.values import Finding

# Asks a person to agree to what stands there: True or False as they answer, None where nobody can be asked.
AskPerson = Callable[[str], Awaitable[bool | None]]


async def ask_nobody(_question: str) -> bool | None:
    """Ask where there is nobody."""
    return None


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What lives as long as the server."""

    settings: Settings
    clock: Callable[[], datetime]
    local: Backend
    hub: Hub
    plans: PlanStore
    tokens: TokenWorker
    scans: ScanMemory = field(default_factory=ScanMemory)
    measurements: MeasurementMemory = field(default_factory=MeasurementMemory)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What one call has: the server's things, the caller's token, and what was translated in its arguments."""

    server: ServerContext
    token: str | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()
    report_progress: Progress = no_progress
    ask_person: AskPerson = ask_nobody

    @property
    def caller(self) -> str:
        """A name for the caller that does not tell the token."""
        return hashlib.sha256((self.token or "").encode()).hexdigest()[:12]

    @property
    def gathering(self) -> Gathering:
        """What the facts of a plan are asked with."""
        server = self.server
        return Gathering(
            server.hub,
            self.token,
            server.settings.is_offline,
            server.tokens,
            server.scans,
            server.measurements,
            self.report_progress,
            server.settings.environ,
            server.settings.home,
            frozenset(server.settings.secret_values),
            server.settings.private_hosts,
        )

    def secrets(self) -> list[str]:
        """Return the values that must never leave the server."""
        handed_on = self.server.settings.secret_values.values()
        return [*([self.token] if self.token else []), *handed_on]

    def hf(self, namespace: str) -> HfBackend:
        """Return Hugging Face Jobs in a namespace, with the caller's token. Raises TokenMissing."""
        if not self.token:
            raise TokenMissing(
                "Jobs on the Hugging Face Hub need a token, and the server has none.",
                next_step="Set HF_TOKEN for the server.",
            )
        settings = self.server.settings
        locks, limit = settings.home / "locks", settings.max_usd_per_day
        return HfBackend(self.server.hub, self.token, namespace, locks=locks, day_limit=limit)

    def backend(self, namespace: str) -> Backend:
        """Return the backend of a namespace: "local" is this machine."""
        return self.server.local if namespace == LOCAL else self.hf(namespace)

    def backend_of(self, job: Job) -> Backend:
        """Return the backend that runs a job."""
        return self.backend(job.namespace)
