"""Jobs really run: their environment, outcome, attempts, price and permissions."""

from __future__ import annotations

import os
from typing import Any

import pytest
from huggingface_hub import HfApi, JobInfo
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, JobNotFoundError

from tests.hub import EmulatedHub, RunOptions
from tests.hub.support import get, is_alive, wait_until


def submit(api: HfApi, script: str, **options: Any) -> JobInfo:
    options = {"flavor": "cpu-basic", "namespace": "alice", "name": "test", **options}
    return api.run_job(image="python:3.12", command=["/bin/sh", "-c", script], **options)


def finished(api: HfApi, job: JobInfo) -> JobInfo:
    return api.wait_for_job(job.id, namespace=job.owner.name, timeout=30, poll_interval=0.02)


def stage(api: HfApi, job: JobInfo) -> str:
    return api.inspect_job(job_id=job.id, namespace=job.owner.name).status.stage


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_a_job_runs_its_command_to_completion(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "echo hello; echo trouble >&2", labels={"kind": "sft"})
    assert job.status.stage == "SCHEDULING"
    assert job.url == f"{hub.endpoint}/jobs/alice/{job.id}"
    done = finished(api, job)
    assert (done.status.stage, done.status.message, done.labels) == ("COMPLETED", None, {"kind": "sft", "name": "test"})
    assert hub.job_log(job.id)[1:] == ["hello", "trouble"]
    assert done.durations is not None
    assert done.durations.total_secs is not None


def test_a_job_sees_exactly_its_own_environment(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "env", flavor="t4-small", env={"A": "1"}, secrets={"HF_TOKEN": "hf_secret"})
    finished(api, job)
    env = dict(line.split("=", 1) for line in hub.job_log(job.id)[1:])
    expected = {"A": "1", "HF_TOKEN": "hf_secret", "JOB_ID": job.id, "ACCELERATOR": "t4-small", "CPU_CORES": "4"}
    assert expected.items() <= env.items()
    assert env["HF_ENDPOINT"] == hub.endpoint
    assert env["HOME"] != os.environ.get("HOME")
    allowed = {"PATH", "LANG", "LC_ALL", "HOME", "HF_ENDPOINT", "MEMORY", "PWD", "TMPDIR", "SHLVL", "_", "OLDPWD"}
    assert set(env) <= allowed | set(expected)


def test_secret_values_never_come_back(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "true", secrets={"HF_TOKEN": "hf_secret"})
    finished(api, job)
    raw = get(f"{hub.endpoint}/api/jobs/alice/{job.id}", hub.tokens["alice"])
    assert raw.json()["secrets"] == ["HF_TOKEN"]
    assert "hf_secret" not in raw.text


def test_the_raw_job_tells_timeout_and_attempts(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "true", timeout="2h", attempts=3)
    raw = get(f"{hub.endpoint}/api/jobs/alice/{job.id}", hub.tokens["alice"]).json()
    assert (raw["timeout"], raw["attempts"], raw["retry"], raw["owner"]["type"]) == (7200, 3, 2, "user")


def test_an_exit_code_becomes_an_error(api: HfApi) -> None:
    done = finished(api, submit(api, "exit 3"))
    assert (done.status.stage, done.status.message) == ("ERROR", "Job failed with exit code: 3. Reason: Error.")


def test_a_command_that_does_not_exist_is_an_error(hub: EmulatedHub, api: HfApi) -> None:
    job = api.run_job(image="x", command=["no-such-program"], namespace="alice")
    assert finished(api, job).status.message == "Job failed with exit code: 127. Reason: Error."
    assert "no-such-program" in hub.job_log(job.id)[-1]


def test_a_job_is_killed_at_its_timeout_with_all_its_processes(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "sleep 600 & echo $!; wait", timeout=1)
    done = finished(api, job)
    assert (done.status.stage, done.status.message) == ("ERROR", "Job timeout")
    wait_until(lambda: not is_alive(int(hub.job_log(job.id)[1])))


