"""A job from submission to its end, as the backend tells of it."""

import base64
import dataclasses
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, Volume
from huggingface_hub._jobs_api import (
    _create_job_spec,  # pyright: ignore[reportPrivateUsage] - what the library sends is the contract
)

from tests.hf.desk import HEADER, Desk, new_run, spec
from tests.hub import Fault, mounts_supported
from trl_mcp.backends.base import Backend, Stage
from trl_mcp.backends.hf_budget import day_of, jobs_of_day
from trl_mcp.backends.hf_cost import cost
from trl_mcp.backends.hf_jobs import as_job
from trl_mcp.clock import utc_now
from trl_mcp.errors import InvalidArguments, NotPossible, UnknownJob
from trl_mcp.monitor.status import report_job

pytestmark = pytest.mark.anyio
needs_mounts = pytest.mark.skipif(mounts_supported() is not None, reason=mounts_supported() or "")
UNKNOWN = "0123456789abcdef01234567"


async def test_a_script_runs_and_comes_back_byte_for_byte(desk: Desk) -> None:
    body = "import sys\nprint('ä', sys.argv[1:], sys.argv[0][-7:])\n"
    submission = await desk.backend.submit(spec(body, arguments=("a b", "$HOME")))
    assert not submission.already_submitted
    done = await desk.ended(submission.job)
    log = await desk.backend.logs(done.id, tail=10)
    assert done.stage is Stage.COMPLETED, desk.emulated.job_log(done.id)
    assert log.lines == ["ä ['a b', '$HOME'] /sft.py"]
    assert await desk.backend.script(done.id) == HEADER + body


async def test_what_is_sent_is_what_the_client_library_sends(desk: Desk) -> None:
    given = spec(attempts=2, secrets={"HF_TOKEN": desk.emulated.tokens["alice"]}, env={"A": "1"})
    job = await desk.start(**{f.name: getattr(given, f.name) for f in dataclasses.fields(given) if f.name != "script"})
    sent = desk.emulated.job_spec(job.id)
    library = _create_job_spec(
        image="ghcr.io/astral-sh/uv:python3.12-bookworm",
        command=sent["command"],
        env=sent["environment"],
        secrets=dict(given.secrets),
        flavor="cpu-basic",
        timeout=600,
        labels=sent["labels"],
        volumes=[Volume(type="bucket", source="alice/trl-mcp", mount_path="/trl-mcp", read_only=False)],
        attempts=2,
    )
    assert sent == library
    assert gzip.decompress(base64.b64decode(sent["environment"]["UVSCRIPT_GZ_B64"])).decode().startswith(HEADER)


async def test_a_job_is_told_of_with_labels_price_page_and_times(desk: Desk) -> None:
    run = new_run()
    done = await desk.run("raise SystemExit(3)", run=run, output_repo="alice/model.v1", attempts=2)
    price = 167
    assert (done.kind, done.method, done.run, done.part, done.hardware) == ("training", "sft", run, 1, "cpu-basic")
    assert (done.stage, done.exit_code, done.attempt, done.attempts) == (Stage.ERROR, 3, 2, 2)
    assert (done.timeout_s, done.price_micro_usd_per_minute, done.output_repo) == (600, price, "alice/model.v1")
    assert done.url == f"{desk.emulated.endpoint}/jobs/alice/{done.id}"
    assert done.started_at is not None
    assert done.created_at <= done.started_at
    assert len(done.run_tag) == 16
    assert (
        cost(done, utc_now()) == Decimal(desk.emulated.billed(job_id=done.id)) / 1_000_000 == Decimal(price) / 1_000_000
    )
    labels = desk.emulated.jobs()[0]["labels"]
    assert labels["day"] == f"{done.created_at:%Y-%m-%d}"
    assert {"app": "trl-mcp", "price_micro_usd": "167", "timeout_s": "600"}.items() <= labels.items()


async def test_the_page_of_a_job_is_the_one_the_client_library_names(desk: Desk) -> None:
    job = await desk.start()
    api = HfApi(endpoint=desk.emulated.endpoint, token=desk.emulated.tokens["alice"])
    assert api.inspect_job(job_id=job.id, namespace="alice").url == job.url


@needs_mounts
async def test_a_run_keeps_its_folder_in_the_private_bucket(desk: Desk) -> None:
    body = "import os, pathlib\nf = pathlib.Path(os.environ['TRL_MCP_RUN_FOLDER'])\nf.mkdir(parents=True)\n(f / 'c').touch()"
    job = await desk.run(body)
    assert job.stage is Stage.COMPLETED, desk.emulated.job_log(job.id)
    assert (desk.emulated.bucket_path("alice/trl-mcp") / "runs" / job.run / "c").exists()


async def test_without_a_bucket_the_job_runs_without_a_folder_to_keep(desk: Desk) -> None:
    desk.emulated.add_bucket("alice/trl-mcp", private=False)
    job = await desk.run("import os\nprint('TRL_MCP_RUN_FOLDER' in os.environ, 'TRL_MCP_OUTPUT' in os.environ)")
    assert (await desk.backend.logs(job.id, tail=1)).lines == ["False True"]
    assert desk.emulated.jobs()[0]["volumes"] == []


async def test_a_job_is_cancelled_and_a_finished_one_stays_as_it_is(desk: Desk) -> None:
    job = await desk.start("print('up', flush=True)\nimport time; time.sleep(600)")
    assert (await desk.backend.cancel(job.id)).stage is Stage.CANCELED
    assert (await desk.backend.cancel(job.id)).stage is Stage.CANCELED
    done = await desk.run()
    assert (await desk.backend.cancel(done.id)).stage is Stage.COMPLETED


