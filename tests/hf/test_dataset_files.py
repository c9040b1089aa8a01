"""Data files of a split on the Hub: which they are, at the pinned commit and for this caller."""

import gzip
import json
from typing import Any

import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs] - pyarrow ships no types
import pytest
from anyio import to_thread

from tests.hf.desk import Desk
from tests.hub import Fault
from trl_mcp.errors import AccessNotGranted, HubUnreachable, InvalidArguments, NotFound, UnreadableData
from trl_mcp.hub.values import HubFiles

pytestmark = pytest.mark.anyio
parquet: Any = pyarrow.parquet
ROW = json.dumps({"text": "a"}) + "\n"
CARD = """---
configs:
- config_name: main
  default: true
  data_files:
  - {split: train, path: [main/a-*.jsonl, main/extra.jsonl]}
  - {split: test, path: main/test.jsonl}
- config_name: socratic
  data_files: socratic/*.jsonl
- config_name: folder
  data_dir: sub
- config_name: gone
  data_files: nowhere/*.jsonl
---
"""
CARD_FILES = {
    "README.md": CARD,
    "main/a-1.jsonl": ROW,
    "main/a-2.jsonl": ROW * 2,
    "main/extra.jsonl": ROW,
    "main/test.jsonl": ROW,
    "socratic/x.jsonl": ROW,
    "sub/train.jsonl": ROW,
    "sub/dev.jsonl.gz": gzip.compress(ROW.encode()),
}


def add(desk: Desk, repo: str, files: dict[str, Any], **how: Any) -> str:
    return desk.emulated.add_repo(repo, files, repo_type="dataset", **how)


def paths(found: HubFiles) -> list[str]:
    return [file.path for file in found.files]


async def test_a_card_names_configs_splits_and_files(desk: Desk) -> None:
    sha, token = add(desk, "acme/mix", CARD_FILES), desk.emulated.tokens["alice"]
    found = await desk.hub.dataset_files(token, "acme/mix", sha)
    assert (found.config, found.split, found.revision, found.is_converted) == ("main", "train", sha, False)
    assert paths(found) == ["main/a-1.jsonl", "main/a-2.jsonl", "main/extra.jsonl"]
    assert [(file.size, file.kind) for file in found.files] == [(len(ROW) * n, "jsonl") for n in (1, 2, 1)]
    assert found.size == 4 * len(ROW)
    assert dict(found.configs) == {
        "main": ("train", "test"),
        "socratic": ("train",),
        "folder": ("train", "validation"),
        "gone": ("train",),
    }
    assert paths(await desk.hub.dataset_files(token, "acme/mix", sha, "socratic")) == ["socratic/x.jsonl"]
    folder = await desk.hub.dataset_files(token, "acme/mix", sha, "folder", "validation")
    assert [(file.path, file.kind) for file in folder.files] == [("sub/dev.jsonl.gz", "jsonl.gz")]


async def test_one_request_lists_the_files_of_a_public_data_set(desk: Desk) -> None:
    sha = add(desk, "acme/many", {f"data/train-{n:05d}-of-00150.parquet": b"x" for n in range(150)})
    desk.emulated.clear_requests()
    found = await desk.hub.dataset_files(None, "acme/many", sha)
    assert len(found.files) == 150
    assert len(desk.emulated.requests()) == 1


async def test_a_data_set_stays_at_its_commit(desk: Desk) -> None:
    old = add(desk, "acme/d", {"train.jsonl": ROW})
    desk.emulated.commit_files("acme/d", {"train-2.jsonl": ROW}, repo_type="dataset")
    found = await desk.hub.dataset_files(None, "acme/d", old)
    assert (paths(found), found.revision) == (["train.jsonl"], old)


@pytest.mark.parametrize(
    ("config", "split", "said"),
    [
        (
            "socratik",
            "train",
            r'no config "socratik"\. Did you mean "socratic"\? Configs: main, socratic, folder, gone\.',
        ),
        ("main", "tain", r'acme/mix \(main\) has no split "tain"\. Did you mean "train"\? Splits: train, test\.'),
        ("gone", "train", r'names nowhere/\*\.jsonl for the split "train", and no data file is there'),
    ],
)
async def test_what_is_not_there_is_answered_with_what_is(desk: Desk, config: str, split: str, said: str) -> None:
    sha = add(desk, "acme/mix", CARD_FILES)
    with pytest.raises(NotFound, match=said):
        await desk.hub.dataset_files(None, "acme/mix", sha, config, split)


