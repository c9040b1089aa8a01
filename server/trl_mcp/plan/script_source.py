"""The text of a script at an https address: fetched once, so that what was checked and shown is what runs."""

import ipaddress
import socket
import ssl
from collections.abc import Collection
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

import anyio
import httpx2

from trl_mcp import __version__
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible
from trl_mcp.recipes.script import raw_address

MOST_BYTES = 1_000_000
_SECONDS = 10.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOTHING_STARTED = "Nothing was started."


async def fetch_script(
    address: str,
    trust: ssl.SSLContext | None = None,
    private_hosts: Collection[str] | None = (),
    seconds: float = _SECONDS,
) -> str:
    """Return the text at an https address; the page that shows a file on GitHub or the Hub is read raw.

    Hosts of private networks are asked only where they are named (None: all of them); `trust` says which certificates are believed (None:
    the system's). Raises InvalidArguments for an address that may not be read or holds no text, NotFound where nothing
    is there, NotPossible where the host does not give it within `seconds`.
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
                return await _Fetch(http, private_hosts).text(address)
    except TimeoutError:
        raise _refusal(address, "did not give the script in time") from None
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise _refusal(address, f"does not answer ({type(error).__name__})") from None


class _Fetch:
    def __init__(self, http: httpx2.AsyncClient, private_hosts: Collection[str] | None) -> None:
        self._http = http
        self._private_hosts = private_hosts

    async def text(self, address: str) -> str:
        """Return the text at an address, wherever it leads to."""
        at = address
        for _ in range(_MOST_REDIRECTS + 1):
            await self._check_host(at)
            async with self._http.stream("GET", at) as answer:
                if answer.status_code not in _REDIRECTS:
                    return _decoded(await _body(answer, address), answer.headers.get("Content-Type", ""), address)
                at = urljoin(at, answer.headers.get("Location", ""))
            if urlsplit(at).scheme != "https":
                raise _refusal(address, "sends readers on to an address that is not https")
        raise _refusal(address, "sends readers on too often")

    async def _check_host(self, address: str) -> None:
        """Raise InvalidArguments for a host that only this machine or its network can reach.

        A name that resolves otherwise a moment later gains nothing: no such host has a certificate for it.
        """
        host = urlsplit(address).hostname or ""
        if self._private_hosts is None or host in self._private_hosts:
            return
        try:
            found = await anyio.getaddrinfo(host, urlsplit(address).port or 443, type=socket.SOCK_STREAM)
        except OSError:
            if "https" in getproxies():  # which knows more hosts than this machine, and where it may not go
                return
            raise _refusal(address, "is a host that is not known here") from None
        if all(ipaddress.ip_address(entry[4][0].partition("%")[0]).is_global for entry in found):
            return
        raise InvalidArguments(
            f"{host} is no public host; of this machine and its network nothing is read for a caller.",
            allowed="It is where the operator sets TRL_MCP_ALLOW_LOCAL_CODE=1.",
            next_step=f"Give the text itself. {_NOTHING_STARTED}",
        )


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
