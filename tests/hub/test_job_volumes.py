"""Volumes of jobs, and scripts that the hf command sends through a bucket."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, Volume
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError
from uv import find_uv_bin

from tests.hub import EmulatedHub, RunOptions, mounts_supported
from tests.hub.support import Clients, wait_until
from tests.hub.test_jobs import finished, submit

needs_mounts = pytest.mark.skipif(mounts_supported() is not None, reason=mounts_supported() or "")


@needs_mounts
def test_a_bucket_is_mounted_and_readable_while_the_job_writes(hub: EmulatedHub, api: HfApi) -> None:
    root = hub.add_bucket("alice/out")
    (root / "in.txt").write_text("given", encoding="utf-8")
    script = "cat /data/in.txt; echo 1 > /data/step; while [ ! -e /data/go ]; do sleep 0.05; done; echo 2 > /data/step"
    job = submit(api, script, volumes=[Volume(type="bucket", source="alice/out", mount_path="/data")])
    wait_until(lambda: (root / "step").exists() and (root / "step").read_text(encoding="utf-8") == "1\n")
    assert [entry.path for entry in api.list_bucket_tree("alice/out")] == ["in.txt", "step"]
    (root / "go").touch()
    assert finished(api, job).status.stage == "COMPLETED"
    assert (root / "step").read_text(encoding="utf-8") == "2\n"
    assert hub.job_log(job.id)[1:] == ["given"]


@needs_mounts
def test_a_part_of_a_bucket_can_be_mounted_read_only(hub: EmulatedHub, api: HfApi) -> None:
    (hub.add_bucket("alice/b") / "sub").mkdir()
    (hub.bucket_path("alice/b") / "sub/x").touch()
    volume = Volume(type="bucket", source="alice/b", mount_path="/mnt/deep/er", path="sub", read_only=True)
    job = submit(api, "ls /mnt/deep/er; touch /mnt/deep/er/y || echo refused", volumes=[volume])
    finished(api, job)
    lines = hub.job_log(job.id)
    assert (lines[1], lines[-1]) == ("x", "refused")
    assert not Path("/mnt/deep").exists()


@needs_mounts
def test_repositories_are_mounted_as_read_only_snapshots(hub: EmulatedHub, api: HfApi) -> None:
    old = hub.add_repo("alice/m", {"a.txt": "old", "sub/b.txt": "b"})
    hub.commit_files("alice/m", {"a.txt": "new"})
    hub.add_repo("acme/d", {"d.txt": "d"}, repo_type="dataset")
    volumes = [
        Volume(type="model", source="alice/m", mount_path="/in/model", revision=old),
        Volume(type="dataset", source="acme/d", mount_path="/in/data"),
    ]
    script = "cd /in; cat model/a.txt model/sub/b.txt data/d.txt; echo; echo x > model/a.txt || echo refused"
    job = submit(api, script, volumes=volumes)
    finished(api, job)
    assert (hub.job_log(job.id)[1], hub.job_log(job.id)[-1]) == ("oldbd", "refused")
    assert hub.read_file("alice/m", "a.txt") == b"new"


@needs_mounts
def test_jobs_do_not_share_files_in_tmp(hub: EmulatedHub, api: HfApi) -> None:
    jobs = [submit(api, f"echo {n} > /tmp/train.py; sleep 0.2; cat /tmp/train.py") for n in range(3)]
    for job in jobs:
        finished(api, job)
    assert [hub.job_log(job.id)[1:] for job in jobs] == [["0"], ["1"], ["2"]]
    assert not Path("/tmp/train.py").exists()


def test_volumes_are_authorised_when_the_job_is_created(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_user("carol")
    hub.add_repo("carol/secret", private=True)
    hub.add_bucket("carol/open", private=False)
    with pytest.raises(RepositoryNotFoundError):
        submit(api, "true", volumes=[Volume(type="model", source="carol/secret", mount_path="/m")])
    with pytest.raises(HfHubHTTPError, match=r"repo\.write"):
        submit(api, "true", volumes=[Volume(type="bucket", source="carol/open", mount_path="/m")])
    read_only = Volume(type="bucket", source="carol/open", mount_path="/m", read_only=True)
    submit(api, "true", volumes=[read_only])
    assert len(hub.jobs()) == 1


def test_a_volume_inside_another_is_refused(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_bucket("alice/b")
    volumes = [Volume(type="bucket", source="alice/b", mount_path=path) for path in ("/data", "/data/sub")]
    with pytest.raises(BadRequestError):
        submit(api, "true", volumes=volumes)


def test_the_job_environment_of_the_options_reaches_every_job(tmp_path: Path) -> None:
    with EmulatedHub.start(tmp_path, options=RunOptions(job_env={"UV_OFFLINE": "1"})) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])
        job = submit(api, "echo $UV_OFFLINE")
        finished(api, job)
        assert hub.job_log(job.id)[1:] == ["1"]


def test_the_hf_command_runs_lists_and_reads_jobs(hub: EmulatedHub, clients: Clients) -> None:
    run = clients.hf("jobs", "run", "--detach", "--timeout", "5m", "python:3.12", "echo", "hello")
    assert run.returncode == 0, run.stderr
    job_id = hub.jobs()[0]["id"]
    followed = clients.hf("jobs", "logs", "--follow", job_id)
    assert followed.stdout.strip() == "hello", followed.stderr
    listed = clients.hf("jobs", "ps", "-a", "--format", "json")
    assert [job["id"] for job in json.loads(listed.stdout)] == [job_id], listed.stderr
    assert hub.jobs()[0]["timeout"] == 300


def test_the_hf_command_shows_hardware_and_cancels(hub: EmulatedHub, api: HfApi, clients: Clients) -> None:
    job = submit(api, "sleep 600")
    listed = clients.hf("jobs", "hardware")
    assert "a10g-large" in listed.stdout, listed.stderr
    cancelled = clients.hf("jobs", "cancel", job.id)
    assert cancelled.returncode == 0, cancelled.stderr
    assert hub.jobs()[0]["status"]["stage"] == "CANCELED"
    inspected = clients.hf("jobs", "inspect", job.id, "--format", "json")
    assert json.loads(inspected.stdout)[0]["id"] == job.id, inspected.stderr


@needs_mounts
def test_the_hf_command_runs_a_local_script_with_uv(tmp_path: Path, clients: Clients) -> None:
    path = f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}"
    uv = {"PATH": path, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_PYTHON": sys.executable}
    options = RunOptions(job_env=uv)
    with EmulatedHub.start(tmp_path / "other", options=options) as hub:
        script = clients.home / "script.py"
        script.parent.mkdir()
        script.write_text("import os\nprint('job', os.environ['JOB_ID'])\n", encoding="utf-8")
        extra = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"]}
        result = clients.hf("jobs", "uv", "run", str(script), **extra)
        job = hub.jobs()[0]
        assert result.returncode == 0, result.stderr
        assert job["status"]["stage"] == "COMPLETED", hub.job_log(job["id"])
        assert f"job {job['id']}" in result.stdout
        assert (hub.bucket_path("alice/jobs-artifacts")).is_dir()