async def test_a_cancel_whose_answer_is_lost_is_asked_for_again(desk: Desk) -> None:
    job = await desk.start("import time; time.sleep(600)")
    desk.emulated.faults.add(Fault("POST", "*/cancel", "drop_after"))
    assert (await desk.backend.cancel(job.id)).stage is Stage.CANCELED


async def test_a_failed_run_goes_on_as_its_next_part(desk: Desk) -> None:
    run = new_run()
    first = await desk.run("raise SystemExit(1)", run=run)
    second = await desk.backend.submit(spec("import os; print(os.environ['TRL_MCP_PART'])", run=run))
    assert (first.part, second.job.part, second.already_submitted) == (1, 2, False)
    await desk.ended(second.job)
    assert (await desk.backend.logs(second.job.id, tail=1)).lines == ["2"]
    third = await desk.backend.submit(spec(run=run))
    assert (third.job.id, third.already_submitted) == (second.job.id, True)


async def test_only_jobs_of_this_server_are_listed_newest_first_and_only_as_many_pages_as_needed(desk: Desk) -> None:
    desk.emulated.hold_jobs()
    desk.emulated.set_page_size(2)
    api = HfApi(endpoint=desk.emulated.endpoint, token=desk.emulated.tokens["alice"])
    api.run_job(image="x", command=["true"], namespace="alice", flavor="cpu-basic")
    jobs = [await desk.start() for _ in range(5)]
    desk.emulated.clear_requests()
    assert [job.id for job in await desk.backend.list(3)] == [job.id for job in jobs[:1:-1]]
    assert len(desk.emulated.requests("/api/jobs/alice", "GET")) == 2
    assert len(await desk.backend.list(100)) == 5
    for day, count in ((day_of(utc_now()), 5), ("2020-01-01", 0)):
        assert len([job async for job in jobs_of_day(desk.hub, desk.emulated.tokens["alice"], "alice", day)]) == count


async def test_a_job_of_another_namespace_or_of_nobody_is_unknown(desk: Desk) -> None:
    acme = desk.backend_of("alice", "acme")
    theirs = (await acme.submit(spec(namespace="acme"))).job
    assert theirs.namespace == "acme"
    asked: list[Any] = [desk.backend.inspect, desk.backend.script, desk.backend.logs, desk.backend.cancel]
    for job_id in (theirs.id, UNKNOWN, "../../whoami-v2", "a/b"):
        for ask in asked:
            with pytest.raises(UnknownJob, match="in the namespace alice"):
                await ask(job_id)
        assert await desk.backend.gpu(job_id) is None


async def test_a_job_by_other_means_has_no_script(desk: Desk) -> None:
    api = HfApi(endpoint=desk.emulated.endpoint, token=desk.emulated.tokens["alice"])
    job = api.run_job(image="x", command=["true"], namespace="alice", flavor="cpu-basic")
    assert (await desk.backend.inspect(job.id)).method == ""
    with pytest.raises(NotPossible, match="no script of this server"):
        await desk.backend.script(job.id)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        [],
        "text",
        {"id": "a", "status": None, "owner": "alice", "labels": [], "environment": None, "attempts": "2"},
        {"id": "a", "status": {"stage": "PAUSED", "message": None}, "createdAt": "yesterday", "timeoutSeconds": "90"},
        {"id": "a", "status": {"stage": "RUNNING"}, "durations": {"runningSecs": None}, "secrets": {"A": "B"}, "x": 1},
    ],
)
def test_an_answer_with_unknown_and_missing_fields_is_still_a_job(raw: Any) -> None:
    job = as_job(raw, "alice", "page")
    assert job.namespace == "alice"
    assert job.stage in {Stage.SCHEDULING, Stage.RUNNING}


def test_the_timeout_is_read_under_each_of_its_names() -> None:
    for raw in ({"timeout": 60}, {"timeoutSeconds": 60}, {"labels": {"timeout_s": "60"}}):
        assert as_job(raw, "alice", "").timeout_s == 60
    assert as_job({"labels": {"timeout_s": "0"}}, "alice", "").timeout_s is None


async def test_gpus_are_measured_while_the_job_runs(desk: Desk) -> None:
    desk.emulated.set_gpu_sample(utilization=98, memory_used_bytes=21_000_000_000)
    job = await desk.start("print('up', flush=True)\nimport time; time.sleep(600)", hardware="a10g-largex2")
    await desk.started(job, "up")
    use = await desk.backend.gpu(job.id)
    assert use is not None
    assert (use.gpus, use.utilization, use.memory_used_gb, use.memory_total_gb) == (2, 98, 42, 48)
    await desk.backend.cancel(job.id)
    assert await desk.backend.gpu(job.id) is None


async def test_a_job_without_gpus_has_no_gpu_sample(desk: Desk) -> None:
    job = await desk.start("print('up', flush=True)\nimport time; time.sleep(600)")
    await desk.started(job, "up")
    assert await desk.backend.gpu(job.id) is None


async def test_the_backend_keeps_the_protocol_and_serves_the_monitor(desk: Desk) -> None:
    backend: Backend = desk.backend
    job = await desk.run("raise SystemExit(1)")
    report = await report_job(backend, job, utc_now(), [])
    assert report.diagnosis is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "sft;rm"}, "method cannot be"),
        ({"run": "a b"}, "run cannot be"),
        ({"script": HEADER + "print('\ud800')"}, "no valid text"),
        ({"hardware": "a10g-larg"}, 'Did you mean "a10g-large"'),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_anything_is(
    desk: Desk, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArguments, match=words):
        await desk.backend.submit(spec(**changes))
    assert desk.emulated.jobs() == []


async def test_a_lock_folder_that_cannot_be_made_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(NotPossible, match="Make room or give write access"):
        await desk.backend.submit(spec())
    assert desk.emulated.jobs() == []
