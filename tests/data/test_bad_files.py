"""Files that are broken, hostile or too large are answered clearly, in bounded memory and time."""

import gzip
import io
import json
import os
import threading
import time
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil
import pytest

from tests.data.desk import SFT, codes, look, parquet, problem, pyarrow, talk, talks, write_parquet
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.sources import DataFile, RowSource
from trl_mcp.data.wishes import RowWishes
from trl_mcp.errors import HubUnreachable, NotPossible, UnreadableData
from trl_mcp.values import Verdict

LINE = json.dumps(talk()).encode() + b"\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.jsonl", b"[1, 2]\n", "list.jsonl row 0 is a number, not an object"),
        ("lists.jsonl", LINE + b"[1, 2]\n", "lists.jsonl line 2 is a list, not an object"),
        ("null.jsonl", LINE + b"null\n", "null.jsonl line 2 is null, not an object"),
        ("cut.json", b'[{"text": "a"}, {"te', "cut.json is not valid JSON in row 1"),
        ("late.jsonl", LINE * 900 + b"{oops}\n", "late.jsonl line 901 is not valid JSON: .* at character 2"),
        ("tall.jsonl", b'{\n  "text": "a"\n}\n', "tall.jsonl line 1 .*takes several lines, name the file .json"),
        ("nul.jsonl", LINE * 900 + b"\0" * 50, "nul.jsonl line 901 holds NUL bytes"),
        ("wide.jsonl", '{"text": "a"}\n'.encode("utf-16-le"), "wide.jsonl line 1 holds NUL bytes, as .*UTF-16"),
        ("deep.jsonl", LINE * 9 + b'{"a": ' + b"[" * 100_000, "deep.jsonl line 10 is nested too deeply"),
        ("deep.json", b"[" * 100_000, "deep.json row 0 is nested too deeply"),
        ("latin.jsonl", LINE * 9000 + b'{"text": "caf\xe9"}\n', r"latin.jsonl is not UTF-8 .*in line 9001\); save it"),
        ("latin.csv", b"text\n" + b"a b\n" * 900 + b"caf\xe9\n", r"latin.csv is not UTF-8 .*in line 902\); save it"),
        (
            "latin.json.gz",
            gzip.compress(b'[{"text": "caf\xe9"}]', mtime=0),
            r"latin.json.gz is not UTF-8 .*in line 1\)",
        ),
        ("bom.jsonl", '{"text": "a"}\n'.encode("utf-16"), "bom.jsonl is UTF-16 or UTF-32 text, not UTF-8"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "cut.csv.gz is no whole gzip file"),
        ("half.jsonl.gz", gzip.compress(LINE * 9000, mtime=0)[:-40], "half.jsonl.gz is no whole gzip file"),
        (
            "bent.jsonl.gz",
            gzip.compress(bytes(range(225)) * 4, 0, mtime=0)[:20] + b"\xff" * 99,
            "bent.jsonl.gz is no whole gzip file",
        ),
        ("tail.jsonl.gz", gzip.compress(LINE, mtime=0) + b"garbage", "tail.jsonl.gz is no whole gzip file"),
        ("plain.csv.gz", b"text\na b\n", "plain.csv.gz is no whole gzip file"),
        ("packed.jsonl", gzip.compress(LINE, mtime=0), "packed.jsonl is packed with gzip: add .gz to its name"),
        ("twice.jsonl.gz", gzip.compress(gzip.compress(LINE, mtime=0), mtime=0), "twice.jsonl.gz is packed with gzip"),
        ("sheet.csv", b"PK\x03\x04\x14\0", "sheet.csv is a ZIP archive or a spreadsheet"),
        ("page.jsonl", b"\n<!DOCTYPE html><html></html>", "page.jsonl is a web page, not data"),
        ("page.parquet", b"<html><body>404</body></html>", "page.parquet is a web page, not data"),
        ("lfs.jsonl", LFS, "lfs.jsonl is the pointer of Git LFS"),
        ("lfs.csv", LFS, "lfs.csv is the pointer of Git LFS"),
        ("lfs.parquet", LFS, "lfs.parquet is the pointer of Git LFS"),
        ("no.parquet", b"PAR1", "no.parquet is no readable Parquet file"),
        ("text.parquet", LINE, "text.parquet is no readable Parquet file"),
        ("empty.parquet", b"", "empty.parquet is no readable Parquet file: .* 0 bytes"),
        ("semi.csv", b"prompt;completion\nHow, then?;So, now\n", "semi.csv separates its columns by ';'; save it"),
        ("tab.csv", b"prompt\tcompletion\nHow?\tSo\n", r"tab.csv separates its columns by '\\t'; save it"),
        ("twin.csv", b"prompt,prompt,answer\na,b,c\n", "twin.csv has more than one column named 'prompt'"),
        (
            "open.csv",
            b'a,b\n1,2\n3,"x\n' + b"5,6\n" * 900,
            "open.csv is not valid CSV in the row that begins in line 3",
        ),
        ("odd.csv", b'a,b\n1,"x" y\n', "odd.csv is not valid CSV in the row that begins in line 2"),
        ("wide.csv", b"a,b\n1,2\n3,4, or 5\n", "wide.csv line 3 has 3 cells for 2 columns; put texts .*between quotes"),
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


