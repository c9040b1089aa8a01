"""Buckets with the real client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError

from tests.hub import EmulatedHub
from tests.hub.support import Clients


def test_a_bucket_is_created_listed_changed_and_deleted(hub: EmulatedHub, api: HfApi) -> None:
    assert api.create_bucket("alice/b", private=True).url == f"{hub.endpoint}/buckets/alice/b"
    api.create_bucket("b", exist_ok=True)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_bucket("alice/b")
    assert caught.value.response.status_code == 409
    assert [bucket.id for bucket in api.list_buckets()] == ["alice/b"]
    api.update_bucket_settings("alice/b", private=False)
    assert api.bucket_info("alice/b").private is False
    api.delete_bucket("alice/b")
    with pytest.raises(BucketNotFoundError):
        api.bucket_info("alice/b")
    api.delete_bucket("alice/b", missing_ok=True)


def test_a_bucket_that_many_make_at_once_is_made_once(hub: EmulatedHub) -> None:
    headers = {"Authorization": f"Bearer {hub.tokens['alice']}"}

    def make(_: int) -> int:
        return httpx2.post(f"{hub.endpoint}/api/buckets/alice/b", json={}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(make, range(8)))
    assert sorted(answers) == [200, *[409] * 7]


def test_a_private_bucket_is_hidden_and_a_public_one_is_read_only_for_others(hub: EmulatedHub) -> None:
    hub.add_bucket("acme/hidden")
    hub.add_bucket("acme/open", private=False)
    carol = HfApi(endpoint=hub.endpoint, token=hub.add_user("carol"))
    assert [bucket.id for bucket in carol.list_buckets("acme")] == ["acme/open"]
    with pytest.raises(BucketNotFoundError):
        carol.bucket_info("acme/hidden")
    with pytest.raises(HfHubHTTPError) as caught:
        carol.delete_bucket("acme/open")
    assert caught.value.response.status_code == 403


def test_files_written_to_the_directory_are_in_the_bucket(hub: EmulatedHub, api: HfApi) -> None:
    root = hub.add_bucket("alice/b")
    (root / "ckpt/step-1").mkdir(parents=True)
    (root / "ckpt/step-1/state.json").write_text("{}", encoding="utf-8")
    (root / "log.txt").write_text("log", encoding="utf-8")
    hub.set_page_size(1)
    assert [entry.path for entry in api.list_bucket_tree("alice/b")] == ["ckpt", "log.txt"]
    assert [entry.path for entry in api.list_bucket_tree("alice/b", "ckpt", recursive=True)] == [
        "ckpt/step-1/state.json"
    ]
    assert [entry.size for entry in api.get_bucket_paths_info("alice/b", ["log.txt", "missing"])] == [3]
    assert api.get_bucket_file_metadata("alice/b", "ckpt/step-1/state.json").size == 2
    info = api.bucket_info("alice/b")
    assert (info.size, info.total_files) == (5, 2)


def test_files_go_up_come_back_are_copied_and_deleted(hub: EmulatedHub, clients: Clients) -> None:
    root = hub.add_bucket("alice/b")
    (root / "by-job.bin").write_bytes(b"j" * 200_000)
    code = """
        import json, os
        from pathlib import Path
        from huggingface_hub import HfApi
        api = HfApi()
        Path("local.bin").write_bytes(os.urandom(300_000))
        api.batch_bucket_files("alice/b", add=[("local.bin", "dir/up.bin"), (b"text", "note.txt"), (b"x", "gone.txt")])
        api.batch_bucket_files("alice/b", delete=["gone.txt"])
        api.copy_files("hf://buckets/alice/b/dir/up.bin", "hf://buckets/alice/b/copy.bin")
        names = ["dir/up.bin", "note.txt", "copy.bin", "by-job.bin"]
        api.download_bucket_files("alice/b", [(name, "down/" + name) for name in names])
        api.sync_bucket("hf://buckets/alice/b", "synced", quiet=True)
        original = Path("local.bin").read_bytes()
        same = [Path("down", name).read_bytes() == original for name in ("dir/up.bin", "copy.bin")]
        same += [Path("synced", name).read_bytes() == Path("down", name).read_bytes() for name in names]
        print(json.dumps({"same": same, "note": Path("down/note.txt").read_text(),
                          "job": Path("down/by-job.bin").read_bytes() == b"j" * 200_000}))
    """
    result = clients.python(code)
    assert result == {"same": [True] * 6, "note": "text", "job": True}
    assert sorted(path.name for path in root.rglob("*.*")) == ["by-job.bin", "copy.bin", "note.txt", "up.bin"]


def test_a_batch_with_an_unknown_hash_names_the_file(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_bucket("alice/b")
    copy = [("bucket", "alice/b", "0" * 64, "x.bin")]
    with pytest.raises(HfHubHTTPError, match=r"x\.bin"):
        api.batch_bucket_files("alice/b", copy=copy)
    with pytest.raises(HfHubHTTPError):
        api.batch_bucket_files("alice/b", delete=["../outside"])


def test_a_bucket_file_system_path_can_be_read(hub: EmulatedHub, clients: Clients) -> None:
    (hub.add_bucket("alice/b") / "note.txt").write_text("hello", encoding="utf-8")
    code = """
        import json
        from huggingface_hub import HfFileSystem
        fs = HfFileSystem()
        print(json.dumps([fs.cat("buckets/alice/b/note.txt").decode(), fs.ls("buckets/alice/b", detail=False)]))
    """
    assert clients.python(code) == ["hello", ["buckets/alice/b/note.txt"]]
