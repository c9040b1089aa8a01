"""What the Jobs API answers is noted word for word, without tokens, and passed on as it was."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.hf.desk import spec
from tests.hub import EmulatedHub
from tests.live.recorder import recording
from trl_mcp.backends.hf import HfBackend
from trl_mcp.backends.hf_jobs import Offer, specification
from trl_mcp.clock import utc_now
from trl_mcp.errors import CreditsMissing
from trl_mcp.hub.hub import Hub

pytestmark = pytest.mark.anyio


async def test_a_job_is_started_watched_and_cancelled_through_the_recorder(tmp_path: Path) -> None:
    notes, token = tmp_path / "notes.jsonl", ""
    with EmulatedHub.start(tmp_path / "hub") as emulated:
        emulated.hold_jobs()
        token = emulated.tokens["alice"]
        async with recording(emulated.endpoint, notes) as door, Hub(door) as hub:
            backend = HfBackend(hub, token, "alice", locks=tmp_path / "locks")
            job = (await backend.submit(spec(secrets={"HF_TOKEN": token}))).job
            await backend.logs(job.id, tail=5)
            assert (await backend.cancel(job.id)).stage == "CANCELED"
        raw = emulated.jobs("alice")[0]
    entries = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    asked = [entry["request"].partition("?")[0] for entry in entries]
    assert "POST /api/jobs/alice" in asked
    assert f"POST /api/jobs/alice/{job.id}/cancel" in asked
    assert f"GET /api/jobs/alice/{job.id}/logs" in asked
    assert entries[-1]["body"] == raw
    assert all(entry["request"].split()[1].startswith("/api/jobs/") for entry in entries)
    assert token not in notes.read_text(encoding="utf-8")


async def test_a_refusal_is_noted_with_its_status_and_words(tmp_path: Path) -> None:
    notes = tmp_path / "notes.jsonl"
    with EmulatedHub.start(tmp_path / "hub") as emulated:
        emulated.set_credits("alice", 0)
        async with recording(emulated.endpoint, notes) as door, Hub(door) as hub:
            jobs = hub.jobs(emulated.tokens["alice"], "alice")
            sent = specification(spec(), 1, Offer(167, None), utc_now())
            refused = await jobs.submit(sent, 10)
            with pytest.raises(CreditsMissing, match="Pre-paid credit balance"):
                raise jobs.refusal(refused)
    (entry,) = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    assert entry["status"] == 402
    assert "Pre-paid" in json.dumps(entry["body"])


async def test_what_is_no_job_is_passed_on_and_not_noted(tmp_path: Path) -> None:
    notes = tmp_path / "notes.jsonl"
    with EmulatedHub.start(tmp_path / "hub") as emulated:
        token = emulated.tokens["alice"]
        async with recording(emulated.endpoint, notes) as door, httpx2.AsyncClient() as client:
            answer = await client.get(f"{door}/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["name"] == "alice"
    assert not notes.exists()
