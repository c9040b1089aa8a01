"""Data sets on the Hub, read in parts with the caller's token."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from trl_mcp.data.sources import DataFile, NamedFiles, RowSource, parse_part
from trl_mcp.data.wishes import RowWishes
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import HubFile, HubFiles
from trl_mcp.render.templates import job_module

# What is waited for the viewer to say how many rows a text file has.
_VIEWER_S = 2.0
# More files of a data set's own are not named one by one in a job's script.
_MOST_NAMED = 200


@dataclass(frozen=True, slots=True)
class HubData:
    """A data set on the Hub at one commit; `reference` is how the caller wrote it."""

    reference: str
    repo_id: str
    commit: str
    config: str | None = None


async def hub_source(hub: Hub, token: str | None, data: HubData, wishes: RowWishes, deadline: float) -> RowSource:
    """Return the splits that are wished for; files are read as late as they are needed, until the deadline.

    Raises what Hub.dataset_files raises of configs and splits that are not there, InvalidArguments for what is no
    split.
    """
    texts = {"dataset_split": wishes.split, "eval_split": wishes.eval_split}
    names = [parse_part(argument, text).name for argument, text in texts.items() if text is not None]
    found = {
        name: await hub.dataset_files(token, data.repo_id, data.commit, data.config, name)
        for name in dict.fromkeys(names)
    }
    name = ":".join(part for part in (data.repo_id, data.config) if part)
    named = _named(found)
    is_converted = any(files.is_converted for files in found.values())

    def opened(files: HubFiles) -> tuple[DataFile, ...]:
        return tuple(_data_file(hub, token, files, file, deadline) for file in files.files)

    return RowSource(
        name,
        data.reference,
        f"{name}@{data.commit}" + (f"+{named.revision}" if named and is_converted else ""),
        {split: opened(files) for split, files in found.items()},
        revision=data.commit,
        rows_total=await _counted(hub, token, found),
        notes=tuple(dict.fromkeys(files.note for files in found.values() if files.note)),
        named=named,
    )


def _named(found: Mapping[str, HubFiles]) -> NamedFiles | None:
    """Return the files for a job to read as they are read here; None where it has to find the data set's own itself.

    The `datasets` library reads text in its own way: of CSV it takes numbers and dates for more than texts, NA for
    nothing at all.
    """
    converted = {split: files for split, files in found.items() if files.is_converted}
    chosen = converted or found
    files = [file for each in chosen.values() for file in each.files]
    kind_of = job_module("files").file_kind
    if not converted and (len(files) > _MOST_NAMED or any(kind_of(file.path) != file.kind for file in files)):
        return None
    (revision, *_) = [files.revision for files in chosen.values()]
    return NamedFiles(revision, {split: tuple(file.path for file in files.files) for split, files in chosen.items()})


def _data_file(hub: Hub, token: str | None, files: HubFiles, file: HubFile, deadline: float) -> DataFile:
    in_order = file.kind != "parquet"
    return DataFile(
        file.path,
        file.kind,
        partial(hub.open_file, token, files, file, deadline=deadline, in_order=in_order),
        file.size,
    )


async def _counted(hub: Hub, token: str | None, found: Mapping[str, HubFiles]) -> dict[str, int]:
    """Return the rows of the splits that are kept as text, where the viewer has counted them."""
    counts: dict[str, int] = {}
    for split, files in found.items():
        if any(file.kind != "parquet" for file in files.files):
            facts = await hub.viewer(token, files, _VIEWER_S)
            if facts is not None and not facts.is_partial:
                counts[split] = facts.rows
    return counts
