"""Which addresses on the web are read for a caller: https only, of public hosts only, wherever they lead."""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies

from trl_mcp.errors import InvalidArguments, NotPossible

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOTHING_STARTED = "Nothing was started."


def https_parts(address: str) -> SplitResult | None:
    """Return the parts of a public https address; None for any other, and for one with a user or password in it."""
    try:
        parts = urlsplit(address.strip())
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    is_public = parts.scheme == "https" and parts.hostname and not parts.username and not parts.password
    return parts if is_public and is_port else None


class Trail:
    """The way from an https address to where its content lies: `at` is the address to ask next.

    Hosts of private networks are asked only where they are named in `private_hosts` (None: all of them); `instead` is
    the sentence that says what a caller can do instead.
    """

    def __init__(self, address: str, private_hosts: Collection[str] | None, instead: str) -> None:
        self.at = address
        self._host = urlsplit(address).hostname
        self._private_hosts = private_hosts
        self._instead = instead
        self._redirects_left = _MOST_REDIRECTS

    def check(self) -> None:
        """Raise InvalidArguments where `at` is a host that only this machine or its network can reach; it may block.

        A name that resolves otherwise a moment later gains nothing: no such host has a certificate for it. Raises
        NotPossible for a host that is not known.
        """
        parts = urlsplit(self.at)
        host = parts.hostname or ""
        if self._private_hosts is None or host in self._private_hosts:
            return
        try:
            found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            if "https" in getproxies():  # which knows more hosts than this machine, and where it may not go
                return
            raise self._refusal(f"{host} is a host that is not known here.") from None
        if all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_global for entry in found):
            return
        raise InvalidArguments(
            f"{host} is no public host; of this machine and its network nothing is read for a caller.",
            allowed="It is where the operator sets TRL_MCP_ALLOW_LOCAL_CODE=1.",
            next_step=f"{self._instead} {_NOTHING_STARTED}",
        )

    def follow(self, status: int, location: str) -> bool:
        """Go on to where an answer leads; tell whether it leads anywhere. Raises NotPossible where that is not https."""
        if status not in _REDIRECTS:
            return False
        try:
            self.at = urljoin(self.at, location)
        except ValueError:
            self.at = ""
        if https_parts(self.at) is None:
            raise self._refusal(f"{self._host} sends readers on to an address that is not https.")
        if not self._redirects_left:
            raise self._refusal(f"{self._host} sends readers on too often.")
        self._redirects_left -= 1
        return True

    def _refusal(self, what: str) -> NotPossible:
        return NotPossible(what, next_step=f"{self._instead} {_NOTHING_STARTED}")
