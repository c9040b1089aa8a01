"""Which files of a data-set repository make up which split, by the rules of the `datasets` library.

The rules: https://huggingface.co/docs/hub/datasets-file-names-and-splits and
https://huggingface.co/docs/hub/datasets-manual-configuration. Pure functions from paths and the card.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from trl_mcp.hub.fields import dig, items, text, texts

DEFAULT = "default"
Patterns = Mapping[str, tuple[str, ...]]
_IGNORED = {
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
}
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_GAP = "[-._ 0-9]"
_SHARDED = "data/{split}-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*"
_SHARD_NAME = re.compile(r"(.+)-\d{5}-of-\d{5}")
_IN_FOLDERS = ("**/{w}/**", "**/{w}{gap}*/**", "**/*{gap}{w}/**", "**/*{gap}{w}{gap}*/**")
_IN_NAMES = ("**/{w}{gap}*", "**/*{gap}{w}{gap}*")
_KINDS = {
    ".parquet": "parquet",
    ".geoparquet": "parquet",
    ".gpq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
}
_LOADERS = {"parquet": "parquet", "jsonl": "json", "json": "json", "csv": "csv"}
# What else the library loads; it matters where such files outnumber those that are read here.
_OTHERS = re.compile(
    r"\.(tsv|arrow|txt|conllu?|tar|xml|hdf5|h5|eval|toml|md|lance|tsfile|vortex|zip|fa|fasta|fna|ffn|faa|frn|afa"
    r"|gb|gbk|genbank|fq|fastq|pdb|ent|cif|mmcif|glb|gltf|ply|stl|nii|bmp|gif|png|tiff?|jpe?g|webp|flac|ogg|wav|mp3"
    r"|opus|aiff|avi|flv|mp4|mov|mkv|webm|BMP|GIF|PNG|TIFF?|JPE?G|WEBP|FLAC|OGG|WAV|MP3|MP4|MOV|PDF|pdf)"
)


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration as the card or the file names declare it: patterns relative to `folder`, None for the defaults."""

    name: str
    patterns: Patterns | None = None
    folder: str = ""
    is_default: bool = False

    def splits(self, paths: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the files of each split, in order; a split whose patterns match nothing has none."""
        below = _below(paths, self.folder)
        patterns = self.patterns if self.patterns is not None else _default_patterns(below)
        found = {split: _resolve(globs, below) for split, globs in patterns.items()}
        prefix = f"{self.folder}/" if self.folder else ""
        return {split: tuple(prefix + path for path in files) for split, files in found.items()}

    def split_names(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the splits; for those that the card lists, no file is looked at."""
        return tuple(self.patterns if self.patterns is not None else _default_patterns(_below(paths, self.folder)))


def declared_configs(card: object) -> dict[str, Config]:
    """Return the configurations that a card's `configs` declare; without any, the one called "default"."""
    found: dict[str, Config] = {}
    for entry in filter(lambda entry: isinstance(entry, dict), items(card, "configs")):
        name = text(entry, "config_name") or DEFAULT
        folder = text(entry, "data_dir").strip("/").removeprefix("./")
        found[name] = Config(name, _declared(dig(entry, "data_files")), folder, bool(dig(entry, "default")))
    return found or {DEFAULT: Config(DEFAULT)}


def default_config(configs: Mapping[str, Config]) -> str | None:
    """Return the configuration that is meant where none is named; None where the caller has to choose."""
    if len(configs) == 1:
        return next(iter(configs))
    return next((name for name, config in configs.items() if name == DEFAULT or config.is_default), None)


def file_kind(path: str) -> str:
    """Return what a file holds by its name: parquet, jsonl, json, csv, the last three also with ".gz"; else nothing."""
    name = path.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    kind = _KINDS.get(PurePosixPath(name.removesuffix(".gz")).suffix, "")
    return "" if not kind or (packed and kind == "parquet") else kind + packed


def loader_of(paths: Iterable[str]) -> str:
    """Return the kind most of the files are of: parquet, json, csv, or a suffix this server does not read; else nothing."""
    counts = Counter(suffix.lower() for path in paths for suffix in _suffixes(path))
    order = (".parquet", ".arrow", ".jsonl", ".json", ".csv")
    ranked = sorted(counts, key=lambda suffix: (counts[suffix], *(suffix == word for word in order), suffix))
    known = [suffix for suffix in reversed(ranked) if _is_known(suffix)]
    return _LOADERS.get(_KINDS.get(known[0], ""), known[0]) if known else ""


def of_loader(paths: Iterable[str], loader: str) -> tuple[str, ...]:
    """Return those files that this loader reads."""
    return tuple(path for path in paths if _LOADERS.get(file_kind(path).removesuffix(".gz")) == loader)


def _suffixes(path: str) -> list[str]:
    return [f".{suffix}" for suffix in PurePosixPath(path).name.split(".")[1:]]


def _declared(raw: object) -> Patterns | None:
    if isinstance(raw, str):
        return {"train": (raw,)}
    entries = list(items({"files": raw}, "files"))
    if not entries:
        return None
    if all(isinstance(entry, str) for entry in entries):
        return {"train": tuple(entries)}
    return {str(dig(entry, "split")): texts(entry, "path") for entry in entries if dig(entry, "split")}


def _below(paths: Iterable[str], folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return sorted(path.removeprefix(prefix) for path in paths if path.startswith(prefix))


def _default_patterns(paths: list[str]) -> Patterns:
    shards = _matching(_SHARDED.replace("{split}", "*"), paths)
    if shards:
        names = {match[1] for path in shards if (match := _SHARD_NAME.match(PurePosixPath(path).name))}
        ordered = [*(name for name in _WORDS if name in names), *sorted(names - set(_WORDS))]
        return {name: (_SHARDED.format(split=name),) for name in ordered}
    for table in _default_tables():
        found = {split: globs for split, globs in table.items() if any(_matching(glob, paths) for glob in globs)}
        if found:
            return found
    return {}


@cache
def _default_tables() -> tuple[Patterns, ...]:
    by_folder, by_name = (
        {
            split: tuple(form.format(w=word, gap=_GAP) for word in words for form in forms)
            for split, words in _WORDS.items()
        }
        for forms in (_IN_FOLDERS, _IN_NAMES)
    )
    harbor = {"test": ("**/task.toml", "**/instruction.md")}
    return {"logs": ("**/*.eval",)}, harbor, by_folder, by_name, {"train": ("**",)}


def _resolve(globs: Iterable[str], paths: list[str]) -> tuple[str, ...]:
    """Return the files that the patterns match and some loader could read; one matched twice counts twice."""
    return tuple(path for glob in globs for path in _matching(glob, paths) if any(map(_is_known, _suffixes(path))))


def _is_known(suffix: str) -> bool:
    return suffix in _KINDS or bool(_OTHERS.fullmatch(suffix))


def _matching(glob: str, paths: list[str]) -> list[str]:
    matches = _compiled(glob)
    wanted = PurePosixPath(glob).name
    return [
        path
        for path in paths
        if matches(path) and _is_asked_for(path, glob) and (PurePosixPath(path).name not in _IGNORED - {wanted})
    ]


def _is_asked_for(path: str, glob: str) -> bool:
    """Whether hidden and special folders on the way are named by the pattern as well."""
    return _hidden(path) == _hidden(glob) and _special(path) == _special(glob)


def _hidden(path: str) -> int:
    return sum(part.startswith(".") and set(part) != {"."} for part in path.split("/"))


def _special(path: str) -> int:
    return sum(part.startswith("__") for part in path.split("/")[:-1])


@cache
def _compiled(glob: str) -> Callable[[str], Any]:
    """Return a test for paths: "*" stays within a folder, "**" as a whole part of the pattern does not."""
    parts = glob.removeprefix("./").split("/")
    regex = ""
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            regex += ".*" if is_last else "(?:.+/)?"
        else:
            regex += ("[^/]+" if part == "*" else _segment(part)) + ("" if is_last else "/")
    return re.compile(regex, re.DOTALL).fullmatch


def _segment(part: str) -> str:
    found = ""
    for piece in re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part):
        if piece.startswith("*"):
            found += "[^/]*"
        elif piece == "?":
            found += "[^/]"
        elif piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            inner = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
            found += f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
        else:
            found += re.escape(piece)
    return found
