"""What the emulated Hub's own tests share."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from threading import Event
from time import monotonic
from typing import Any

import httpx2

CLIENT_TIMEOUT_S = 60
INHERITED = ("PATH", "LANG", "LC_ALL")


@dataclass(frozen=True)
class Clients:
    """Runs programs that use the client libraries against a Hub, each with a fresh cache."""

    endpoint: str
    token: str
    home: Path

    def env(self, **extra: str) -> dict[str, str]:
        """Return the environment of a client process."""
        own = {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        }
        return {name: os.environ[name] for name in INHERITED if name in os.environ} | own | extra

    def run(self, command: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        self.home.mkdir(exist_ok=True)
        return subprocess.run(
            command,
            env=self.env(**extra),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_TIMEOUT_S,
        )

    def python(self, code: str, **extra: str) -> Any:
        """Run a Python program and return the JSON value of the last line that it prints."""
        result = self.run([sys.executable, "-c", dedent(code)], **extra)
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads(result.stdout.splitlines()[-1])

    def hf(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run the hf command-line client."""
        return self.run([hf_command(), *arguments], **extra)


def hf_command() -> str:
    """Return the hf program that belongs to this Python."""
    beside = Path(sys.executable).with_name("hf")
    found = str(beside) if beside.exists() else shutil.which("hf")
    assert found is not None, "the hf command is not installed"
    return found


def get(url: str, token: str | None = None, **headers: str) -> httpx2.Response:
    """Send a plain request where no client library has a function for it."""
    auth = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.get(url, headers={**auth, **headers}, timeout=20)


def wait_until(condition: Callable[[], bool], timeout: float = 20) -> None:
    """Wait for something to become true and fail when it does not."""
    deadline, pause = monotonic() + timeout, Event()
    while not condition():
        assert monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is more than an entry waiting to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def safetensors_bytes(tensors: dict[str, tuple[str, list[int]]], payload: bytes) -> bytes:
    """Return a file in the safetensors layout whose tensors share a payload."""
    header = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]} for name, (dtype, shape) in tensors.items()
    }
    first = next(iter(header))
    header[first]["data_offsets"] = [0, len(payload)]
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + payload
