"""What every tool is handed."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from trl_mcp.backends.base import Backend
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

    def secrets(self) -> Iterator[str]:
        """Return the values that must never leave the server."""
        return (value for value in (self.token,) if value)
