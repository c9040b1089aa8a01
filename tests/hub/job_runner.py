"""Running jobs: scheduling, attempts, timeouts, environment and volumes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.hub.accounts import Token
from tests.hub.blobs import BlobStore
from tests.hub.bucket_store import BucketStore
from tests.hub.hardware import Hardware
from tests.hub.job_process import Launch, run_process
from tests.hub.job_spec import JobVolume
from tests.hub.job_store import Job
from tests.hub.mounts import mounts_supported
from tests.hub.repo_store import Commit, RepoStore

RetryReason = Literal["failure", "timeout"]
INHERITED = ("PATH", "LANG", "LC_ALL")


@dataclass
class RunOptions:
    """How jobs are run on one emulated Hub."""

    job_env: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_on: frozenset[RetryReason] = frozenset({"failure", "timeout"})
    scheduling_s: float = 0.0


@dataclass(frozen=True)
class Stores:
    """Where the volumes of jobs come from, and on what machines jobs run."""

    repos: RepoStore
    buckets: BucketStore
    blobs: BlobStore
    hardware: Hardware


class JobRunner:
    """Runs every job as a task of the event loop."""

    def __init__(self, root: Path, stores: Stores, options: RunOptions) -> None:
        self._root = root
        self._stores = stores
        self._options = options
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, asyncio.Timeout] = {}
        self._held: set[str] = set()
        self._released = asyncio.Event()
        self.endpoint = ""

    def submit(self, job: Job) -> None:
        """Start a job in the background."""
        task = asyncio.get_running_loop().create_task(self._run(job), name=f"job {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    async def cancel(self, job: Job) -> None:
        """Stop a job and wait until its processes are gone."""
        task = self._tasks.get(job.id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        job.finish("CANCELED")

    async def close(self) -> None:
        """Stop all jobs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def expire(self, job_id: str) -> None:
        """Let the timeout of a running job come now."""
        self._deadlines[job_id].reschedule(asyncio.get_running_loop().time())

    def hold(self, flavor: str) -> None:
        """Keep new jobs of a flavor ("*" for all) in SCHEDULING."""
        self._held.add(flavor)

    def release(self, flavor: str) -> None:
        """Let the jobs of a flavor ("*" for all flavors) run."""
        self._held = set[str]() if flavor == "*" else self._held - {flavor}
        self._released.set()
        self._released = asyncio.Event()

    def check_volumes(self, volumes: tuple[JobVolume, ...], token: Token) -> None:
        """Refuse volumes that the submitter may not use."""
        for volume in volumes:
            if volume.type != "bucket":
                self._stores.repos.readable(volume.type, volume.source, token).revision(volume.revision)
            elif volume.read_only:
                self._stores.buckets.readable(volume.source, token)
            else:
                self._stores.buckets.writable(volume.source, token)

    async def _run(self, job: Job) -> None:
        try:
            await self._schedule(job)
            for attempt in range(job.spec.attempts):
                reason, message = await self._attempt(job, attempt)
                if reason is None:
                    return job.finish("COMPLETED")
                job.failures += 1
                if reason not in self._options.retry_on or attempt + 1 == job.spec.attempts:
                    return job.finish("ERROR", message)
        except asyncio.CancelledError:
            job.finish("CANCELED")
        finally:
            job.pid = None
            shutil.rmtree(self._root / job.id, ignore_errors=True)

    async def _schedule(self, job: Job) -> None:
        await asyncio.sleep(self._options.scheduling_s)
        while {"*", job.spec.flavor} & self._held:
            await self._released.wait()

    async def _attempt(self, job: Job, attempt: int) -> tuple[RetryReason | None, str | None]:
        job.start()
        if job.spec.volumes and (reason := mounts_supported()):
            return "failure", f"Volumes cannot be mounted: {reason}"
        launch = self._launch(job, attempt)

        def started(pid: int) -> None:
            job.pid = pid

        try:
            async with asyncio.timeout(job.spec.timeout_s) as self._deadlines[job.id]:
                code = await run_process(launch, job.log, started)
        except TimeoutError:
            return "timeout", "Job timeout"
        if code != 0:
            shown = 128 - code if code < 0 else code
            return "failure", f"Job failed with exit code: {shown}. Reason: Error."
        return None, None

    def _launch(self, job: Job, attempt: int) -> Launch:
        home = self._root / job.id / str(attempt) / "home"
        home.mkdir(parents=True)
        volumes = [self._mount(volume, home.parent / f"volume-{i}") for i, volume in enumerate(job.spec.volumes)]
        return Launch(job.spec.command, self._environment(job, home), home, volumes)

    def _environment(self, job: Job, home: Path) -> dict[str, str]:
        flavor = self._stores.hardware.flavors[job.spec.flavor]
        return {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "HOME": str(home),
            "HF_ENDPOINT": self.endpoint,
            **self._options.job_env,
            "JOB_ID": job.id,
            "ACCELERATOR": flavor.name,
            "CPU_CORES": flavor.cpu_cores,
            "MEMORY": f"{flavor.memory_gb}Gi",
            **job.spec.environment,
            **job.spec.secrets,
        }

    def _mount(self, volume: JobVolume, snapshot: Path) -> dict[str, str]:
        if volume.type == "bucket":
            bucket = self._stores.buckets.buckets[volume.source]
            source = bucket.locate(volume.path) if volume.path else bucket.root
            source.mkdir(parents=True, exist_ok=True)
        else:
            commit = self._stores.repos.repos[volume.type, volume.source].revision(volume.revision)
            self._materialize(commit, volume.path, snapshot)
            source = snapshot
        mode = "ro" if volume.read_only else "rw"
        return {"source": str(source), "target": volume.mount_path, "mode": mode}

    def _materialize(self, commit: Commit, prefix: str, snapshot: Path) -> None:
        snapshot.mkdir()
        for path, file in commit.files.items():
            if prefix and not path.startswith(f"{prefix}/"):
                continue
            target = snapshot / (path[len(prefix) + 1 :] if prefix else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(self._stores.blobs.path(file.sha256))
