"""What the operator sets, read from the environment once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import platformdirs

from trl_mcp.errors import InvalidArguments


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Each comes from the environment variable its metadata names."""

    home: Path = field(metadata={"env": "TRL_MCP_HOME", "help": "where jobs, checkpoints, environments and plans lie"})
    attempts: int = field(
        default=1, metadata={"env": "TRL_MCP_ATTEMPTS", "help": "how often a failed or timed-out job is tried in all"}
    )
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises InvalidArguments naming the variable that cannot be understood."""
        home = environ.get("TRL_MCP_HOME") or platformdirs.user_data_dir("trl-mcp")
        return cls(Path(home).expanduser().absolute(), _positive(environ, "TRL_MCP_ATTEMPTS", 1), dict(environ))


def described_settings() -> list[tuple[str, str]]:
    """Return every environment variable the server reads as a setting, with what it is for."""
    return [(item.metadata["env"], item.metadata["help"]) for item in fields(Settings) if "env" in item.metadata]


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InvalidArguments(f"{name} is {text!r}.", allowed="It is a whole number from 1.")
    return int(text)
