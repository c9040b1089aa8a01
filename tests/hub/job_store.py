"""Jobs: their state, their log lines, and what they cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from time import time
from typing import Any, Literal

from tests.hub.clock import isoformat, utcnow
from tests.hub.job_spec import JobSpec

Stage = Literal["SCHEDULING", "RUNNING", "COMPLETED", "CANCELED", "ERROR"]
Label = tuple[str, str]
TERMINAL = frozenset({"COMPLETED", "CANCELED", "ERROR"})


@dataclass(frozen=True)
class LogLine:
    """A line that a job wrote, or the header that marks the start of an attempt."""

    text: str
    moment: datetime

    def event(self) -> dict[str, str]:
        """Return the line as the log stream sends it."""
        return {"data": self.text, "timestamp": isoformat(self.moment)}


@dataclass
class Job:
    """One job and everything that happened to it."""

    namespace: str
    owner: dict[str, str]
    creator: dict[str, str]
    initiator: dict[str, str]
    spec: JobSpec
    price: int
    id: str = field(default_factory=lambda: f"{int(time()):08x}{token_hex(8)}")
    stage: Stage = "SCHEDULING"
    message: str | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])
    expose: dict[str, list[int]] | None = None
    created: datetime = field(default_factory=utcnow)
    started: datetime | None = None
    finished: datetime | None = None
    updated: datetime = field(default_factory=utcnow)
    failures: int = 0
    lines: list[LogLine] = field(default_factory=list[LogLine])
    pid: int | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.stage in TERMINAL

    def log(self, text: str) -> None:
        """Add a line to the log."""
        self.lines.append(LogLine(text, utcnow()))
        self._announce()

    def start(self) -> None:
        """Note that an attempt begins to run."""
        now = utcnow()
        self.started = self.started or now
        self.log(f"===== Job started at {now:%Y-%m-%d %H:%M:%S} =====")
        self._move("RUNNING")

    def finish(self, stage: Stage, message: str | None = None) -> None:
        """Note the end; a job that is over stays as it is."""
        if not self.over:
            self.message = message
            self.finished = utcnow()
            self._move(stage)

    def settle(self, ran_s: float) -> None:
        """Note that it has run for so many seconds and is complete."""
        self.finish("COMPLETED")
        assert self.finished is not None
        self.started = self.finished - timedelta(seconds=ran_s)

    async def changed(self, within_s: float) -> bool:
        """Wait until a line or a change of stage arrives; False when none did in time."""
        try:
            await asyncio.wait_for(self._changed.wait(), within_s)
        except TimeoutError:
            return False
        return True

    def billed_micro_usd(self) -> int:
        """Return what the started minutes have cost so far."""
        if self.started is None:
            return 0
        seconds = ((self.finished or utcnow()) - self.started).total_seconds()
        return max(1, math.ceil(seconds / 60)) * self.price

    def view(self) -> dict[str, Any]:
        """Return the job as the API shows it: secrets by name only."""
        raw = self.spec.raw
        shown: dict[str, Any] = {
            "type": "job",
            "id": self.id,
            "createdAt": isoformat(self.created),
            "startedAt": isoformat(self.started) if self.started else None,
            "finishedAt": isoformat(self.finished) if self.finished else None,
            "updatedAt": isoformat(self.updated),
            "dockerImage": raw.get("dockerImage"),
            "spaceId": raw.get("spaceId"),
            "command": raw.get("command"),
            "arguments": raw.get("arguments", []),
            "environment": self.spec.environment,
            "secrets": sorted(self.spec.secrets),
            "flavor": self.spec.flavor,
            "arch": raw.get("arch", "amd64"),
            "timeout": self.spec.timeout_s,
            "attempts": self.spec.attempts,
            "retry": self.spec.attempts - 1,
            "labels": self.labels,
            "volumes": [volume.raw for volume in self.spec.volumes],
            "status": self._status(),
            "durations": self._durations(),
            "owner": self.owner,
            "createdBy": self.creator,
            "initiator": self.initiator,
        }
        optional = {"expose": self.expose, "network": raw.get("network")}
        return shown | {name: value for name, value in optional.items() if value is not None}

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = {"stage": self.stage, "message": self.message, "failureCount": self.failures}
        if self.expose:
            status["exposeUrls"] = [f"https://{self.id}--{port}.hf.jobs" for port in self.expose["ports"]]
        if self.spec.raw.get("ssh", {}).get("enabled"):
            status["sshUrl"] = f"ssh://{self.id}@ssh.hf.jobs"
        return status

    def _durations(self) -> dict[str, int | None]:
        end = self.finished or utcnow()
        total = (end - self.created).total_seconds()
        if self.started is None:
            return {"schedulingSecs": None, "runningSecs": None, "totalSecs": int(total)}
        running = (end - self.started).total_seconds()
        return {"schedulingSecs": int(total - running), "runningSecs": int(running), "totalSecs": int(total)}

    def _move(self, stage: Stage) -> None:
        self.stage = stage
        self._announce()

    def _announce(self) -> None:
        self.updated = utcnow()
        self._changed.set()
        self._changed = asyncio.Event()


class JobStore:
    """The jobs of all namespaces, in the order of their creation; those with a label are found without the others."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.list_lag_s = 0.0
        self._labelled: dict[tuple[str, Label], dict[str, Job]] = {}

    def add(self, job: Job) -> None:
        """Keep a new job."""
        self.jobs[job.id] = job
        self._index(job)

    def relabel(self, job: Job, labels: dict[str, str]) -> None:
        """Replace the labels of a job."""
        job.labels = labels
        self._labelled.clear()
        for each in self.jobs.values():
            self._index(each)

    def _index(self, job: Job) -> None:
        for label in job.labels.items():
            self._labelled.setdefault((job.namespace, label), {})[job.id] = job

    def find(self, namespace: str, job_id: str) -> Job | None:
        """Return a job, if it is in that namespace."""
        job = self.jobs.get(job_id)
        return job if job and job.namespace == namespace else None

    def newest_first(self, namespace: str, labels: AbstractSet[Label] = frozenset()) -> list[Job]:
        """List the jobs of a namespace that have all these labels, but not those younger than the list lags."""
        shown_until = utcnow() - timedelta(seconds=self.list_lag_s)
        found = [self._labelled.get((namespace, label), {}) for label in labels] or [self.jobs]
        fewest = min(found, key=len)
        return [
            job
            for job in reversed(fewest.values())
            if job.namespace == namespace and labels <= job.labels.items() and job.created <= shown_until
        ]

    def billed(self, *, job_id: str | None = None, namespace: str | None = None) -> int:
        """Add up what jobs have cost, in micro-USD."""
        return sum(
            job.billed_micro_usd()
            for job in self.jobs.values()
            if job_id in {None, job.id} and namespace in {None, job.namespace}
        )
