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
    - DayLimitReached      a paid job would pass the operator's limit of the day
    - HubError            the Hugging Face Hub did not do what was asked
      + TokenMissing
      + TokenRejected
      + PermissionMissing
      + AccessNotGranted
      + CreditsMissing
      + RateLimited
      + HubUnreachable
      + RequestRefused

A refusal (status "refused") is no error: it is a result with findings. Only app.py turns these into MCP tool errors.
"""

from trl_mcp.values import DaySpending


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


class DayLimitReached(NotPossible):
    """A paid job would pass the operator's limit of the day; `spending` says how much of it is taken."""

    def __init__(self, spending: DaySpending) -> None:
        super().__init__("The operator's limit for paid jobs of this day does not allow another one of this price.")
        self.spending = spending


class HubError(NotPossible):
    """The Hugging Face Hub did not do what was asked."""


class TokenMissing(HubError):
    """The call needs a token and none was given."""


class TokenRejected(HubError):
    """The Hub does not know the token, or it has expired."""


class PermissionMissing(HubError):
    """The token is valid and may not do this here."""


class AccessNotGranted(HubError):
    """The repository is gated, and its conditions were not accepted."""


class CreditsMissing(HubError):
    """The namespace has no credits to pay with."""


class RateLimited(HubError):
    """The Hub asks to come back later."""


class HubUnreachable(HubError):
    """The Hub gave no answer, or answered that it is out of order."""


class RequestRefused(HubError):
    """The Hub understood the request and refuses it for another reason."""
