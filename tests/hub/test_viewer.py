"""The data-set viewer and the converted Parquet files."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, cast

import httpx2
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs] - pyarrow ships no types
import pytest
from huggingface_hub import HfApi
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs] - pyarrow ships no types

from tests.hub import EmulatedHub, Fault
from tests.hub.support import get

CARD = """---
configs:
- config_name: math
  data_files:
  - split: train
    path: math/*.jsonl
- config_name: code
  data_files: code/all.csv
---
"""


def jsonl(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    out = BytesIO()
    table = cast("Any", pa.Table.from_pylist(rows))  # pyright: ignore[reportUnknownMemberType] - no types
    parquet.write_table(table, out)  # pyright: ignore[reportUnknownMemberType] - no types
    return out.getvalue()


def ask(hub: EmulatedHub, path: str, token: str | None = None, **query: object) -> httpx2.Response:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return get(f"{hub.viewer_endpoint}/{path}?{text}", token)


@pytest.fixture
def chat(hub: EmulatedHub) -> str:
    """Add a data set of conversations with 250 training rows."""
    turn = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    rows = [{"messages": turn, "n": n, "score": n / 2, "ok": n % 2 == 0, "text": "x" * n} for n in range(250)]
    files = {"data/train-00000.parquet": parquet_bytes(rows), "data/test-00000.parquet": parquet_bytes(rows[:5])}
    return hub.add_repo("acme/chat", files, repo_type="dataset")


def test_splits_come_from_file_names(hub: EmulatedHub, chat: str) -> None:
    answer = ask(hub, "splits", dataset="acme/chat")
    assert [(entry["config"], entry["split"]) for entry in answer.json()["splits"]] == [
        ("default", "train"),
        ("default", "test"),
    ]
    assert answer.headers["X-Revision"] == chat
    assert ask(hub, "is-valid", dataset="acme/chat").json()["viewer"] is True


def test_splits_come_from_the_card(hub: EmulatedHub) -> None:
    math = {"math/a.jsonl": jsonl({"q": 1}), "math/b.jsonl": jsonl({"q": 2})}
    hub.add_repo("acme/mix", {"README.md": CARD, "code/all.csv": "q\n3\n", **math}, repo_type="dataset")
    found = ask(hub, "splits", dataset="acme/mix").json()["splits"]
    assert [(entry["config"], entry["split"]) for entry in found] == [("math", "train"), ("code", "train")]
    rows = ask(hub, "rows", dataset="acme/mix", config="math", split="train").json()["rows"]
    assert [row["row"] for row in rows] == [{"q": 1}, {"q": 2}]


@pytest.mark.usefixtures("chat")
def test_rows_come_with_features_in_slices(hub: EmulatedHub) -> None:
    found = ask(hub, "rows", dataset="acme/chat", config="default", split="train", offset=240, length=100).json()
    assert [row["row_idx"] for row in found["rows"]] == list(range(240, 250))
    assert (found["num_rows_total"], found["partial"]) == (250, False)
    types = {feature["name"]: feature["type"] for feature in found["features"]}
    text = {"dtype": "string", "_type": "Value"}
    assert types["messages"] == {"feature": {"role": text, "content": text}, "_type": "List"}
    first = ask(hub, "first-rows", dataset="acme/chat", config="default", split="train").json()
    assert (len(first["rows"]), first["truncated"]) == (100, True)


@pytest.mark.usefixtures("chat")
def test_size_info_and_parquet_agree(hub: EmulatedHub) -> None:
    size = ask(hub, "size", dataset="acme/chat").json()["size"]
    assert (size["dataset"]["num_rows"], size["configs"][0]["num_columns"]) == (255, 5)
    info = ask(hub, "info", dataset="acme/chat", config="default").json()["dataset_info"]
    assert info["splits"]["test"]["num_examples"] == 5
    files = ask(hub, "parquet", dataset="acme/chat").json()["parquet_files"]
    content = get(files[0]["url"]).content
    assert len(content) == files[0]["size"]
    assert parquet.read_table(BytesIO(content)).num_rows == 250  # pyright: ignore[reportUnknownMemberType] - no types


@pytest.mark.usefixtures("chat")
def test_statistics_describe_each_kind_of_column(hub: EmulatedHub) -> None:
    found = ask(hub, "statistics", dataset="acme/chat", config="default", split="train").json()
    columns = {entry["column_name"]: entry for entry in found["statistics"]}
    kinds = {name: entry["column_type"] for name, entry in columns.items()}
    assert kinds == {"messages": "list", "n": "int", "score": "float", "ok": "bool", "text": "string_text"}
    lengths = columns["text"]["column_statistics"]
    assert (lengths["min"], lengths["max"], lengths["median"]) == (0, 249, 124.5)
    assert sum(lengths["histogram"]["hist"]) == 250
    assert columns["ok"]["column_statistics"]["frequencies"] == {"True": 125, "False": 125}
    assert columns["messages"]["column_statistics"]["histogram"] == {"hist": [250], "bin_edges": [2, 2]}


def test_the_hub_lists_converted_files_under_a_branch_of_their_own(hub: EmulatedHub, api: HfApi, chat: str) -> None:
    base = f"{hub.endpoint}/api/datasets/acme/chat/parquet"
    urls = get(base).json()
    assert urls == {"default": {name: [f"{base}/default/{name}/0.parquet"] for name in ("train", "test")}}
    assert get(f"{base}/default").json() == urls["default"]
    assert get(f"{base}/default/test").json() == urls["default"]["test"]
    assert get(urls["default"]["test"][0]).status_code == 302
    revision = "refs/convert/parquet"
    paths = api.list_repo_files("acme/chat", repo_type="dataset", revision=revision)
    assert paths == ["default/test/0000.parquet", "default/train/0000.parquet"]
    assert api.dataset_info("acme/chat").sha == chat


@pytest.mark.usefixtures("chat")
def test_bad_questions_have_their_own_errors(hub: EmulatedHub) -> None:
    known = {"dataset": "acme/chat", "config": "default", "split": "train"}
    answers = [
        ask(hub, "splits"),
        ask(hub, "rows", **known, length=101),
        ask(hub, "rows", **{**known, "split": "nowhere"}),
        ask(hub, "splits", dataset="acme/nothing"),
        ask(hub, "splits", hub.tokens["alice"], dataset="acme/nothing"),
    ]
    assert [(answer.status_code, answer.headers["X-Error-Code"]) for answer in answers] == [
        (422, "MissingRequiredParameter"),
        (422, "InvalidParameter"),
        (404, "ConfigNotFoundError"),
        (401, "ExternalUnauthenticatedError"),
        (404, "ExternalAuthenticatedError"),
    ]


def test_private_and_empty_data_sets_have_no_viewer(hub: EmulatedHub) -> None:
    hub.add_repo("alice/private", {"a.jsonl": jsonl({"a": 1})}, repo_type="dataset", private=True)
    hub.add_user("paula", is_pro=True)
    hub.add_repo("paula/private", {"a.jsonl": jsonl({"a": 1})}, repo_type="dataset", private=True)
    hub.add_repo("acme/empty", repo_type="dataset")
    assert ask(hub, "splits", hub.tokens["alice"], dataset="alice/private").status_code == 501
    assert ask(hub, "splits", hub.tokens["paula"], dataset="paula/private").status_code == 200
    assert ask(hub, "splits", dataset="acme/empty").headers["X-Error-Code"] == "EmptyDatasetError"


@pytest.mark.usefixtures("chat")
def test_an_answer_that_is_not_ready_yet_comes_later(hub: EmulatedHub) -> None:
    hub.faults.add(Fault(path="/datasets-server/size", error_code="ResponseNotReadyError", message="Not ready"))
    answers = [ask(hub, "size", dataset="acme/chat") for _ in range(2)]
    assert [(answer.status_code, answer.headers.get("X-Error-Code")) for answer in answers] == [
        (500, "ResponseNotReadyError"),
        (200, None),
    ]


def test_a_viewer_that_lags_behind_says_which_commit_it_has_seen(hub: EmulatedHub, chat: str) -> None:
    hub.freeze_viewer("acme/chat")
    hub.commit_files("acme/chat", {"data/extra-00000.parquet": parquet_bytes([{"n": 1}])}, repo_type="dataset")
    assert ask(hub, "splits", dataset="acme/chat").headers["X-Revision"] == chat


def test_a_gated_data_set_is_shown_to_those_it_was_granted_to(hub: EmulatedHub) -> None:
    hub.add_repo("bob/gated", {"a.jsonl": jsonl({"a": 1})}, repo_type="dataset", gated="manual")
    known = {"dataset": "bob/gated", "config": "default", "split": "train"}
    assert ask(hub, "statistics", hub.tokens["alice"], **known).status_code == 404
    hub.grant_access("bob/gated", "alice", repo_type="dataset")
    assert ask(hub, "statistics", hub.tokens["alice"], **known).json()["num_examples"] == 1


def test_the_parquet_form_can_be_chosen(hub: EmulatedHub, api: HfApi, chat: str) -> None:
    hub.set_conversion("acme/chat", {"default/partial-train/0000.parquet": parquet_bytes([{"n": 1}])})
    info = api.dataset_info("acme/chat", revision="refs/convert/parquet", files_metadata=True)
    assert [sibling.rfilename for sibling in info.siblings or []] == ["default/partial-train/0000.parquet"]
    assert info.sha != chat
