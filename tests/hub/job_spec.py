"""The specification of a job: what a client sends, checked as the API checks it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

from tests.hub.errors import HubError
from tests.hub.hardware import Hardware

DEFAULT_TIMEOUT_S = 1800
LABEL = re.compile(r"[a-zA-Z0-9_-]{0,100}")
NAME_LABEL = re.compile(r"[a-zA-Z0-9_.-]{0,100}")
VOLUME_TYPES = {"bucket", "model", "dataset", "space"}


@dataclass(frozen=True)
class JobVolume:
    """A bucket or repository to mount into a job."""

    type: str
    source: str
    mount_path: str
    revision: str
    read_only: bool
    path: str
    raw: dict[str, Any]

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> JobVolume:
        """Read one entry of "volumes"."""
        kind, mount_path = raw.get("type"), str(raw.get("mountPath", ""))
        _require(kind in VOLUME_TYPES, f"Invalid volume type: {kind}")
        _require(isinstance(raw.get("source"), str) and "/" in raw["source"], "Invalid volume source")
        _require(mount_path.startswith("/") and mount_path.strip("/") != "", f"Invalid mount path: {mount_path!r}")
        _require(".." not in mount_path.split("/"), f"Invalid mount path: {mount_path!r}")
        read_only = kind != "bucket" or bool(raw.get("readOnly", False))
        path = str(raw.get("path") or "").strip("/")
        return cls(str(kind), raw["source"], mount_path, str(raw.get("revision") or "main"), read_only, path, raw)


@dataclass(frozen=True)
class JobSpec:
    """A checked job specification."""

    command: list[str]
    flavor: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    timeout_s: float = DEFAULT_TIMEOUT_S
    attempts: int = 1
    labels: dict[str, str] = field(default_factory=dict[str, str])
    volumes: tuple[JobVolume, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def parse(cls, raw: Any, hardware: Hardware) -> JobSpec:
        """Read a request body, refusing what the API refuses."""
        _require(isinstance(raw, dict), "Expected an object")
        _require(("dockerImage" in raw) != ("spaceId" in raw), "Exactly one of dockerImage and spaceId is required")
        flavor = raw.get("flavor")
        _require(flavor in hardware.flavors, f"Invalid flavor: {flavor}")
        command = _strings(raw.get("command"), "command") + _strings(raw.get("arguments", []), "arguments")
        _require(bool(command), "Expected a command")
        timeout, attempts = raw.get("timeoutSeconds", DEFAULT_TIMEOUT_S), raw.get("attempts", 1)
        _require(isinstance(timeout, int | float) and timeout > 0, f"Invalid timeoutSeconds: {timeout}")
        _require(isinstance(attempts, int) and attempts >= 1, f"Invalid attempts: {attempts}")
        return cls(
            command=command,
            flavor=str(flavor),
            environment=_mapping(raw.get("environment"), "environment"),
            secrets=_mapping(raw.get("secrets"), "secrets"),
            timeout_s=timeout,
            attempts=attempts,
            labels=check_labels(raw.get("labels")),
            volumes=_volumes(raw.get("volumes")),
            raw=raw,
        )


def check_labels(labels: Any) -> dict[str, str]:
    """Refuse labels with characters or lengths that the API refuses."""
    checked = _mapping(labels, "labels")
    for key, value in checked.items():
        pattern = NAME_LABEL if key == "name" else LABEL
        _require(bool(LABEL.fullmatch(key)) and bool(pattern.fullmatch(value)), f"Invalid label: {key}={value}")
    return checked


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise HubError(400, message)


def _volumes(value: Any) -> tuple[JobVolume, ...]:
    volumes = tuple(JobVolume.parse(entry) for entry in _objects(value, "volumes"))
    paths = sorted(volume.mount_path.rstrip("/") + "/" for volume in volumes)
    _require(not any(b.startswith(a) for a, b in pairwise(paths)), "Mount paths must not lie inside each other")
    return volumes


def _strings(value: Any, name: str) -> list[str]:
    items = cast("list[object]", value if isinstance(value, list) else [None])
    _require(all(isinstance(item, str) for item in items), f"Invalid {name}")
    return [str(item) for item in items]


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    items = cast("list[object]", value if isinstance(value, list) else [] if value is None else [None])
    _require(all(isinstance(item, dict) for item in items), f"Invalid {name}")
    return cast("list[dict[str, Any]]", items)


def _mapping(value: Any, name: str) -> dict[str, str]:
    _require(value is None or isinstance(value, dict), f"Invalid {name}")
    pairs = cast("dict[str, object]", value or {})
    _require(all(isinstance(item, str) for item in pairs.values()), f"Invalid {name}: values must be strings")
    return cast("dict[str, str]", dict(pairs))