def test_a_cancelled_job_is_stopped_with_all_its_processes(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "sleep 600 & echo $!; wait")
    wait_until(lambda: len(hub.job_log(job.id)) == 2)
    api.cancel_job(job_id=job.id, namespace="alice")
    assert stage(api, job) == "CANCELED"
    wait_until(lambda: not is_alive(int(hub.job_log(job.id)[1])))
    with pytest.raises(HfHubHTTPError) as caught:
        api.cancel_job(job_id=job.id, namespace="alice")
    assert status_of(caught) == 409


def test_what_a_job_leaves_in_the_background_ends_with_it(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "sleep 600 & echo $!")
    assert finished(api, job).status.stage == "COMPLETED"
    wait_until(lambda: not is_alive(int(hub.job_log(job.id)[1])))


@pytest.mark.parametrize("command", ["exit 1", "sleep 600"])
def test_a_failed_or_timed_out_attempt_is_followed_by_the_next(hub: EmulatedHub, api: HfApi, command: str) -> None:
    hub.add_bucket("alice/state")
    flag = hub.bucket_path("alice/state") / "seen"
    script = f"if [ -e {flag} ]; then echo again; else : > {flag}; {command}; fi"
    job = submit(api, script, timeout=1, attempts=2)
    assert finished(api, job).status.stage == "COMPLETED"
    lines = hub.job_log(job.id)
    assert [line.startswith("===== Job started at") for line in lines] == [True, True, False]
    assert hub.jobs()[0]["status"]["failureCount"] == 1


def test_attempts_can_be_limited_to_failures(tmp_path: Any) -> None:
    options = RunOptions(retry_on=frozenset({"failure"}))
    with EmulatedHub.start(tmp_path, options=options) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])
        job = submit(api, "sleep 600", timeout=1, attempts=3)
        assert finished(api, job).status.message == "Job timeout"
        assert len(hub.job_log(job.id)) == 1


