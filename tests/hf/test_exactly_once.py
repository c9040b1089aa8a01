"""One run, one job, one bill: lost answers, callers at once, several servers, several hosts."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio import to_thread

from tests.hf.desk import Desk, Submit, new_run, open_hub, persistently, spec, until
from tests.hub import Fault
from tests.hub.faults import FaultKind
from trl_mcp.backends import hf_submission
from trl_mcp.backends.base import JobSpec, Submission
from trl_mcp.backends.hf import HfBackend
from trl_mcp.errors import CreditsMissing, HubUnreachable, RateLimited, TrlMcpError
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.jobs import JobsApi

pytestmark = pytest.mark.anyio
POST = "/api/jobs/alice"


async def at_once(submits: list[tuple[Submit, JobSpec]]) -> list[Submission]:
    answers: dict[int, Submission] = {}

    async def one(index: int, submit: Submit, given: JobSpec) -> None:
        answers[index] = await persistently(submit, given)

    async with anyio.create_task_group() as group:
        for index, (submit, given) in enumerate(submits):
            group.start_soon(one, index, submit, given)
    return [answers[index] for index in range(len(submits))]


def started(desk: Desk, run: str) -> list[str]:
    """Return the jobs of a run that were not taken back."""
    jobs = [job for job in desk.emulated.jobs() if job["labels"]["run"] == run]
    return [job["id"] for job in jobs if job["status"]["stage"] != "CANCELED"]


def arm(desk: Desk, seed: int) -> list[Fault]:
    """Let 60 of the next requests about jobs go wrong, in each way."""
    chance, armed = random.Random(seed), list[Fault]()
    kinds: list[FaultKind] = ["drop_before", "drop_after", "status"]
    for _ in range(60):
        kind, status = chance.choice(kinds), chance.choice([500, 502, 503, 429])
        method = chance.choice(["POST", "POST", "GET"])
        wait = 0 if status == 429 else None
        fault = Fault(method, POST, kind, status=status, retry_after=wait, skip=chance.randrange(8))
        armed.append(desk.emulated.faults.add(fault))
    return armed


async def test_a_hundred_submissions_under_faults_make_one_job_and_one_bill_each(desk: Desk) -> None:
    runs = [new_run() for _ in range(50)]
    async with open_hub(desk.emulated) as other:
        backends = [desk.backend, desk.backend_of("alice-fine"), on(other, desk)]
        armed = arm(desk, seed=1)
        specs = [(run, backend) for run in runs for backend in random.Random(2).sample(backends, 2)]
        answers = await at_once([(backend.submit, spec("print('x')", run=run)) for run, backend in specs])
    assert sum(fault.times for fault in armed) == 0
    assert [job for job in desk.emulated.jobs() if job["status"]["stage"] == "ERROR"] == []
    for (run, _), answer in zip(specs, answers, strict=True):
        assert started(desk, run) == [answer.job.id]
    for run in runs:
        found = [answer for (key, _), answer in zip(specs, answers, strict=True) if key == run]
        assert [answer.already_submitted for answer in found].count(False) <= 1
    await until(lambda: all_over(desk), "the end of all jobs", 60)
    assert len(desk.emulated.jobs()) == len(runs)
    assert {job["status"]["stage"] for job in desk.emulated.jobs()} == {"COMPLETED"}
    assert desk.emulated.billed() == len(runs) * 167


async def all_over(desk: Desk) -> bool:
    return all(job["status"]["stage"] not in {"SCHEDULING", "RUNNING"} for job in desk.emulated.jobs())


def on(hub: Hub, desk: Desk, locks: Path | None = None) -> HfBackend:
    return HfBackend(hub, desk.emulated.tokens["alice"], "alice", locks=locks or desk.locks)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "status"])
async def test_a_lost_answer_leads_to_the_one_job(desk: Desk, kind: FaultKind) -> None:
    desk.emulated.faults.add(Fault("POST", POST, kind))
    given = spec()
    answer = await desk.backend.submit(given)
    assert not answer.already_submitted
    assert started(desk, given.run) == [answer.job.id]


async def test_a_lost_answer_of_a_job_that_failed_at_once_is_that_job(desk: Desk) -> None:
    desk.emulated.faults.add(Fault("POST", POST, "drop_after"))
    desk.emulated.faults.add(Fault("GET", POST, "slow", delay_s=1, skip=1))
    given = spec("raise SystemExit(1)")
    answer = await desk.backend.submit(given)
    assert started(desk, given.run) == [answer.job.id]
    assert answer.job.part == 1


async def test_a_hub_that_stays_away_is_told_and_a_repeated_call_finds_the_job(desk: Desk) -> None:
    given = spec()
    accepted = desk.emulated.faults.add(Fault("POST", POST, "drop_after"))
    away = desk.emulated.faults.add(Fault("GET", POST, status=503, times=1000, skip=1))
    with pytest.raises(HubUnreachable, match="Call again with the same arguments"):
        await desk.backend.submit(given)
    assert (accepted.times, len(started(desk, given.run))) == (0, 1)
    away.times = 0
    answer = await desk.backend.submit(given)
    assert answer.already_submitted
    assert started(desk, given.run) == [answer.job.id]


async def test_three_lost_sends_are_enough(desk: Desk) -> None:
    fault = desk.emulated.faults.add(Fault("POST", POST, "drop_before", times=100))
    with pytest.raises(HubUnreachable):
        await desk.backend.submit(spec())
    assert 100 - fault.times == 3


async def test_a_submission_that_timed_out_is_not_sent_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    really_send = JobsApi.submit
    arrived = anyio.Event()
    given = spec()
    async with anyio.create_task_group() as group:

        async def arrive_late(sent: dict[str, Any]) -> None:
            await arrived.wait()
            await really_send(desk.hub.jobs(desk.emulated.tokens["alice"], "alice"), sent, 10)

        async def time_out(_: JobsApi, sent: dict[str, Any], timeout_s: float) -> httpx2.Response:
            assert timeout_s < 15
            group.start_soon(arrive_late, sent)
            raise httpx2.ReadTimeout("")

        monkeypatch.setattr(JobsApi, "submit", time_out)
        with pytest.raises(HubUnreachable, match="did not answer in time"):
            await desk.backend.submit(given)
        arrived.set()
    (job_id,) = started(desk, given.run)
    answer = await desk.backend.submit(given)
    assert (answer.job.id, answer.already_submitted) == (job_id, True)


async def test_a_rate_limit_is_waited_for_and_a_long_one_is_told(desk: Desk) -> None:
    desk.emulated.faults.add(Fault("POST", POST, status=429, retry_after=3, times=2))
    answer = await desk.backend.submit(spec())
    assert not answer.already_submitted
    desk.emulated.faults.add(Fault("POST", POST, status=429, retry_after=120))
    with pytest.raises(RateLimited, match="Call again in 120 s"):
        await desk.backend.submit(spec())
    assert len(desk.emulated.jobs()) == 1


async def test_a_refusal_is_not_repeated(desk: Desk) -> None:
    desk.emulated.set_credits("alice", 0)
    with pytest.raises(CreditsMissing, match="insufficient"):
        await desk.backend.submit(spec())
    assert len(desk.emulated.requests(POST, "POST")) == 1
    assert desk.emulated.jobs() == []


async def test_a_caller_who_goes_away_leaves_a_job_that_the_next_call_finds(desk: Desk) -> None:
    given = spec()
    desk.emulated.faults.add(Fault("POST", POST, "slow", delay_s=0.4))
    async with anyio.create_task_group() as group:
        group.start_soon(desk.backend.submit, given)
        await until(lambda: is_sent(desk), "the submission is on its way")
        group.cancel_scope.cancel()
    answer = await desk.backend.submit(given)
    assert answer.already_submitted
    assert started(desk, given.run) == [answer.job.id]


async def test_two_hosts_at_once_end_with_the_older_job(desk: Desk, tmp_path: Path) -> None:
    desk.emulated.hold_jobs()
    async with open_hub(desk.emulated) as far:
        elsewhere = on(far, desk, tmp_path / "locks of another host")
        for _ in range(3):
            # Both have seen that there is no job yet when both are accepted.
            desk.emulated.faults.add(Fault("POST", POST, "slow", delay_s=0.3, times=2))
            given = spec()
            answers = await at_once([(desk.backend.submit, given), (elsewhere.submit, given)])
            jobs = [job for job in desk.emulated.jobs() if job["labels"]["run"] == given.run]
            assert len(jobs) == 2
            older, _ = sorted((job["createdAt"], job["id"]) for job in jobs)
            assert started(desk, given.run) == [older[1]] == list({answer.job.id for answer in answers})
            assert sorted(answer.already_submitted for answer in answers) == [False, True]
    assert desk.emulated.billed() == 0


async def test_an_accepted_job_is_returned_even_if_nothing_more_can_be_learned(desk: Desk) -> None:
    desk.emulated.faults.add(Fault("GET", POST, status=503, times=1000, skip=1))
    given = spec()
    answer = await desk.backend.submit(given)
    assert started(desk, given.run) == [answer.job.id]


async def test_two_processes_of_one_host_submit_each_run_once(desk: Desk) -> None:
    desk.emulated.hold_jobs()
    runs = [new_run() for _ in range(8)]
    arm(desk, seed=3)
    outputs: list[list[str]] = []

    async def run() -> None:
        paths = ":".join([str(Path.cwd()), *filter(None, sys.path)])
        environ = {"PYTHONPATH": paths, "HF_TOKEN": desk.emulated.tokens["alice"]}
        command = [sys.executable, "-m", "tests.hf.submit_all", desk.emulated.endpoint, str(desk.locks), *runs]
        done = await to_thread.run_sync(lambda: subprocess.run(command, env=environ, capture_output=True, check=False))
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        outputs.append(json.loads(done.stdout))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(run)
    assert outputs[0] == outputs[1]
    assert [started(desk, run) for run in runs] == [[job_id] for job_id in outputs[0]]
    assert len(desk.emulated.jobs()) == len(runs)


async def test_another_submission_that_does_not_end_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_submission, "_LOCK_S", 0.1)
    desk.emulated.faults.add(Fault("POST", POST, "slow", delay_s=1))
    async with open_hub(desk.emulated) as other, anyio.create_task_group() as group:
        group.start_soon(desk.backend.submit, spec())

        await until(lambda: is_sent(desk), "the first submission is on its way")
        with pytest.raises(TrlMcpError, match="Another submission has not ended"):
            await on(other, desk).submit(spec())


async def is_sent(desk: Desk) -> bool:
    return bool(desk.emulated.requests(POST, "POST"))


async def test_a_caller_who_goes_away_while_waiting_starts_nothing(desk: Desk) -> None:
    given = spec()
    desk.emulated.faults.add(Fault("POST", POST, "slow", delay_s=0.3))
    async with anyio.create_task_group() as group:
        group.start_soon(desk.backend.submit, spec())
        await until(lambda: is_sent(desk), "the first submission is on its way")
        with anyio.move_on_after(0.05):
            await desk.backend.submit(given)
    assert started(desk, given.run) == []
    assert len(desk.emulated.jobs()) == 1


async def test_a_run_that_exists_costs_one_look(desk: Desk) -> None:
    given = spec()
    await desk.backend.submit(given)
    desk.emulated.clear_requests()
    assert (await desk.backend.submit(given)).already_submitted
    assert [(entry.method, entry.path) for entry in desk.emulated.requests()] == [("GET", POST)]