@pytest.mark.parametrize("broken", [b"", b"XXXX", b"\xff\xff\xff\x7fPAR1", b"\x00\x00\x00\x00PAR1"])
def test_a_parquet_file_with_a_broken_end_is_refused(tmp_path: Path, broken: bytes) -> None:
    path = write_parquet(tmp_path / "a.parquet", talks(500))
    path.write_bytes(path.read_bytes()[: -max(len(broken), 20)] + broken)
    with pytest.raises(UnreadableData, match=r"a\.parquet is no readable Parquet file"):
        look(path)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    texts = pyarrow.array(["a", "b"])
    table = pyarrow.Table.from_arrays([texts, texts, texts], names=["prompt", "prompt", "completion"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UnreadableData, match='more than one column named "prompt"'):
        look(tmp_path / "a.parquet")


def test_parquet_files_of_several_schemas_are_read_as_rows_of_several_layouts(tmp_path: Path) -> None:
    table = {"extra": [1] * 5, "messages": [row["messages"] for row in talks(400)[395:]]}
    write_parquet(tmp_path / "a.parquet", talks(300))
    write_parquet(tmp_path / "b.parquet", [{"text": "How far is it?"}] * 5)
    parquet.write_table(pyarrow.table(table), tmp_path / "c.parquet")
    write_parquet(tmp_path / "d.parquet", [{"messages": "no turns"}] * 5)
    report = look(tmp_path).report
    assert (report.rows_total, report.rows_checked, report.rows_kept) == (315, 315, 305)
    assert problem(report, "data.mixed_layout").rows == (300, 301, 302, 303, 304)
    assert problem(report, "data.types").rows == (310, 311, 312, 313, 314)


def test_thousands_of_columns_are_told_in_little_time_and_memory(tmp_path: Path) -> None:
    row = {f"column {number}": f"This is text number {number}" for number in range(2000)}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n" * 3)
    with peak_memory() as peak:
        for method in ("sft", "dpo", "kto", "grpo"):
            report = look(tmp_path / "a.jsonl", RowWishes(method)).report
            assert report.verdict in (Verdict.NEEDS_COLUMNS, Verdict.INVALID)
    assert peak.seconds < 60
    assert peak.bytes < 200_000_000


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


@dataclass
class Peak:
    """What something took: the most memory beyond what was there, and the time."""

    bytes: int = 0
    seconds: float = 0.0


@contextmanager
def peak_memory() -> Generator[Peak]:
    """Measure what is done in between, looking at the memory all the time."""
    process, peak, is_over = psutil.Process(), Peak(), threading.Event()
    before, began = process.memory_info().rss, time.monotonic()

    def watch() -> None:
        while not is_over.wait(0.01):
            peak.bytes = max(peak.bytes, process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()
        peak.seconds = time.monotonic() - began


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
    with peak_memory() as peak:
        scan = look_endless(kind, start, again, 3)
    assert peak.seconds < 9
    assert peak.bytes < 300_000_000
    assert scan.report.complete is False
    assert scan.report.rows_kept == scan.report.rows_checked > 100


@pytest.mark.parametrize(
    ("kind", "start", "where"),
    [
        ("json", b'{"text": "', "row 0: it is"),
        ("json", b'[{"text": "', "row 0: it is"),
        ("jsonl", LINE + b'{"text": "', "line 2 is"),
        ("csv", b"prompt,completion\nHow?,", "line 2 is"),
        ("csv", b'prompt,completion\nHow?,"', "line 2 is"),
    ],
)
def test_a_value_without_end_is_given_up_in_little_memory(kind: str, start: bytes, where: str) -> None:
    with peak_memory() as peak, pytest.raises(UnreadableData, match=f"endless.* {where} longer than 67,108,864"):
        look_endless(kind, start, b"a ", 60)
    assert peak.seconds < 30
    assert peak.bytes < 400_000_000


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_ten_gigabytes_without_a_line_break_are_refused_in_little_memory_and_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    with path.open("wb") as stream:
        stream.write(b'{"text": "')
        stream.truncate(10_000_000_000)
    with (
        peak_memory() as peak,
        pytest.raises(UnreadableData, match=r"longer than 67,108,864 characters|not valid JSON"),
    ):
        look(path)
    assert peak.seconds < 30
    assert peak.bytes < 400_000_000


@pytest.mark.parametrize("block", [b"a" * (1 << 20), LINE * 10_000])
def test_a_packed_file_that_unpacks_to_very_much_is_read_in_little_memory_and_time(
    tmp_path: Path, block: bytes
) -> None:
    path = tmp_path / "a.jsonl.gz"
    packer = zlib.compressobj(9, wbits=31)
    path.write_bytes(b"".join([*(packer.compress(block) for _ in range(300)), packer.flush()]))
    assert path.stat().st_size < 2_000_000
    with peak_memory() as peak:
        if block == LINE * 10_000:
            assert look(path, seconds=1).report.complete is False
        else:
            with pytest.raises(UnreadableData, match="line 1 is longer"):
                look(path)
    assert peak.seconds < 30
    assert peak.bytes < 400_000_000


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


def test_of_more_parquet_files_than_can_be_looked_into_in_time_the_first_are_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", talks(50))

    def open_late() -> BinaryIO:
        threading.Event().wait(0.4)
        return path.open("rb")

    many = RowSource(
        "many", "many", "", {"train": tuple(DataFile(path.name, "parquet", open_late) for _ in range(200))}
    )
    with peak_memory() as peak:
        report = look_at(many, SFT, time.monotonic() + 4).report
        with pytest.raises(NotPossible, match=r"could not be counted in time.*train\[:100000\]"):
            look_at(many, RowWishes("sft", "train[:50%]"), time.monotonic() + 4)
    assert peak.seconds < 15
    assert (report.rows_total, report.complete) == (None, False)
    assert report.rows_kept == report.rows_checked > 0
    assert "data.coverage" in codes(report)
