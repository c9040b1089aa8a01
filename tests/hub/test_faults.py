"""Faults on demand, and the log of requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub import EmulatedHub, Fault
from tests.hub.support import get
from tests.hub.test_jobs import finished, submit


@pytest.mark.parametrize(("kind", "jobs"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_submission_leaves_a_job_only_if_it_was_accepted(
    hub: EmulatedHub, api: HfApi, kind: str, jobs: int
) -> None:
    fault = Fault("POST", "/api/jobs/*", "drop_before" if kind == "drop_before" else "drop_after")
    hub.faults.add(fault)
    with pytest.raises(httpx2.TransportError):
        submit(api, "true")
    assert len(hub.jobs()) == jobs
    finished(api, submit(api, "true"))
    assert len(hub.jobs()) == jobs + 1


def test_each_of_many_submissions_under_faults_is_accepted_or_refused_as_told(hub: EmulatedHub, api: HfApi) -> None:
    hub.hold_jobs()
    hub.faults.add(Fault("POST", "/api/jobs/*", "drop_after", times=5, skip=3))
    hub.faults.add(Fault("POST", "/api/jobs/*", status=500, times=5, skip=3))

    def attempt(number: int) -> bool:
        try:
            submit(api, "true", labels={"n": str(number)})
        except (httpx2.TransportError, HfHubHTTPError):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(attempt, range(30)))
    assert accepted.count(False) == 10
    assert len(hub.jobs()) == 25
    assert {job["labels"]["n"] for job in hub.jobs()} >= {str(n) for n, known in enumerate(accepted) if known}


def test_a_status_fault_happens_as_often_as_asked(hub: EmulatedHub) -> None:
    hub.faults.add(Fault(path="/api/jobs/hardware", status=503, message="Service Unavailable", times=2, skip=1))
    statuses = [get(f"{hub.endpoint}/api/jobs/hardware").status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]


def test_a_rate_limit_tells_how_long_to_wait(hub: EmulatedHub, api: HfApi) -> None:
    hub.faults.add(Fault("POST", "/api/jobs/alice", status=429, message="Too Many Requests", retry_after=7))
    with pytest.raises(HfHubHTTPError, match="Retry after 7 seconds") as caught:
        submit(api, "true")
    assert caught.value.response.headers["Retry-After"] == "7"
    assert hub.jobs() == []


def test_the_client_gets_over_a_rate_limited_download(hub: EmulatedHub) -> None:
    hub.add_repo("alice/m", {"a.txt": "a"})
    hub.faults.add(Fault("GET", "/api/models/alice/m/tree/*", status=429, retry_after=0))
    api = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])
    assert api.list_repo_files("alice/m") == [".gitattributes", "a.txt"]


def test_a_slow_answer_arrives_after_the_client_gave_up(hub: EmulatedHub) -> None:
    hub.faults.add(Fault(path="/api/jobs/hardware", kind="slow", delay_s=0.3))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{hub.endpoint}/api/jobs/hardware", timeout=0.05)
    assert get(f"{hub.endpoint}/api/jobs/hardware").status_code == 200


def test_cleared_faults_do_not_happen(hub: EmulatedHub) -> None:
    hub.faults.add(Fault(status=500))
    hub.faults.clear()
    assert get(f"{hub.endpoint}/api/jobs/hardware").status_code == 200


def test_requests_are_counted_by_path_with_their_user(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/m")
    api.model_info("alice/m")
    get(f"{hub.endpoint}/api/models/alice/nothing?x=1")
    logged = hub.requests("/api/models/*")
    assert [(entry.method, entry.user, entry.status) for entry in logged] == [("GET", "alice", 200), ("GET", None, 401)]
    assert logged[1].query == "x=1"
    assert all(token not in repr(hub.requests()) for token in hub.tokens.values())
    hub.clear_requests()
    assert hub.requests() == []
