"""The text of a script at an https address: fetched once, so that what was checked and shown is what runs."""

import ssl
from collections.abc import Collection
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from trl_mcp import __version__
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible
from trl_mcp.recipes.script import raw_address
from trl_mcp.web_trail import Trail

MOST_BYTES = 1_000_000
_SECONDS = 10.0
_INSTEAD = "Give the text itself."
_NOTHING_STARTED = "Nothing was started."


async def fetch_script(
    address: str,
    trust: ssl.SSLContext | None = None,
    private_hosts: Collection[str] | None = (),
    seconds: float = _SECONDS,
) -> str:
    """Return the text at an https address; the page that shows a file on GitHub or the Hub is read raw.

    Hosts of private networks are asked only where they are named (None: all of them); `trust` says which certificates
    are believed (None: the system's). Raises InvalidArguments for an address that may not be read or holds no text,
    NotFound where nothing is there, NotPossible where the host does not give it within `seconds`.
    """
    address = raw_address(address)
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    headers = {"User-Agent": f"trl-mcp/{__version__}", "Accept": "text/plain, */*"}
    try:
        with anyio.fail_after(seconds):
            # A handshake that is given up by the client is cleaned up by it, too.
            timeout = httpx2.Timeout(seconds / 2)
            async with httpx2.AsyncClient(
                verify=trust or True, cookies=cookies, headers=headers, timeout=timeout
            ) as http:
                return await _text(http, Trail(address, private_hosts, _INSTEAD))
    except TimeoutError:
        raise _refusal(address, "did not give the script in time") from None
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise _refusal(address, f"does not answer ({type(error).__name__})") from None


async def _text(http: httpx2.AsyncClient, trail: Trail) -> str:
    """Return the text at an address, wherever it leads to."""
    address = trail.at
    while True:
        await anyio.to_thread.run_sync(trail.check, abandon_on_cancel=True)
        async with http.stream("GET", trail.at) as answer:
            if not trail.follow(answer.status_code, answer.headers.get("Location", "")):
                return _decoded(await _body(answer, address), answer.headers.get("Content-Type", ""), address)


async def _body(answer: httpx2.Response, address: str) -> bytes:
    if answer.status_code in (404, 410):
        raise NotFound(
            f"{urlsplit(address).hostname} has no script at this address.",
            next_step=f"Check the URL; what is private cannot be read: give its text. {_NOTHING_STARTED}",
        )
    if not answer.is_success:
        raise _refusal(address, f"does not give the script: it answered with status {answer.status_code}")
    data = b""
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > MOST_BYTES:
            raise InvalidArguments(
                f"What lies at this address is larger than {MOST_BYTES:,} bytes.",
                allowed="A script is a text file.",
                next_step=_NOTHING_STARTED,
            )
    return data


def _decoded(data: bytes, kind: str, address: str) -> str:
    """Return what was fetched as text. Raises InvalidArguments for a page or a binary file."""
    is_page = "text/html" in kind.lower() or data.lstrip()[:15].lower().startswith((b"<!doctype", b"<html"))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not is_page and "\0" not in text:
        return text
    what = "a page for people" if is_page else "no text"
    raise InvalidArguments(
        f"{urlsplit(address).hostname} gives {what} at this address, not a script.",
        allowed="It is the address of the file itself, such as https://raw.githubusercontent.com/owner/name/main/x.py.",
        next_step=f"Give that, or the text of the script. {_NOTHING_STARTED}",
    )


def _refusal(address: str, what: str) -> NotPossible:
    return NotPossible(
        f"{urlsplit(address).hostname} {what}.",
        next_step=f"Call again, or give the text of the script itself. {_NOTHING_STARTED}",
    )
