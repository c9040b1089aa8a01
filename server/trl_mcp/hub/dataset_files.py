"""The data files of a split: the repository's own where they can be read, else the Hub's conversion to Parquet."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from trl_mcp.errors import InvalidArguments, NotFound, UnreadableData
from trl_mcp.hub.client import Ask, HubClient
from trl_mcp.hub.data_layout import (
    Config,
    declared_configs,
    default_config,
    file_kind,
    loader_of,
    of_loader,
)
from trl_mcp.hub.fields import dig, text
from trl_mcp.hub.repos import fetch_info, file_sizes
from trl_mcp.hub.values import HubFile, HubFiles
from trl_mcp.schema import did_you_mean, shorten

_CONVERTED = "refs/convert/parquet"
_PARTIAL = "partial-"
_NOTHING_STARTED = "Nothing was started."
_MOST_NAMED = 20


async def fetch_dataset_files(
    client: HubClient, token: str | None, repo_id: str, commit: str, config: str | None, split: str
) -> HubFiles:
    """Return the files of a config and split at a commit; `config` None: the only one, or the one called default.

    Raises NotFound with the names there are, InvalidArguments where a config has to be named, UnreadableData where
    no file can be read, AccessNotGranted, HubError.
    """
    raw = await fetch_info(client, token, "dataset", repo_id, commit, sizes=True)
    sizes = file_sizes(raw)
    script = f"{repo_id.rpartition('/')[2]}.py"
    configs = declared_configs(dig(raw, "cardData"))
    if script not in sizes and any(file_kind(path) for path in sizes):
        wanted = Wanted(repo_id, {name: entry.split_names(sizes) for name, entry in configs.items()}, config, split)
        name = wanted.config_name(default_config(configs))
        files = _readable(repo_id, configs[name], wanted.split_of(name), sizes)
        if files:
            return HubFiles(repo_id, commit, commit, name, split, files, wanted.configs)
    if script in sizes:
        why = f"it is loaded by the script {script}"
    else:
        others = [path for path in sizes if not path.startswith(".") and path != "README.md"]
        why = "its own files are of kinds not read here" if others else "it holds no file but its card"
    return await _converted(client, token, Wanted(repo_id, {}, config, split), commit, why)


class Wanted:
    """What the caller asks of a data set, beside the configs it has, each with its splits."""

    def __init__(self, repo_id: str, configs: Mapping[str, tuple[str, ...]], config: str | None, split: str) -> None:
        self.repo_id = repo_id
        self.configs = configs
        self.config = config
        self.split = split

    def config_name(self, default: str | None) -> str:
        """Return the config that is meant. Raises NotFound, InvalidArguments with the names there are."""
        known = list(self.configs)
        if self.config is None and default is None:
            raise InvalidArguments(
                f"The data set {self.repo_id} has several configs, and none is the default.",
                allowed=f"Configs: {_listed(known)}.",
                next_step=f'Name one after a colon, as in dataset="{self.repo_id}:{known[0]}". {_NOTHING_STARTED}',
            )
        name = self.config if self.config is not None else str(default)
        if name not in self.configs:
            raise NotFound(
                f'The data set {self.repo_id} has no config "{shorten(name)}".{did_you_mean(name, known)}',
                allowed=f"Configs: {_listed(known)}.",
                next_step=_NOTHING_STARTED,
            )
        return name

    def split_of(self, config: str) -> str:
        """Return the split where the config has it. Raises NotFound with the names there are."""
        known = self.configs[config]
        if self.split not in known:
            where = f"The data set {self.repo_id}" + (f" ({config})" if len(self.configs) > 1 else "")
            raise NotFound(
                f'{where} has no split "{shorten(self.split)}".{did_you_mean(self.split, known)}',
                allowed=f"Splits: {_listed(known)}." if known else "It holds no data file.",
                next_step=_NOTHING_STARTED,
            )
        return self.split


def _readable(repo_id: str, config: Config, split: str, sizes: Mapping[str, int]) -> tuple[HubFile, ...]:
    """Return the files of the split that can be read here, nothing where none can. Raises NotFound, UnreadableData."""
    splits = config.splits(sizes)
    if not splits[split]:
        patterns = _listed((config.patterns or {}).get(split, ()))
        raise NotFound(
            f'The card of {repo_id} names {patterns} for the split "{split}", and no data file is there.',
            next_step="The owner of the data set can mend its card. " + _NOTHING_STARTED,
        )
    loaders = {name: loader_of(paths) for name, paths in splits.items() if paths}
    if len(set(loaders.values())) > 1:
        kinds = _listed(f"{name}: {kind.removeprefix('.')}" for name, kind in loaders.items())
        raise UnreadableData(
            f"The splits of {repo_id} are of different kinds ({kinds}), which cannot be loaded together.",
            next_step="Put files of one kind in the data set, or name them in its card. " + _NOTHING_STARTED,
        )
    return tuple(HubFile(path, sizes[path], file_kind(path)) for path in of_loader(splits[split], loaders[split]))


async def _converted(client: HubClient, token: str | None, wanted: Wanted, at: str, why: str) -> HubFiles:
    path = f"/api/datasets/{quote(wanted.repo_id)}/revision/{quote(_CONVERTED, safe='')}"
    doing = f"look for the Parquet form of {wanted.repo_id}"
    ask = Ask(doing, path, params=(("blobs", "true"),), tolerate=frozenset({404}), anonymous=True)
    response = await client.answer(token, ask)
    raw = client.read_json(response, ask) if response.is_success else None
    sizes = file_sizes(raw)
    places = {path: place for path in sorted(sizes) if (place := _place(path))}
    if not places:
        raise UnreadableData(
            f"No data file of {wanted.repo_id} can be read: {why}, and the Hub holds no conversion of it to Parquet.",
            allowed="Files are read that end in .parquet, .jsonl, .json or .csv, the last three also with .gz.",
            next_step=_NOTHING_STARTED,
        )
    splits: dict[str, dict[str, list[str]]] = {}
    for path, (config, split) in places.items():
        splits.setdefault(config, {}).setdefault(split.removeprefix(_PARTIAL), []).append(path)
    there = {config: tuple(names) for config, names in splits.items()}
    found = Wanted(wanted.repo_id, there, wanted.config, wanted.split)
    name = found.config_name(default_config({config: Config(config) for config in there}))
    paths = splits[name][found.split_of(name)]
    part = ", its first 5 GB," if any(places[path][1].startswith(_PARTIAL) for path in paths) else ""
    note = f"{wanted.repo_id} is read in the Hub's conversion to Parquet{part} since {why}."
    files = tuple(HubFile(path, sizes[path], "parquet") for path in paths)
    commit = text(raw, "sha")
    return HubFiles(wanted.repo_id, at, commit, name, wanted.split, files, there, is_converted=True, note=note)


def _place(path: str) -> tuple[str, str] | None:
    """Return the config and split of a converted file, None for another file."""
    config, _, rest = path.partition("/")
    split, _, name = rest.partition("/")
    return (config, split) if name.endswith(".parquet") and "/" not in name else None


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(known[:_MOST_NAMED]) + more
