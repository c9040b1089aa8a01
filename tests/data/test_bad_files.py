"""Files that are broken, hostile or too large are answered clearly, in bounded memory and time."""

import gzip
import io
import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil
import pytest

from tests.data.desk import SFT, codes, look, parquet, problem, pyarrow, talk, talks, write_parquet
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.sources import DataFile, RowSource
from trl_mcp.errors import HubUnreachable, UnreadableData

LINE = json.dumps(talk()).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.jsonl", b"[1, 2]\n", "list.jsonl line 1 is a list, not an object"),
        ("cut.json", b'[{"text": "a"}, {"te', "cut.json is not valid JSON in row 1"),
        ("late.jsonl", LINE * 900 + b"{oops}\n", "late.jsonl line 901 is not valid JSON"),
        ("latin.jsonl", LINE * 900 + b'{"text": "caf\xe9"}\n', "latin.jsonl is not UTF-8"),
        ("wide.jsonl", '{"text": "a"}\n'.encode("utf-16"), "wide.jsonl is not UTF-8"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "cut.csv.gz is no whole gzip file"),
        ("half.jsonl.gz", gzip.compress(LINE * 9000)[:-40], "half.jsonl.gz is no whole gzip file"),
        ("bent.jsonl.gz", gzip.compress(os.urandom(900), 0)[:20] + b"\xff" * 99, "bent.jsonl.gz is no whole gzip file"),
        ("no.parquet", b"PAR1", "no.parquet is no readable Parquet file"),
        ("text.parquet", LINE, "text.parquet is no readable Parquet file"),
        ("deep.jsonl", b"[" * 100_000, "deep.jsonl"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableData, match=words) as caught:
        look(tmp_path / name)
    assert "Mend the file" in str(caught.value)


def test_a_parquet_file_that_is_damaged_inside_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", talks(5000))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = b"\xff" * 2000
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableData, match=r"a\.parquet"):
        look(path)


def test_parquet_text_that_is_not_utf_8_is_refused_with_its_row(tmp_path: Path) -> None:
    texts = pyarrow.array([b"fine"] * 700 + [b"caf\xe9"] + [b"fine"] * 9).cast(pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet", row_group_size=100)
    with pytest.raises(UnreadableData, match="row 700 holds what cannot be read"):
        look(tmp_path / "a.parquet")


def test_mixed_layouts_in_one_file_are_told_apart(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*talks(300), {"text": "Once upon a time"}, {"prompt": "1 + 1?", "completion": "2"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = look(tmp_path / "a.jsonl").report
    assert (report.rows_kept, codes(report)) == (300, ["data.mixed_layout"])
    assert problem(report, "data.mixed_layout").rows == (300, 301)


class Endless(io.RawIOBase):
    """A file that never ends: a beginning, then the same bytes over and over."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self._next = start
        self._again = again * (1 + (1 << 16) // len(again))

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        block, self._next = self._next, self._again
        return block


def look_endless(kind: str, start: bytes, again: bytes, seconds: float) -> Scan:
    def open_file() -> BinaryIO:
        return cast(BinaryIO, Endless(start, again))

    source = RowSource("endless", "endless", "", {"train": (DataFile(f"endless.{kind}", kind, open_file),)})
    return look_at(source, SFT, time.monotonic() + seconds)


@pytest.mark.parametrize(
    ("kind", "start", "again"),
    [
        ("json", b"[" + LINE, b"," + LINE),
        ("jsonl", LINE, LINE),
        ("csv", b"prompt,completion\n", b"How?,So.\n"),
    ],
)
def test_a_file_without_end_is_read_until_the_time_is_up_in_little_memory(
    kind: str, start: bytes, again: bytes
) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    began = time.monotonic()
    scan = look_endless(kind, start, again, 3)
    assert time.monotonic() - began < 9
    assert process.memory_info().rss - before < 200_000_000
    assert scan.report.complete is False
    assert scan.report.rows_kept == scan.report.rows_checked > 100


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_value_without_end_is_given_up(kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(UnreadableData, match="endless"):
        look_endless(kind, b'{"text": "', b"a ", 60)
    assert time.monotonic() - began < 30


class Overdue(io.FileIO):
    """A file far away: what lies beyond `reach` bytes does not come before the deadline."""

    def __init__(self, path: Path, reach: int, deadline: float) -> None:
        super().__init__(path)
        self._reach = reach
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        if self._reach < self.tell() < 1.5 * self._reach:
            while time.monotonic() < self._deadline:
                pass
            raise HubUnreachable("The Hub did not answer in time.")
        return super().read(-1 if size is None else size)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_file_far_away_that_is_not_read_in_time_is_looked_at_in_part(tmp_path: Path, kind: str) -> None:
    path, rows = tmp_path / f"a.{kind}", [talk(f"{n}: {os.urandom(200).hex()}") for n in range(8000)]
    if kind == "parquet":
        write_parquet(path, rows, 500)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    deadline = time.monotonic() + 3
    reach = path.stat().st_size // 2
    far = DataFile(path.name, kind, lambda: cast(BinaryIO, Overdue(path, reach, deadline)))
    report = look_at(RowSource("far", "far", "", {"train": (far,)}), SFT, deadline).report
    assert report.complete is False
    assert 2000 < report.rows_kept < 6000
    assert "data.coverage" in codes(report)


def test_rows_of_a_million_characters_are_kept_and_measured(tmp_path: Path) -> None:
    rows = [*talks(20), talk("Tell me everything.", "word " * 200_000), *talks(40)[20:]]
    for path in (write_parquet(tmp_path / "a.parquet", rows), tmp_path / "a.jsonl"):
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        scan = look(path)
        assert (scan.report.rows_kept, scan.report.problems) == (41, ())
        assert max(row.characters for row in scan.sample) > 1_000_000
        assert scan.sample[20].number == 20


def test_many_huge_rows_do_not_fill_the_memory(tmp_path: Path) -> None:
    schema = pyarrow.schema([("text", pyarrow.string())])
    with parquet.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd") as writer:
        for number in range(120):
            writer.write_table(pyarrow.table({"text": [f"{number} " + "word " * 200_000]}, schema))
    scan = look(tmp_path / "a.parquet")
    assert scan.report.rows_kept == 120
    assert 20 <= len(scan.sample) <= 32
    assert scan.lengths.characters > 120_000_000
