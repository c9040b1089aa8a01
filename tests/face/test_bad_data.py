"""Data that is not there, may not be read or cannot be trained on is refused by name."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WriteRows
from tests.face.conftest import Refuses
from trl_mcp.render.templates import job_module

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
NO_REFERENCE = "the absolute path of a data file or folder"


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere", "null\0byte.jsonl", "n" * 300])
async def test_a_path_where_nothing_lies_is_refused(refuses_training: Refuses, tmp_path: Path, name: str) -> None:
    words = ["no data file or folder", ".jsonl"] if name.isprintable() else [NO_REFERENCE]
    await refuses_training(*words, dataset=f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    "dataset",
    [
        "data/train.jsonl",
        "./data",
        "../train.csv",
        "train.jsonl.gz",
        "http://localhost/train.jsonl",
        "C:\\data\\train.jsonl",
        "~nobody-of-this-name/train.jsonl",
        "owner/name/more",
        "owner/name@../../etc",
        "",
    ],
)
async def test_what_is_neither_a_hub_id_nor_an_absolute_path_is_refused(
    refuses_training: Refuses, dataset: str
) -> None:
    await refuses_training('"dataset"', dataset, NO_REFERENCE, "working folder is not yours", dataset=dataset)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/etc/hostname"])
async def test_a_path_that_is_no_data_file_is_refused(refuses_training: Refuses, path: str) -> None:
    await refuses_training(f'"{Path(path).name}" is no data file', ".parquet", dataset=path)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("https://127.0.0.1/a.jsonl", ["127.0.0.1 is no public host", "TRL_MCP_ALLOW_LOCAL_CODE=1"]),
        ("https://localhost:8443/a.parquet", ["localhost is no public host"]),
        ("https://169.254.169.254/latest/meta-data/a.json", ["169.254.169.254 is no public host"]),
        ("https://[::1/a.jsonl", ["public https URL"]),
        ("https://example.org:99999/a.jsonl", ["public https URL"]),
        ("https://example.org/page.html", ['"page.html" is no data file', ".jsonl"]),
    ],
)
async def test_addresses_that_may_not_be_read_are_refused(
    refuses_training: Refuses, dataset: str, words: list[str]
) -> None:
    await refuses_training(*words, dataset=dataset)


async def test_a_folder_of_very_many_files_is_refused_before_any_is_read(
    refuses_training: Refuses, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module("files"), "MOST_ENTRIES", 20)
    folder = write_rows().parent
    for number in range(30):
        (folder / f"{number}.png").touch()
    await refuses_training('"data" holds more than 20 files', "the data alone", dataset=str(folder))


@pytest.mark.parametrize("split", ["train[3:]", "train[:0]", "train[90%:10%]", "train[-1:-2]"])
async def test_a_slice_in_which_no_row_lies_is_refused(refuses_training: Refuses, split: str) -> None:
    await refuses_training(
        "data.nonempty", f"The slice {split} holds no row", "as in train[:1000]", dataset_split=split
    )


async def test_files_in_hidden_folders_are_never_read(refuses_training: Refuses, write_rows: WriteRows) -> None:
    await refuses_training('"train.jsonl" lies in a hidden folder', dataset=str(write_rows(".secret/train.jsonl")))


async def test_a_link_into_a_hidden_folder_is_not_followed(
    refuses_training: Refuses, write_rows: WriteRows, tmp_path: Path
) -> None:
    link = tmp_path / "open.jsonl"
    link.symlink_to(write_rows(".secret/train.jsonl"))
    await refuses_training('"open.jsonl" lies in a hidden folder', dataset=str(link))


async def test_a_folder_with_a_link_into_a_hidden_folder_is_refused(
    refuses_training: Refuses, write_rows: WriteRows, tmp_path: Path
) -> None:
    folder = write_rows("data/train.jsonl").parent
    (folder / "more.jsonl").symlink_to(write_rows(".secret/train.jsonl"))
    await refuses_training('"more.jsonl" is no data file', dataset=str(folder))


async def test_a_pipe_that_is_named_like_data_is_never_opened(refuses_training: Refuses, write_rows: WriteRows) -> None:
    folder = write_rows().parent
    os.mkfifo(folder / "pipe.jsonl")
    await refuses_training('"pipe.jsonl" is no data file', dataset=str(folder))
    await refuses_training('"pipe.jsonl" is no data file', dataset=str(folder / "pipe.jsonl"))


async def test_a_path_with_steps_up_is_refused(refuses_training: Refuses, write_rows: WriteRows) -> None:
    path = write_rows()
    await refuses_training("train.jsonl", "hidden", dataset=f"{path.parent}/../data/train.jsonl")


async def test_a_folder_without_data_is_refused(refuses_training: Refuses, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "cat.png").touch()
    await refuses_training('The folder "pictures" holds no data file.', ".jsonl", dataset=str(folder))


@pytest.mark.parametrize("split", ["train", "train[:50%]"])
async def test_broken_json_is_refused_with_its_line(
    refuses_training: Refuses, write_rows: WriteRows, split: str
) -> None:
    path = write_rows()
    with path.open("a") as file:
        file.write('{"prompt": "4 + 1?", \n')
    await refuses_training(
        "train.jsonl line 4 is not valid JSON", "Mend the file", dataset=str(path), dataset_split=split
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.jsonl", b"[1, 2]\n", ["list.jsonl row 0 is a number", "not an object"]),
        ("cut.json", b'[{"text": "a"}, {"te', ["cut.json is not valid JSON in row 1"]),
        ("latin.jsonl", b'{"text": "caf\xe9"}\n', ["latin.jsonl is not UTF-8", "in line 1", "save it as UTF-8"]),
        ("semi.csv", b"prompt;completion\na;b\n", ["semi.csv separates its columns by ';'", "save it with commas"]),
        ("open.csv", b'a,b\n1,"2\n3,4\n', ["open.csv is not valid CSV in the row that begins in line 2"]),
        ("lfs.parquet", b"version https://git-lfs.github.com/spec/v1\n", ["lfs.parquet is the pointer of Git LFS"]),
        ("page.jsonl", b"<!DOCTYPE html>", ["page.jsonl is a web page"]),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", ["cut.csv.gz is no whole gzip file"]),
        ("no.parquet", b"PAR1", ["no.parquet is no readable Parquet file"]),
        ("deep.jsonl", b"[" * 100_000, ["deep.jsonl"]),
    ],
)
async def test_a_file_that_is_not_what_its_name_says_is_refused(
    refuses_training: Refuses, tmp_path: Path, name: str, content: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    await refuses_training(*words, "Mend the file", dataset=str(tmp_path / name))


@pytest.mark.parametrize("content", ["", "\n\n"])
async def test_a_file_without_rows_is_refused(refuses_training: Refuses, tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.jsonl").write_text(content)
    await refuses_training("data.nonempty", "no rows", dataset=str(tmp_path / "empty.jsonl"))


async def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    refuses_training: Refuses, write_rows: WriteRows
) -> None:
    path = write_rows(rows=[{"question": "1 + 1?", "answer": "2"}])
    await refuses_training(
        "no column 'anser'",
        "did you mean answer?",
        "it has: question, answer.",
        dataset=str(path),
        columns=["prompt=question", "completion=anser"],
    )


async def test_a_column_that_a_parquet_file_has_not_is_refused_with_those_it_has(
    refuses_training: Refuses, tmp_path: Path
) -> None:
    path = tmp_path / "train.parquet"
    pyarrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"question": ["1 + 1?"], "answer": ["2"], "source": ["a"]}), path)
    await refuses_training(
        "no column 'answr'",
        "it has: question, answer, source.",
        dataset=str(path),
        columns=["prompt=question", "completion=answr"],
    )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["promt=question"], ['sft reads no "promt"', 'Did you mean "prompt"?', "messages, prompt, completion, text"]),
        (["prompt"], ["columns", '"name=value"', "prompt"]),
        (["=question"], ["columns", '"name=value"', "=question"]),
        (["prompt=a", "prompt=b"], ["prompt is given twice", "a and b"]),
        ("[broken", ["columns", "no valid JSON"]),
        (5, ["columns", 'a list of "name=value"']),
        ([5], ["columns", '"name=value"', "5"]),
        ({"prompt": ["a"]}, ["columns.prompt", "valid string"]),
        ({"prompt": 3}, ["no column '3'", "it has: prompt, completion."]),
    ],
)
async def test_columns_that_cannot_be_understood_are_refused(
    refuses_training: Refuses, columns: object, words: list[str]
) -> None:
    await refuses_training(*words, columns=columns)


async def test_rows_in_no_known_layout_are_refused_with_the_columns_there_are(
    refuses_training: Refuses, write_rows: WriteRows
) -> None:
    path = write_rows(rows=[{"left": "What is 1 + 1?", "right": "It is 2."}])
    await refuses_training("data.columns", "left", "right", "Give columns=", dataset=str(path))


async def test_conversations_for_a_model_without_a_chat_template_are_refused(
    refuses_training: Refuses, write_rows: WriteRows, model_folder: Path
) -> None:
    (model_folder / "chat_template.jinja").unlink()
    path = write_rows(rows=[{"messages": MESSAGES}])
    await refuses_training("data.nonempty", "no chat template", dataset=str(path))
