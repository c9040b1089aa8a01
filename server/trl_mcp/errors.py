"""Every error a caller can be told of.

The tree:

* TrlMcpError
  x InvalidArguments    the call cannot be understood
  x NotFound            what the call names does not exist
    - UnknownJob
    - UnknownPlan
  x UnreadableData      a data file exists but cannot be read as what it says it is
  x NotPossible         the call is understood but cannot be done now
    - BackendUnavailable

A refusal (status "refused") is no error: it is a result with findings. Only app.py turns these into MCP tool errors.
"""


class TrlMcpError(Exception):
    """A failure the caller can act on: what was wrong, what is allowed, what to do next."""

    def __init__(self, what: str, *, allowed: str = "", next_step: str = "") -> None:
        super().__init__(" ".join(part for part in (what, allowed, next_step) if part))
        self.what = what
        self.allowed = allowed
        self.next_step = next_step


class InvalidArguments(TrlMcpError):
    """The arguments cannot be understood; nothing was started."""


class NotFound(TrlMcpError):
    """What the arguments name does not exist; nothing was started."""


class UnknownJob(NotFound):
    """No job has this id on the backend asked."""


class UnknownPlan(NotFound):
    """No plan of this caller has this id, or it is older than 24 hours."""


class UnreadableData(TrlMcpError):
    """A data file cannot be read as the kind its name says."""


class NotPossible(TrlMcpError):
    """The call is understood but cannot be done in the present state."""


class BackendUnavailable(NotPossible):
    """The backend cannot run jobs on this machine or with this token."""