async def test_of_several_configs_without_a_default_one_has_to_be_named(desk: Desk) -> None:
    sha = add(desk, "acme/mix", {**CARD_FILES, "README.md": CARD.replace("  default: true\n", "")})
    with pytest.raises(InvalidArguments, match=r"several configs.*Configs: main, socratic.*dataset=.acme/mix:main"):
        await desk.hub.dataset_files(None, "acme/mix", sha)


async def test_splits_of_different_kinds_are_refused_as_the_library_does(desk: Desk) -> None:
    sha = add(desk, "acme/d", {"train.csv": "a\n1\n", "test.jsonl": ROW})
    with pytest.raises(UnreadableData, match=r"different kinds \(train: csv, test: json\)"):
        await desk.hub.dataset_files(None, "acme/d", sha)


async def test_access_is_asked_of_the_hub(desk: Desk) -> None:
    private = add(desk, "bob/private", {"train.jsonl": ROW}, private=True)
    with pytest.raises(NotFound, match="no data set bob/private"):
        await desk.hub.dataset_files(desk.emulated.tokens["alice"], "bob/private", private)
    assert paths(await desk.hub.dataset_files(desk.emulated.tokens["bob"], "bob/private", private)) == ["train.jsonl"]
    gated = add(desk, "bob/gated", {"train.jsonl": ROW}, gated="manual")
    with pytest.raises(AccessNotGranted, match="Accept them on"):
        await desk.hub.dataset_files(desk.emulated.tokens["alice"], "bob/gated", gated)


async def test_a_data_set_with_a_loading_script_is_read_in_the_hubs_conversion(desk: Desk) -> None:
    sha = add(desk, "acme/old", {"old.py": "raise SystemExit", "train.jsonl": ROW * 3, "test.jsonl": ROW})
    found = await desk.hub.dataset_files(None, "acme/old", sha, split="test")
    assert (found.is_converted, found.commit, paths(found)) == (True, sha, ["default/test/0000.parquet"])
    assert found.revision != sha
    assert "acme/old is read in the Hub's conversion to Parquet since it is loaded by the script old.py" in found.note
    assert dict(found.configs) == {"default": ("test", "train")}
    table = await to_thread.run_sync(lambda: parquet.read_table(desk.hub.open_file(None, found, found.files[0])))
    assert table.to_pylist() == [{"text": "a"}]
    with pytest.raises(NotFound, match='no split "tset"'):
        await desk.hub.dataset_files(None, "acme/old", sha, split="tset")


async def test_a_conversion_of_the_beginning_only_is_said_to_be_one(desk: Desk) -> None:
    sha = add(desk, "acme/tsv", {"train.tsv": "a\tb\n", "dev.tsv": "a\tb\n"})
    places = ("b/train/0000", "a/partial-train/0001", "a/partial-train/0000", "a/validation/0000")
    desk.emulated.set_conversion("acme/tsv", {f"{place}.parquet": place.encode() for place in places} | {"x.md": b""})
    with pytest.raises(InvalidArguments, match=r"Configs: a, b\..*dataset=.acme/tsv:a"):
        await desk.hub.dataset_files(None, "acme/tsv", sha)
    found = await desk.hub.dataset_files(None, "acme/tsv", sha, "a")
    assert paths(found) == ["a/partial-train/0000.parquet", "a/partial-train/0001.parquet"]
    assert dict(found.configs) == {"a": ("train", "validation"), "b": ("train",)}
    assert "its first 5 GB, since its own files are of kinds not read here" in found.note


async def test_a_data_set_that_nobody_can_read_is_refused_with_the_reason(desk: Desk) -> None:
    sha = add(desk, "acme/pictures", {"train/1.png": b"x", "train/2.png": b"y"})
    with pytest.raises(UnreadableData, match=r"No data file of acme/pictures can be read.*no conversion.*\.parquet"):
        await desk.hub.dataset_files(None, "acme/pictures", sha)


async def test_a_hub_in_trouble_is_no_missing_data(desk: Desk) -> None:
    sha = add(desk, "acme/d", {"train.jsonl": ROW})
    desk.emulated.faults.add(Fault("GET", "/api/datasets/*", status=503, times=100))
    with pytest.raises(HubUnreachable):
        await desk.hub.dataset_files(None, "acme/d", sha)
