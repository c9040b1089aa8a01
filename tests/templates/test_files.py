"""Data files on this machine."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates.job_modules import load_shared

files = load_shared("files")
ROWS = [{"text": "eins,\n\u201ezwei\u201c"}, {"text": 'a "quoted" one'}]
CELLS = st.integers() | st.text(max_size=9) | st.lists(st.floats(-9, 9), max_size=4)


def read(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a file."""
    return list(files.read_text_file(path, files.file_kind(path.name)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "\n\n".join(json.dumps(row) for row in ROWS)),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("b.json", "\n".join(json.dumps(row) for row in ROWS)),
        ("a.csv", 'text\n"eins,\n\u201ezwei\u201c"\n"a ""quoted"" one"\n'),
        ("array.jsonl", "\n" + json.dumps(ROWS, indent=1)),
        ("a_line.jsonl", json.dumps(ROWS)),
        ("crlf.csv", '\r\ntext\r\n"eins,\n\u201ezwei\u201c"\r\n\r\n"a ""quoted"" one",,\r\n'),
        ("bom.jsonl", "\ufeff" + "\n".join(json.dumps(row) for row in ROWS)),
    ],
)
def test_every_kind_of_text_file_gives_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    plain, packed = tmp_path / name, tmp_path / f"{name}.gz"
    plain.write_text(text, encoding="utf-8")
    packed.write_bytes(gzip.compress(text.encode()))
    assert read(plain) == read(packed) == ROWS


@settings(deadline=None)  # a busy machine is slow, not wrong
@given(st.lists(st.dictionaries(st.text(max_size=3), CELLS, max_size=4), max_size=4))
def test_an_array_is_read_the_same_in_pieces_of_any_size(array: list[dict[str, Any]]) -> None:
    text = json.dumps(array, indent=1)

    class Slow:
        """A stream that hands out few characters at a time."""

        place = 0

        def read(self, _: int) -> str:
            """Return the next three characters."""
            self.place += 3
            return text[self.place - 3 : self.place]

    assert list(files.read_json_values(Slow(), "a.json")) == array


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": }\n', "a.jsonl line 2"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl line 2 is a list"),
        ("a.json", '[{"a": 1}, {"a": ]', "a.json is not valid JSON in row 1"),
        ("a.json", '[{"a": 1} {"a": 2}]', "a.json is not valid JSON after row 0"),
        ("a.json", '[{"a": 1}', "a.json is not valid JSON after row 0"),
        ("a.json", '[{"a": 1}] x', "a.json is not valid JSON after row 0"),
        ("a.json", "[1]", "a.json row 0 is a number"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_at_its_place(
    tmp_path: Path, name: str, text: str, place: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(files.UnreadableFileError) as refusal:
        read(path)
    assert str(refusal.value).startswith(place)


def test_cells_that_a_csv_row_has_not_are_missing_values_and_empty_ones_beyond_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n\n,b,c\n1,2,3\n4\n\n5,6,7,,\n8,,\n", encoding="utf-8")
    rows = [list(row.values()) for row in read(path)]
    assert rows == [["1", "2", "3"], ["4", None, None], ["5", "6", "7"], ["8", "", ""]]
    assert {tuple(row) for row in read(path)} == {("", "b", "c")}


def test_a_folder_of_very_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_ENTRIES", 5)
    place_files(tmp_path, [f"{number}/a.jsonl" for number in range(3)])
    with pytest.raises(files.UnreadableFileError, match="more than 5 files"):
        files.list_splits(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "gr\u00fcn"}'.encode("latin-1"))
    with pytest.raises(files.UnreadableFileError, match="not UTF-8"):
        read(path)


def test_a_torn_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-20])
    with pytest.raises(files.UnreadableFileError, match="no whole gzip file"):
        read(path)


def place_files(folder: Path, names: list[str]) -> Path:
    """Make empty files in a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_is_all_its_data_files_in_order(tmp_path: Path) -> None:
    names = ["b.jsonl", "a.csv", "sub/c.parquet", ".hidden.jsonl", ".git/d.jsonl", "README.md"]
    splits = files.list_splits(place_files(tmp_path, names))
    assert splits == {"train": [tmp_path / "a.csv", tmp_path / "b.jsonl", tmp_path / "sub" / "c.parquet"]}


def test_words_in_file_names_make_splits(tmp_path: Path) -> None:
    names = ["train-00000-of-00001.parquet", "gsm8k_test.jsonl", "dev/x.json", "my.eval.csv", "rest.jsonl"]
    splits = files.list_splits(place_files(tmp_path, names))
    found = {split: [path.name for path in paths] for split, paths in splits.items()}
    assert found == {
        "train": ["rest.jsonl", "train-00000-of-00001.parquet"],
        "test": ["gsm8k_test.jsonl", "my.eval.csv"],
        "validation": ["x.json"],
    }


def test_a_file_is_the_split_train_whatever_its_name(tmp_path: Path) -> None:
    path = place_files(tmp_path, ["test.jsonl"]) / "test.jsonl"
    assert files.list_splits(path) == {"train": [path]}
