"""What names a model or a data set: a Hub id with an optional revision, an https URL, or an absolute path."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import shorten

_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[\w./-]{1,200}")
_CONFIG = re.compile(r"[^/\\:@]{0,200}")
_DATA_FILE = re.compile(r"\.(?:jsonl?|csv|parquet|txt|tsv)(?:\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model: `id` is a Hub id, or the absolute path of a folder where `is_folder`."""

    id: str
    revision: str | None = None
    is_folder: bool = False

    @property
    def short_name(self) -> str:
        """The last part of the id, for people; for the output of a local job that job's id."""
        path = Path(self.id)
        return path.parent.name if self.is_folder and path.name == "output" else path.name


@dataclass(frozen=True, slots=True)
class DatasetReference:
    """A data set: a Hub id with config and revision, an https URL, or the absolute path of a file or folder."""

    id: str
    config: str | None = None
    revision: str | None = None
    is_path: bool = False
    is_url: bool = False

    @property
    def text(self) -> str:
        """The reference as a caller writes it."""
        config = f":{self.config}" if self.config else ""
        return f"{self.id}{config}" + (f"@{self.revision}" if self.revision else "")

    @property
    def short_name(self) -> str:
        """The id of a Hub data set, the last part of a path or URL."""
        return Path(urlsplit(self.id).path).name if self.is_path or self.is_url else self.id


def model_reference(text: str) -> ModelReference:
    """Read a model argument. Raises InvalidArguments saying what it may be."""
    if (path := _absolute_path(text)) is not None:
        return ModelReference(str(path), is_folder=True)
    name, _, revision = text.strip().partition("@")
    _check_hub_id("model", name, revision, "an absolute path of a model folder")
    return ModelReference(name, revision or None)


def dataset_reference(text: str) -> DatasetReference:
    """Read a data-set argument. Raises InvalidArguments saying what it may be."""
    if (path := _absolute_path(text)) is not None:
        return DatasetReference(str(path), is_path=True)
    if text.startswith("https://"):
        return DatasetReference(text, is_url=True)
    rest, _, revision = text.strip().partition("@")
    name, _, config = rest.partition(":")
    otherwise = "an https URL, or the absolute path of a data file or folder"
    if not _CONFIG.fullmatch(config) or _DATA_FILE.search(name):
        raise _no_reference("dataset", text, otherwise)
    _check_hub_id("dataset", name, revision, otherwise)
    return DatasetReference(name, config or None, revision or None)


def _absolute_path(text: str) -> Path | None:
    """Return the path that text names, without following links; None where it is none."""
    text = text.strip().removeprefix("file://")
    path = Path(os.path.expanduser(text))  # noqa: PTH111 # leaves the home of a user who is not there as it is
    return path if path.is_absolute() and "\0" not in text else None


def _check_hub_id(argument: str, name: str, revision: str, otherwise: str) -> None:
    is_revision = not revision or (_REVISION.fullmatch(revision) and ".." not in revision)
    if not _HUB_ID.fullmatch(name) or ".." in name or not is_revision:
        raise _no_reference(argument, f"{name}@{revision}" if revision else name, otherwise)


def _no_reference(argument: str, given: str, otherwise: str) -> InvalidArguments:
    return InvalidArguments(
        f'"{argument}" cannot be "{shorten(given)}".',
        allowed=f"It is a Hub id such as owner/name or owner/name@revision, or {otherwise}.",
        next_step="A relative path is not accepted: the server's working folder is not yours. Nothing was started.",
    )
