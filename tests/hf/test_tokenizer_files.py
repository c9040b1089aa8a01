"""Tokenizer files: fetched without the weights, once, and kept apart for each caller where not everybody may read them."""

import json
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from tokenizers import Tokenizer, models

from tests.hf.desk import Desk, quickly
from tests.hub import Fault
from trl_mcp.errors import AccessNotGranted, HubUnreachable, InvalidArguments, NotFound, NotPossible
from trl_mcp.hub.hub import Hub

pytestmark = pytest.mark.anyio
TOKENIZER = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).to_str()  # pyright: ignore[reportUnknownMemberType] - untyped
WANTED = {
    "tokenizer.json": TOKENIZER,
    "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}),
    "chat_template.jinja": "{{ messages }}",
    "additional_chat_templates/tools.jinja": "{{ tools }}",
    "spiece.model": b"\x00\xff" * 100_000,
    "config.json": json.dumps({"model_type": "qwen3"}),
}
FILES = WANTED | {"model.safetensors": b"w" * 1000, "training.py": "x", "sub/tokenizer.json": "{}", "README.md": "hi"}


@pytest.fixture
async def keeping(desk: Desk, tmp_path: Path) -> AsyncGenerator[Hub]:
    async with Hub(desk.emulated.endpoint, cache=tmp_path / "cache", sleep=quickly) as opened:
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_only_the_tokenizers_files_are_fetched_and_they_make_a_tokenizer(desk: Desk, keeping: Hub) -> None:
    desk.emulated.move_storage()
    sha = desk.emulated.add_repo("acme/m", FILES)
    desk.emulated.clear_requests()
    folder = await keeping.tokenizer_files(desk.emulated.tokens["alice"], "acme/m", sha)
    expected = {name: text if isinstance(text, bytes) else text.encode() for name, text in WANTED.items()}
    assert contents(folder) == expected
    assert len(desk.emulated.requests("/acme/m/resolve/*")) == len(WANTED)
    assert [request.has_token for request in desk.emulated.requests("/lfs-storage/*")] == [False]
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(folder)("a").input_ids == [0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped


async def test_what_is_kept_is_not_asked_for_again(desk: Desk, keeping: Hub) -> None:
    old = desk.emulated.add_repo("acme/m", FILES)
    folder = await keeping.tokenizer_files(None, "acme/m", old)
    desk.emulated.clear_requests()
    assert await keeping.tokenizer_files(desk.emulated.tokens["alice"], "acme/m", old) == folder
    assert await keeping.tokenizer_files(None, "acme/m", old) == folder
    assert not desk.emulated.requests()
    new = desk.emulated.commit_files("acme/m", {"chat_template.jinja": "new"})
    other = await keeping.tokenizer_files(None, "acme/m", new)
    assert ((other / "chat_template.jinja").read_text(), (folder / "chat_template.jinja").read_text()) == (
        "new",
        "{{ messages }}",
    )


@pytest.mark.parametrize("how", [{"private": True}, {"gated": "manual"}])
async def test_what_not_everybody_may_read_is_kept_for_one_caller(
    desk: Desk, keeping: Hub, how: dict[str, bool]
) -> None:
    sha = desk.emulated.add_repo("alice/m", FILES, **how)  # type: ignore[arg-type]  # private or gated
    folder = await keeping.tokenizer_files(desk.emulated.tokens["alice"], "alice/m", sha)
    for token in (desk.emulated.tokens["bob"], None):
        with pytest.raises((NotFound, AccessNotGranted)):
            await keeping.tokenizer_files(token, "alice/m", sha)
    assert desk.emulated.tokens["alice"] not in str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    desk.emulated.clear_requests()
    assert await keeping.tokenizer_files(desk.emulated.tokens["alice"], "alice/m", sha) == folder
    assert not desk.emulated.requests()


async def test_callers_at_once_get_the_same_whole_folder(desk: Desk, keeping: Hub) -> None:
    sha = desk.emulated.add_repo("acme/m", FILES)
    folders: list[Path] = []

    async def ask() -> None:
        folders.append(await keeping.tokenizer_files(None, "acme/m", sha))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask)
    assert len(set(folders)) == 1
    assert len(contents(folders[0])) == len(WANTED)
    assert [entry.name for entry in folders[0].parent.iterdir()] == [folders[0].name]


async def test_a_model_without_a_tokenizer_and_one_with_a_huge_one_are_refused(desk: Desk, keeping: Hub) -> None:
    sha = desk.emulated.add_repo("acme/none", {"config.json": "{}", "model.safetensors": b"x"})
    with pytest.raises(NotFound, match="acme/none has no tokenizer"):
        await keeping.tokenizer_files(None, "acme/none", sha)
    sha = desk.emulated.add_repo("acme/huge", {"tokenizer.json": "{}", "vocab.model": bytes(200_000_001)})
    desk.emulated.clear_requests()
    with pytest.raises(NotPossible, match="acme/huge have 200 MB; at most 200 MB are fetched"):
        await keeping.tokenizer_files(None, "acme/huge", sha)
    assert not desk.emulated.requests("*/resolve/*")


async def test_a_name_that_leads_elsewhere_is_no_commit(keeping: Hub) -> None:
    for commit in ("main", "../../x", ""):
        with pytest.raises(InvalidArguments, match="is no commit"):
            await keeping.tokenizer_files(None, "acme/m", commit)


async def test_half_a_tokenizer_is_never_kept(desk: Desk, keeping: Hub, tmp_path: Path) -> None:
    sha = desk.emulated.add_repo("acme/m", FILES)
    fault = desk.emulated.faults.add(Fault("GET", "*/tokenizer.json", status=503, times=99))
    with pytest.raises(HubUnreachable, match=r"read tokenizer\.json of acme/m"):
        await keeping.tokenizer_files(None, "acme/m", sha)
    assert not [path for path in tmp_path.joinpath("cache").rglob("*") if path.is_file()]
    fault.times = 0
    assert len(contents(await keeping.tokenizer_files(None, "acme/m", sha))) == len(WANTED)


async def test_a_folder_that_cannot_be_written_is_named(desk: Desk, tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    sha = desk.emulated.add_repo("acme/m", FILES)
    async with Hub(desk.emulated.endpoint, cache=tmp_path / "file", sleep=quickly) as keeping:
        with pytest.raises(NotPossible, match=r"cannot be kept in .*file/tokenizers"):
            await keeping.tokenizer_files(None, "acme/m", sha)


async def test_the_tokenizers_used_last_are_kept(desk: Desk, keeping: Hub) -> None:
    first = desk.emulated.add_repo("acme/m", {"tokenizer.json": "0"})
    folders = [await keeping.tokenizer_files(None, "acme/m", first)]
    for number in range(1, 34):
        sha = desk.emulated.commit_files("acme/m", {"tokenizer.json": str(number)})
        folders.append(await keeping.tokenizer_files(None, "acme/m", sha))
        assert await keeping.tokenizer_files(None, "acme/m", first) == folders[0]
    assert [folder.is_dir() for folder in folders] == [True, False, False, *[True] * 31]
