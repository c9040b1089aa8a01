"""Logs and metrics of jobs as server-sent events."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager

import httpx2
import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub
from tests.hub.support import get
from tests.hub.test_jobs import finished, submit


def log_url(hub: EmulatedHub, job_id: str, query: str = "") -> str:
    return f"{hub.endpoint}/api/jobs/alice/{job_id}/logs{query}"


def events(text: str) -> list[str]:
    return [json.loads(line[6:])["data"] for line in text.splitlines() if line.startswith("data: ")]


def waiting_script(hub: EmulatedHub, before: str, after: str = ":") -> str:
    hub.add_bucket("alice/go")
    return f"{before}; while [ ! -e {hub.bucket_path('alice/go')}/now ]; do sleep 0.05; done; {after}"


def go_on(hub: EmulatedHub) -> None:
    (hub.bucket_path("alice/go") / "now").touch()


def test_a_finished_job_replays_its_whole_log(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "printf 'a\\n\\nb'; printf '\\303\\244\\n'")
    finished(api, job)
    answer = get(log_url(hub, job.id), hub.tokens["alice"])
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert len(answer.headers.get_list("Date")) == 1
    header, *lines = events(answer.text)
    assert header.startswith("===== Job started at ")
    assert lines == ["a", "", "bä"]
    assert list(api.fetch_job_logs(job_id=job.id, namespace="alice")) == lines


def test_tail_sends_the_header_and_the_last_lines(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "seq 10")
    finished(api, job)
    header, *lines = events(get(log_url(hub, job.id, "?tail=3"), hub.tokens["alice"]).text)
    assert (header[:5], lines) == ("=====", ["8", "9", "10"])
    assert list(api.fetch_job_logs(job_id=job.id, namespace="alice", tail=2)) == ["9", "10"]


def test_a_log_is_followed_while_the_job_writes_it(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, waiting_script(hub, "echo first", "echo last"))
    seen = list[str]()
    for line in api.fetch_job_logs(job_id=job.id, namespace="alice", follow=True):
        seen.append(line)
        go_on(hub)
    assert seen == ["first", "last"]
    assert finished(api, job).status.stage == "COMPLETED"


def test_a_silent_stream_sends_keep_alive_comments(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_keep_alive(0.05)
    job = submit(api, waiting_script(hub, "echo first"))
    with open_stream(hub, log_url(hub, job.id)) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": keep-alive"
        go_on(hub)
        assert not [line for line in lines if line.startswith("data")]


def open_stream(hub: EmulatedHub, url: str) -> AbstractContextManager[httpx2.Response]:
    headers = {"Authorization": f"Bearer {hub.tokens['alice']}"}
    return httpx2.stream("GET", url, headers=headers, timeout=20)


def test_a_job_in_scheduling_has_an_open_and_empty_log(hub: EmulatedHub, api: HfApi) -> None:
    hub.hold_jobs()
    hub.set_keep_alive(0.05)
    job = submit(api, "echo x")
    with open_stream(hub, log_url(hub, job.id)) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": keep-alive"
        hub.release_jobs()
        assert [json.loads(line[6:])["data"][:5] for line in lines if line.startswith("data")] == ["=====", "x"]


def test_a_retried_job_logs_a_header_for_each_attempt(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "echo try; exit 1", attempts=2)
    finished(api, job)
    lines = events(get(log_url(hub, job.id), hub.tokens["alice"]).text)
    assert [line[:5] for line in lines] == ["=====", "try", "=====", "try"]


def test_metrics_are_sampled_while_a_job_runs(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_gpu_sample(utilization=98, memory_used_bytes=21_000_000_000)
    job = submit(api, waiting_script(hub, "echo x"), flavor="a10g-largex2")
    sample = next(iter(api.fetch_job_metrics(job_id=job.id, namespace="alice", follow=True)))
    assert sample["memory_used_bytes"] >= 0
    assert sample["memory_total_bytes"] == 92 * 10**9
    assert [gpu["utilization"] for gpu in sample["gpus"].values()] == [98, 98]
    go_on(hub)
    finished(api, job)
    assert get(f"{hub.endpoint}/api/jobs/alice/{job.id}/metrics", hub.tokens["alice"]).status_code == 406
    assert list(api.fetch_job_metrics(job_id=job.id, namespace="alice")) == []


def test_events_show_each_stage_once(hub: EmulatedHub, api: HfApi) -> None:
    hub.hold_jobs()
    job = submit(api, "true")
    with open_stream(hub, f"{hub.endpoint}/api/jobs/alice/{job.id}/events") as answer:
        stages = list[str]()
        for line in answer.iter_lines():
            if line.startswith("data: "):
                stages.append(json.loads(line[6:])["status"]["stage"])
                hub.release_jobs()
    assert stages[0] == "SCHEDULING"
    assert stages[-1] == "COMPLETED"
    assert len(stages) == len(set(stages))


@pytest.mark.parametrize("route", ["logs", "metrics", "events"])
def test_streams_need_a_token(hub: EmulatedHub, api: HfApi, route: str) -> None:
    job = submit(api, "true")
    assert get(f"{hub.endpoint}/api/jobs/alice/{job.id}/{route}").status_code == 401
