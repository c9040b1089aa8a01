"""Faults on demand: what goes wrong with which request, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

FaultKind = Literal["drop_before", "drop_after", "status", "slow"]


@dataclass
class Fault:
    """One kind of trouble for the requests that match.

    drop_before closes the connection before the request is acted upon, drop_after once it was, status answers
    with an error instead of acting, slow waits before acting.
    """

    method: str = "*"
    path: str = "*"
    kind: FaultKind = "status"
    status: int = 500
    times: int = 1
    message: str = "Internal Server Error"
    error_code: str | None = None
    retry_after: int | None = None
    delay_s: float = 1.0
    skip: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault still has to hit a request of this kind."""
        return self.times > 0 and self.method in {"*", method} and fnmatchcase(path, self.path)


class Faults:
    """The faults waiting to happen."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Arm a fault; it is used up after its number of times."""
        self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Disarm all faults."""
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Use up one occurrence of the first fault that hits a request."""
        for fault in self._waiting:
            if not fault.matches(method, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None
