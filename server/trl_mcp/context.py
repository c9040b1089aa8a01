"""What every tool is handed."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from trl_mcp.backends.base import Backend, Job
from trl_mcp.backends.hf import HfBackend
from trl_mcp.errors import TokenMissing
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import LOCAL, Gathering
from trl_mcp.plan.plan import PlanStore
from trl_mcp.settings import Settings
from trl_mcp.values import Finding

Progress = Callable[[float, float | None, str], Awaitable[None]]


async def no_progress(_done: float, _total: float | None, _message: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What lives as long as the server."""

    settings: Settings
    clock: Callable[[], datetime]
    local: Backend
    hub: Hub
    plans: PlanStore


@dataclass(frozen=True, slots=True)
class CallContext:
    """What one call has: the server's things, the caller's token, and what was translated in its arguments."""

    server: ServerContext
    token: str | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()
    report_progress: Progress = no_progress

    @property
    def caller(self) -> str:
        """A name for the caller that does not tell the token."""
        return hashlib.sha256((self.token or "").encode()).hexdigest()[:12]

    @property
    def gathering(self) -> Gathering:
        """What the facts of a plan are asked with."""
        return Gathering(self.server.hub, self.token, self.server.settings.is_offline)

    def secrets(self) -> list[str]:
        """Return the values that must never leave the server."""
        return [self.token] if self.token else []

    def hf(self, namespace: str) -> HfBackend:
        """Return Hugging Face Jobs in a namespace, with the caller's token. Raises TokenMissing."""
        if not self.token:
            raise TokenMissing(
                "Jobs on the Hugging Face Hub need a token, and the server has none.",
                next_step="Set HF_TOKEN for the server.",
            )
        return HfBackend(self.server.hub, self.token, namespace, locks=self.server.settings.home / "locks")

    def backend(self, namespace: str) -> Backend:
        """Return the backend of a namespace: "local" is this machine."""
        return self.server.local if namespace == LOCAL else self.hf(namespace)

    def backend_of(self, job: Job) -> Backend:
        """Return the backend that runs a job."""
        return self.backend(job.namespace)
