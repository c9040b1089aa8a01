"""Uploads and downloads with the real clients, through Xet and through plain large-file storage."""

from __future__ import annotations

import hashlib
import random

import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub
from tests.hub.support import Clients, get, safetensors_bytes

ROUND_TRIP = """
    import json
    from pathlib import Path
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    api = HfApi()
    api.create_repo("alice/up", exist_ok=True)
    done = api.upload_folder(repo_id="alice/up", folder_path="folder", commit_message="folder")
    again = api.upload_folder(repo_id="alice/up", folder_path="folder", commit_message="folder again")
    root = Path(snapshot_download("alice/up"))
    one = hf_hub_download("alice/up", "model.safetensors", local_dir="single")
    same = [
        (root / name).read_bytes() == (Path("folder") / name).read_bytes()
        for name in ("model.safetensors", "sub/config.json", "empty.txt")
    ]
    same.append(Path(one).read_bytes() == Path("folder/model.safetensors").read_bytes())
    print(json.dumps({"same": same, "oid": done.oid, "unchanged": again.oid == done.oid, "snapshot": root.name}))
"""


def weights(size: int) -> bytes:
    return safetensors_bytes({"w": ("U8", [size])}, random.Random(0).randbytes(size // 2) + bytes(size - size // 2))


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_a_folder_goes_up_and_comes_back_unchanged(hub: EmulatedHub, clients: Clients, xet: bool) -> None:
    folder = clients.home / "folder"
    (folder / "sub").mkdir(parents=True)
    content = weights(1_500_000)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "sub/config.json").write_text("{}", encoding="utf-8")
    (folder / "empty.txt").touch()
    result = clients.python(ROUND_TRIP, **({} if xet else {"HF_HUB_DISABLE_XET": "1"}))
    assert result["same"] == [True] * 4
    assert result["unchanged"]
    assert result["snapshot"] == result["oid"]
    assert hub.read_file("alice/up", "model.safetensors") == content
    assert bool(hub.requests("/cas/v1/shards")) == xet
    assert bool(hub.requests("/lfs-storage/*")) == (not xet)


def test_a_file_in_several_ranges_is_put_together(hub: EmulatedHub, clients: Clients) -> None:
    content = random.Random(1).randbytes(700_001)
    hub.add_repo("alice/big", {"data.bin": content})
    code = """
        import hashlib, json
        from huggingface_hub import HfFileSystem, hf_hub_download
        whole = open(hf_hub_download("alice/big", "data.bin"), "rb").read()
        with HfFileSystem().open("alice/big/data.bin", block_size=65536) as f:
            f.seek(131_000)
            middle = f.read(200_000)
        print(json.dumps([hashlib.sha256(part).hexdigest() for part in (whole, middle)]))
    """
    expected = [hashlib.sha256(part).hexdigest() for part in (content, content[131_000:331_000])]
    assert clients.python(code) == expected


def test_a_large_file_of_a_data_set_goes_up_without_xet(hub: EmulatedHub, clients: Clients) -> None:
    hub.add_repo("alice/d", repo_type="dataset")
    code = """
        import json
        from huggingface_hub import upload_file
        upload_file(path_or_fileobj=b"x" * 5000, path_in_repo="a.parquet", repo_id="alice/d", repo_type="dataset")
        print(json.dumps(True))
    """
    assert clients.python(code, HF_HUB_DISABLE_XET="1")
    assert hub.read_file("alice/d", "a.parquet", repo_type="dataset") == b"x" * 5000
    assert hub.requests("/datasets/alice/d.git/info/lfs/*")


def test_uploading_needs_a_write_token(hub: EmulatedHub, clients: Clients) -> None:
    hub.add_repo("alice/m")
    code = """
        import json
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
        try:
            HfApi().upload_file(path_or_fileobj=b"x" * 100, path_in_repo="w.safetensors", repo_id="alice/m")
        except HfHubHTTPError as error:
            print(json.dumps([error.response.status_code, str(error)]))
    """
    status, text = clients.python(code, HF_TOKEN=hub.tokens["alice-read"])
    assert status == 403
    assert "repo.write" in text
    assert hub.list_files("alice/m") == [".gitattributes"]


def test_large_files_can_lie_on_another_host_that_takes_no_token(hub: EmulatedHub, clients: Clients) -> None:
    hub.move_storage()
    content = weights(200_000)
    hub.add_repo("alice/far", {"model.safetensors": content, "config.json": "{}"}, private=True)
    code = """
        import hashlib, json
        from huggingface_hub import HfFileSystem, hf_hub_download
        whole = open(hf_hub_download("alice/far", "model.safetensors"), "rb").read()
        with HfFileSystem().open("alice/far/model.safetensors", cache_type="none") as f:
            f.seek(1000)
            part = f.read(500)
        print(json.dumps([hashlib.sha256(some).hexdigest() for some in (whole, part)]))
    """
    expected = [hashlib.sha256(some).hexdigest() for some in (content, content[1000:1500])]
    assert clients.python(code, HF_HUB_DISABLE_XET="1") == expected
    stored = hub.requests("/lfs-storage/*")
    assert stored
    assert not any(request.has_token for request in stored)
    assert ("bytes=1000-1499", 500) in [(request.range, request.sent) for request in stored]
    (link,) = {f"http://{request.host}{request.path}?{request.query}" for request in stored}
    assert get(link, hub.tokens["alice"]).status_code == 400
    hub.expire_links()
    assert get(link).status_code == 403


def test_the_sizes_of_files_come_with_the_repository(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m", {"model.safetensors": b"x" * 50, "config.json": "{}"})
    found = {sibling.rfilename: sibling for sibling in api.model_info("alice/m", files_metadata=True).siblings or []}
    assert {name: sibling.size for name, sibling in found.items() if name != ".gitattributes"} == {
        "model.safetensors": 50,
        "config.json": 2,
    }
    assert found["model.safetensors"].lfs is not None
    assert found["config.json"].lfs is None
