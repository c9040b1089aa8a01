"""The error answers of the Hub, raised by handlers and turned into JSON by the application."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class HubError(Exception):
    """An answer with an error status, its message, and the Hub's error code."""

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


def error_response(error: HubError) -> Response:
    """Turn an error into the JSON body and the headers that the client libraries read."""
    headers = {"X-Error-Message": error.message, "X-Request-Id": f"Root=1-{token_hex(8)}", **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse({"error": error.message}, error.status, headers=headers)


async def handle_hub_error(request: Request, error: Exception) -> Response:
    """Answer a request whose handler raised a HubError."""
    assert isinstance(error, HubError), (request.url.path, error)
    return error_response(error)


def bad_credentials() -> HubError:
    """Build the answer to an unknown or missing token."""
    return HubError(401, "Invalid credentials in Authorization header")


def repo_not_found(*, authenticated: bool) -> HubError:
    """Build the answer for a repository that is missing, or hidden from the caller."""
    if authenticated:
        return HubError(404, "Repository not found", "RepoNotFound")
    return HubError(401, "Invalid username or password.", "RepoNotFound")


def missing_permission(namespace: str, permission: str) -> HubError:
    """Build the answer to a token that may not do this in the namespace."""
    return HubError(
        403,
        f"You don't have the required permissions to complete this action on namespace {namespace}, "
        f"missing permissions: {permission}",
    )
