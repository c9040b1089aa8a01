"""A fingerprint names content: what a file or folder holds, wherever it lies."""

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.data.fingerprint import fingerprint

LARGE = 256 * 1024 * 1024 + 1


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_same_content_has_the_same_name_wherever_it_lies(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": b"x", "b/c.jsonl": b"x", "d.jsonl": b"y"})
    assert fingerprint(tmp_path / "a.jsonl") == fingerprint(tmp_path / "b" / "c.jsonl")
    assert fingerprint(tmp_path / "a.jsonl") != fingerprint(tmp_path / "d.jsonl")


def test_a_folder_is_named_by_its_files_and_what_they_are_called(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "sub/weights.bin": b"1"}
    name = fingerprint(write(tmp_path / "one", files))
    assert fingerprint(write(tmp_path / "two", files)) == name
    others = [
        {"config.json": b"{ }", "sub/weights.bin": b"1"},
        {"config.json": b"{}", "weights.bin": b"1"},
        {"config.json": b"{}"},
        {**files, "more": b""},
    ]
    names = {fingerprint(write(tmp_path / f"other{index}", other)) for index, other in enumerate(others)}
    assert len(names | {name}) == 5


def test_content_that_moves_from_one_file_to_the_next_is_seen(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a": b"xy", "b": b""})
    two = write(tmp_path / "two", {"a": b"x", "b": b"y"})
    assert fingerprint(one) != fingerprint(two)


def test_a_large_file_is_named_in_a_moment_by_its_ends_and_its_size(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("zeros", "longer", "first", "last")]
    for path, size, mark in zip(paths, (LARGE, LARGE + 1, LARGE, LARGE), (None, None, 0, LARGE - 1), strict=True):
        with path.open("wb") as file:
            file.truncate(size)  # a hole: no disk is used
            if mark is not None:
                file.seek(mark)
                file.write(b"1")
    assert len({fingerprint(path) for path in paths}) == 4


def test_a_folder_of_gigabytes_is_named_in_a_moment_by_the_ends_of_its_files(tmp_path: Path) -> None:
    def holes(name: str, changed: int | None = None) -> str:
        for number in range(60):
            path = tmp_path / name / f"{number:02}"
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                file.truncate(150_000_000)
                file.write(b"1" if number == changed else b"")
        return fingerprint(tmp_path / name)

    began = time.monotonic()
    assert len({holes("same"), holes("again"), holes("last", 59)}) == 2
    assert time.monotonic() - began < 60


@given(st.binary(), st.binary())
def test_only_equal_bytes_have_equal_names(one: bytes, two: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        write(Path(folder), {"one": one, "two": two})
        assert (fingerprint(Path(folder, "one")) == fingerprint(Path(folder, "two"))) is (one == two)
