"""What goes wrong between here and the Hub -> an error with its own sentence and the remedy. The only such place."""

import re
from http import HTTPStatus
from typing import Any

import httpx2

from trl_mcp.errors import (
    AccessNotGranted,
    CreditsMissing,
    HubUnreachable,
    NotFound,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    TokenMissing,
    TokenRejected,
    TrlMcpError,
)
from trl_mcp.hub.fields import dig, text

BUSY = frozenset({408, 500, 502, 503, 504, 520, 522, 524})
_TOKEN = re.compile(r"\bhf_\w{8,}|\b[A-Za-z]+_[A-Za-z0-9]{24,}")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_RATE_LIMIT_SECONDS = re.compile(r";\s*t=(\d+)")
_LONGEST = 300
_DEFAULT_WAIT_S = 1.0


def server_message(response: httpx2.Response) -> str:
    """Return what the server says for itself, on one line, without tokens and addresses of people."""
    said = response.headers.get("X-Error-Message") or _body_message(response)
    said = _EMAIL.sub("***", _TOKEN.sub("***", " ".join(said.split())))
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def error_code(response: httpx2.Response) -> str:
    """Return the Hub's own word for an error, such as RepoNotFound."""
    return response.headers.get("X-Error-Code", "")


def wait_s(response: httpx2.Response) -> float:
    """Return how many seconds a rate-limited caller is asked to wait; 1 where nothing is said."""
    after = response.headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    found = _RATE_LIMIT_SECONDS.search(response.headers.get("RateLimit", ""))
    return float(found.group(1)) if found else _DEFAULT_WAIT_S


def refusal(response: httpx2.Response, doing: str, endpoint: str) -> TrlMcpError:
    """Return the error that an answer means; `doing` completes "cannot ..."."""
    said, status = _quoted(server_message(response)), response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(
            f"The Hub asks to slow down and did not {doing}{said}",
            next_step=f"Call again in {wait_s(response):.0f} s.",
        )
    if status in BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unreachable(doing, f"it answers {status}{said}")
    if error_code(response) == "GatedRepo":
        return AccessNotGranted(
            f"The repository is gated, so the token cannot {doing}{said}",
            next_step="Accept its conditions on its page with the account of the token, then call again.",
        )
    return _refusal_of_status(status, said, doing, endpoint)


def _refusal_of_status(status: int, said: str, doing: str, endpoint: str) -> TrlMcpError:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return TokenRejected(
                f"The Hub does not accept the token{said}",
                next_step=f"Make a new one at {endpoint}/settings/tokens and set it as HF_TOKEN.",
            )
        case HTTPStatus.PAYMENT_REQUIRED:
            return CreditsMissing(
                f"There are no credits to {doing}{said}",
                next_step=f"Add credits at {endpoint}/settings/billing, or name another namespace: each pays for itself.",
            )
        case HTTPStatus.FORBIDDEN:
            return PermissionMissing(
                f"The token is valid but may not {doing}{said}",
                next_step=f"Give it that permission at {endpoint}/settings/tokens, or name another namespace.",
            )
        case HTTPStatus.NOT_FOUND:
            return NotFound(f"The Hub finds nothing to {doing}{said}", next_step="Check the name and the namespace.")
        case HTTPStatus.CONFLICT:
            return RequestRefused(
                f"The Hub cannot {doing}: it is in conflict with the present state{said}",
                next_step="Look at the state, then call again.",
            )
        case _:
            return RequestRefused(
                f"The Hub refuses to {doing} (status {status}){said}", next_step="Change what it names and call again."
            )


def unreachable(doing: str, why: str | httpx2.RequestError) -> HubUnreachable:
    """Return the error for a Hub that gives no usable answer."""
    said = why if isinstance(why, str) else reason(why)
    return HubUnreachable(
        f"The Hub could not {doing}: {said.rstrip('.')}.", next_step="Call again; it may be repeated without harm."
    )


def no_token(endpoint: str) -> TokenMissing:
    """Return the error for a call that needs a token."""
    return TokenMissing(
        "This needs a Hugging Face token, and none was given.",
        next_step=f"Make one that may write at {endpoint}/settings/tokens and set it as HF_TOKEN.",
    )


def misshapen_token(endpoint: str) -> TokenRejected:
    """Return the error for a token that cannot even be sent."""
    return TokenRejected(
        "The token holds characters that no token has, such as spaces or line ends.",
        next_step=f"Copy it again from {endpoint}/settings/tokens and set it as HF_TOKEN.",
    )


def _body_message(response: httpx2.Response) -> str:
    try:
        body: Any = response.json()
    except (ValueError, httpx2.ResponseNotRead):
        return ""
    error = dig(body, "error")
    return error if isinstance(error, str) else text(body, "message")


def _quoted(said: str) -> str:
    return f': "{said}".' if said else "."


def reason(error: httpx2.RequestError) -> str:
    """Return in words why no answer came."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "no connection to it can be made"
    if isinstance(error, httpx2.TimeoutException):
        return "it did not answer in time"
    return "the connection broke off"
