"""Which files make up which split: the same as the `datasets` library finds, for any names."""

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trl_mcp.hub.data_layout import Config, declared_configs, default_config, file_kind, loader_of, of_loader

WORDS = ["train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation", "data", "a"]
PARTS = st.lists(
    st.sampled_from([*WORDS, "x1", "Train", "__cache__", ".git", "00000-of-00002"]), min_size=1, max_size=2
)
NAMES = st.tuples(PARTS, st.sampled_from(["-", "_", ".", " ", "", "0"])).map(lambda made: made[1].join(made[0]))
ENDS = st.sampled_from([".parquet", ".jsonl", ".json", ".csv", ".jsonl.gz", ".txt", ".md", "", ".arrow", ".png"])
FILES = st.tuples(st.lists(NAMES, max_size=2), NAMES, ENDS).map(lambda made: "/".join([*made[0], made[1] + made[2]]))
SHARDS = st.tuples(st.sampled_from(["train", "test", "rare"]), st.integers(0, 2)).map(
    lambda made: f"data/{made[0]}-{made[1]:05d}-of-00002.parquet"
)
GLOBS = st.sampled_from(
    [
        "**",
        "*",
        "data/*",
        "**/train*",
        "*.jsonl",
        "**/*.csv",
        "data/**",
        "x1/*/*",
        "[a-d]*",
        "[!a-d]*/**",
        "?rain*",
        "*.*",
    ]
)


def library(paths: list[str], patterns: dict[str, list[str]] | None) -> Any:
    """Return the splits with their files and the loader that the library finds in a folder, None where it finds none."""
    finder, load = (import_module(f"datasets.{name}") for name in ("data_files", "load"))
    with TemporaryDirectory() as folder:
        for path in paths:
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).touch()
        try:
            found = finder.DataFilesDict.from_patterns(
                patterns or finder.get_data_patterns(folder), folder, allowed_extensions=load._ALL_ALLOWED_EXTENSIONS
            )
            loader, _ = load.infer_module_for_data_files(found)
        except (FileNotFoundError, ValueError):
            return None
        kept = found.filter(extensions=load._MODULE_TO_EXTENSIONS[str(loader)])
        return str(loader), {
            split: [Path(path).relative_to(folder).as_posix() for path in files] for split, files in kept.items()
        }


def ours(paths: list[str], patterns: dict[str, list[str]] | None) -> Any:
    named = None if patterns is None else {split: tuple(globs) for split, globs in patterns.items()}
    config = Config("default", named)
    splits = config.splits(paths)
    loaders = {loader_of(files) for files in splits.values()}
    if len(loaders) != 1 or loaders == {""}:
        return None
    loader = loaders.pop()
    return loader, {split: list(of_loader(files, loader)) for split, files in splits.items()}


def possible(paths: list[str]) -> list[str]:
    """Leave out what cannot be in one folder: a file where another's folder is."""
    return [path for path in set(paths) if not any(other.startswith(f"{path}/") for other in paths)]


def check(paths: list[str], patterns: dict[str, list[str]] | None) -> None:
    expected, found = library(paths, patterns), ours(paths, patterns)
    if expected is None or expected[0] not in {"parquet", "json", "csv"}:
        assert found is None or found[0] not in {"parquet", "json", "csv"}
    else:
        assert found == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(FILES | SHARDS, min_size=1, max_size=6).map(possible))
@example(["data/train-00000-of-00001.parquet", "data/odd-00000-of-00001.parquet", "test.parquet"])
@example(["train.csv", "README.md", "config.json"])
@example(["dev/a.jsonl", "train/b.jsonl", "eval/c.jsonl"])
def test_splits_by_names_are_those_of_the_library(paths: list[str]) -> None:
    check(paths, None)


@settings(max_examples=100, deadline=None)
@given(st.lists(FILES, min_size=1, max_size=6).map(possible), st.lists(GLOBS, min_size=1, max_size=2))
def test_patterns_match_what_the_library_matches(paths: list[str], globs: list[str]) -> None:
    check(paths, {"train": globs})


def test_cards_of_any_shape_are_read() -> None:
    card = {
        "configs": [
            {"config_name": "a", "data_files": "x.csv"},
            {"config_name": "b", "data_files": ["x.csv", "y.csv"]},
            {"data_files": [{"split": "dev", "path": ["p/*"]}], "data_dir": "./q/"},
            "nonsense",
        ]
    }
    configs = declared_configs(card)
    assert configs["a"].patterns == {"train": ("x.csv",)}
    assert configs["b"].patterns == {"train": ("x.csv", "y.csv")}
    assert (configs["default"].split_names([]), default_config(configs)) == (("dev",), "default")
    assert declared_configs(None) == declared_configs({"configs": 3}) == {"default": Config("default")}


def test_the_kind_of_a_file_is_in_its_name() -> None:
    names = ["A.PARQUET", "b.jsonl.gz", "c.ndjson", "d.json", "e.csv.gz", "f.parquet.gz", "g.txt", "h", "i.jsonl.zst"]
    assert [file_kind(name) for name in names] == ["parquet", "jsonl.gz", "jsonl", "json", "csv.gz", "", "", "", ""]