def test_started_minutes_are_billed_at_the_price_of_the_submission(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_price("t4-small", 9_000)
    job = submit(api, "true", flavor="t4-small")
    hub.set_price("t4-small", 20_000)
    finished(api, job)
    assert hub.billed(job_id=job.id) == 9_000
    assert (hub.billed(namespace="alice"), hub.billed(namespace="acme")) == (9_000, 0)
    prices = {flavor.name: flavor.unit_cost_micro_usd for flavor in api.list_jobs_hardware()}
    assert prices["t4-small"] == 20_000


def test_a_job_held_in_scheduling_costs_nothing_until_it_runs(hub: EmulatedHub, api: HfApi) -> None:
    hub.hold_jobs("t4-small")
    held, other = submit(api, "true", flavor="t4-small"), submit(api, "true")
    finished(api, other)
    assert (stage(api, held), hub.billed(job_id=held.id)) == ("SCHEDULING", 0)
    hub.release_jobs()
    assert finished(api, held).status.stage == "COMPLETED"


def test_a_job_cancelled_before_it_ran_costs_nothing(hub: EmulatedHub, api: HfApi) -> None:
    hub.hold_jobs()
    job = submit(api, "true")
    api.cancel_job(job_id=job.id, namespace="alice")
    assert (stage(api, job), hub.billed()) == ("CANCELED", 0)


def test_jobs_are_listed_by_stage_and_label_over_pages(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_page_size(2)
    jobs = [submit(api, "exit 1" if n % 2 else "true", labels={"n": str(n), "all": "x"}) for n in range(5)]
    for job in jobs:
        finished(api, job)
    everything = [job.id for job in api.list_jobs(namespace="alice")]
    assert everything == [job.id for job in reversed(jobs)]
    failed = list(api.list_jobs(namespace="alice", status="ERROR", labels={"all": "x"}))
    assert [job.id for job in failed] == [jobs[3].id, jobs[1].id]
    assert [job.id for job in api.list_jobs(namespace="alice", labels={"all": "x", "n": "2"})] == [jobs[2].id]
    assert list(api.list_jobs(namespace="acme")) == []


def test_labels_are_replaced_and_checked(api: HfApi) -> None:
    job = submit(api, "true", labels={"a": "1"})
    changed = api.update_job_labels(job_id=job.id, labels={"b": "2"}, namespace="alice")
    assert changed.labels == {"b": "2"}
    assert [found.id for found in api.list_jobs(namespace="alice", labels={"b": "2"})] == [job.id]
    assert list(api.list_jobs(namespace="alice", labels={"a": "1"})) == []
    with pytest.raises(BadRequestError):
        submit(api, "true", labels={"model": "acme/x"})


def test_a_job_can_be_run_again(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "echo once", secrets={"S": "v"})
    finished(api, job)
    again = api.rerun_job(job_id=job.id, namespace="alice")
    assert finished(api, again).status.stage == "COMPLETED"
    assert again.initiator is not None
    assert (again.initiator.type, again.initiator.id) == ("duplicated-job", job.id)
    assert hub.job_log(again.id)[1:] == ["once"]


def test_a_namespace_without_credits_pays_for_nothing(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_credits("alice", 0)
    with pytest.raises(HfHubHTTPError, match="Pre-paid credit balance is insufficient") as caught:
        submit(api, "true")
    assert status_of(caught) == 402
    submit(api, "true", namespace="acme")
    assert [job["owner"]["name"] for job in hub.jobs()] == ["acme"]


def test_credits_are_used_up_by_jobs(hub: EmulatedHub, api: HfApi) -> None:
    hub.set_credits("alice", 0.0001)
    finished(api, submit(api, "true"))
    with pytest.raises(HfHubHTTPError) as caught:
        submit(api, "true")
    assert status_of(caught) == 402


def test_starting_jobs_needs_the_permission_for_the_namespace(hub: EmulatedHub) -> None:
    fine = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice-fine"])
    finished(fine, submit(fine, "true"))
    with pytest.raises(HfHubHTTPError, match=r"missing permissions: job\.write") as caught:
        submit(fine, "true", namespace="acme")
    assert status_of(caught) == 403
    reader = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice-read"])
    assert len(list(reader.list_jobs(namespace="alice"))) == 1
    with pytest.raises(HfHubHTTPError, match=r"job\.write"):
        submit(reader, "true")


def test_a_withdrawn_or_unknown_flavor_is_refused(hub: EmulatedHub, api: HfApi) -> None:
    hub.withdraw_flavor("t4-small")
    assert "t4-small" not in {flavor.name for flavor in api.list_jobs_hardware()}
    with pytest.raises(BadRequestError):
        submit(api, "true", flavor="t4-small")
    assert hub.jobs() == []


def test_a_job_of_another_namespace_is_not_found(hub: EmulatedHub, api: HfApi) -> None:
    job = submit(api, "true", namespace="acme")
    for namespace, job_id in (("alice", job.id), ("acme", "0" * 24)):
        with pytest.raises(JobNotFoundError):
            api.inspect_job(job_id=job_id, namespace=namespace)
    outsider = HfApi(endpoint=hub.endpoint, token=hub.add_user("carol"))
    with pytest.raises(JobNotFoundError):
        outsider.inspect_job(job_id=job.id, namespace="acme")


def test_exposed_ports_have_addresses(api: HfApi) -> None:
    job = submit(api, "true", expose=[8000], ssh=True)
    assert job.status.expose_urls == [f"https://{job.id}--8000.hf.jobs"]
    assert job.status.ssh_url == f"ssh://{job.id}@ssh.hf.jobs"
    changed = api.update_job_expose(job_id=job.id, expose=[8000, 9000], expose_public=[9000], namespace="alice")
    assert (changed.expose, changed.expose_public) == ([8000, 9000], [9000])
