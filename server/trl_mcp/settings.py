"""What the operator sets, read from the environment once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from trl_mcp.errors import InvalidArguments

_TOKEN = "HF_TOKEN"  # noqa: S105 # a name, no secret
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Each comes from the environment variable its metadata names."""

    home: Path = field(metadata={"env": "TRL_MCP_HOME", "help": "where jobs, checkpoints, environments and plans lie"})
    attempts: int = field(
        default=1, metadata={"env": "TRL_MCP_ATTEMPTS", "help": "how often a failed or timed-out job is tried in all"}
    )
    max_usd_per_job: Decimal | None = field(
        default=None, metadata={"env": "TRL_MCP_MAX_USD_PER_JOB", "help": "the most a paid job may cost, in USD"}
    )
    max_usd_per_day: Decimal | None = field(
        default=None,
        metadata={
            "env": "TRL_MCP_MAX_USD_PER_DAY",
            "help": "the most all paid jobs of a day (UTC) may cost together, in USD; jobs that have not ended count "
            "with the most they can cost",
        },
    )
    asks_person: bool = field(
        default=False,
        metadata={
            "env": "TRL_MCP_CONFIRM",
            "help": "`elicit`: a person is asked through the client before a paid job starts; nothing paid starts where "
            "the client cannot ask",
        },
    )
    allows_local_code: bool = field(
        default=False,
        metadata={
            "env": "TRL_MCP_ALLOW_LOCAL_CODE",
            "help": "1: jobs on this machine may run code that a caller has written (reward_code, submit_script), and "
            "https addresses of this machine and its network are read for a caller",
        },
    )
    secrets: tuple[str, ...] = field(
        default=("HF_TOKEN",),
        metadata={
            "env": "TRL_MCP_SECRETS",
            "help": "names of the environment variables that jobs may be given as secrets, separated by commas; "
            "left out: `HF_TOKEN`, which is always the caller's own",
        },
    )
    hub_endpoint: str = field(
        default="https://huggingface.co", metadata={"env": "HF_ENDPOINT", "help": "the address of the Hugging Face Hub"}
    )
    viewer_url: str | None = field(
        default=None,
        metadata={
            "env": "TRL_MCP_VIEWER_URL",
            "help": "the address of the data-set viewer; without one only the public Hub's own is asked",
        },
    )
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises InvalidArguments naming the variable that cannot be understood."""
        home = environ.get("TRL_MCP_HOME") or platformdirs.user_data_dir("trl-mcp")
        return cls(
            home=Path(home).expanduser().absolute(),
            attempts=_positive(environ, "TRL_MCP_ATTEMPTS", 1),
            max_usd_per_job=_usd(environ, "TRL_MCP_MAX_USD_PER_JOB"),
            max_usd_per_day=_usd(environ, "TRL_MCP_MAX_USD_PER_DAY"),
            asks_person=_is(environ, "TRL_MCP_CONFIRM", "elicit"),
            allows_local_code=_is(environ, "TRL_MCP_ALLOW_LOCAL_CODE", "1"),
            secrets=_names(environ, "TRL_MCP_SECRETS", ("HF_TOKEN",)),
            hub_endpoint=_address(environ, "HF_ENDPOINT", "https://huggingface.co"),
            viewer_url=_address(environ, "TRL_MCP_VIEWER_URL", "https://datasets-server.huggingface.co")
            if environ.get("TRL_MCP_VIEWER_URL")
            else None,
            environ=dict(environ),
        )

    @property
    def secret_values(self) -> dict[str, str]:
        """The secrets that jobs may be given and that are set, but for HF_TOKEN: that one is the caller's own."""
        return {name: value for name in self.secrets if name != _TOKEN and (value := self.environ.get(name))}

    @property
    def private_hosts(self) -> frozenset[str] | None:
        """The hosts of this machine and its network that are read for a caller; None: all of them."""
        return None if self.allows_local_code else frozenset()

    @property
    def is_offline(self) -> bool:
        """Whether the operator forbids requests to the Hub."""
        return self.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def described_settings() -> list[tuple[str, str]]:
    """Return every environment variable the server reads as a setting, with what it is for."""
    return [(item.metadata["env"], item.metadata["help"]) for item in fields(Settings) if "env" in item.metadata]


def _names(environ: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if name not in environ:
        return default
    found = tuple(part.strip() for part in environ[name].split(",") if part.strip())
    if wrong := [each for each in found if not _VARIABLE.fullmatch(each)]:
        raise InvalidArguments(f"{name} names {wrong[0][:40]!r}.", allowed="Names of environment variables, by commas.")
    return found


def _usd(environ: Mapping[str, str], name: str) -> Decimal | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise InvalidArguments(f"{name} is {text!r}.", allowed="It is an amount in USD, such as 5 or 0.50.")
    return amount


def _is(environ: Mapping[str, str], name: str, word: str) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in ("", word):
        raise InvalidArguments(f"{name} is {environ[name]!r}.", allowed=f"It is {word}, or left out.")
    return text == word


def _address(environ: Mapping[str, str], name: str, default: str) -> str:
    text = (environ.get(name) or default).rstrip("/")
    if not text.startswith(("http://", "https://")) or not urlsplit(text).netloc:
        raise InvalidArguments(f"{name} is {text!r}.", allowed=f"It is an address such as {default}.")
    return text


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InvalidArguments(f"{name} is {text!r}.", allowed="It is a whole number from 1.")
    return int(text)
