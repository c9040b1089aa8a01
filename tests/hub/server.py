"""Starting, stopping and steering an emulated Hub from a test."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import uvicorn

from tests.hub.accounts import OrgRole, TokenRole
from tests.hub.app import create_app
from tests.hub.faults import Faults
from tests.hub.http_server import PromptServer, tracking_protocol
from tests.hub.job_runner import RunOptions
from tests.hub.job_spec import JobSpec
from tests.hub.job_store import Job
from tests.hub.repo_store import SpaceSettings
from tests.hub.request_log import LoggedRequest
from tests.hub.served_models import Reply, ServedModel
from tests.hub.state import HubState

Result = TypeVar("Result")
START_TIMEOUT_S = 30
PERMISSIONS = ("repo.content.read", "repo.access.read", "repo.write", "job.write", "inference.serverless.write")


def _listen(port: int) -> socket.socket:
    # asyncio lets small answers out at once only where the protocol is named.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


class EmulatedHub:
    """A running Hub on a loopback port; its methods act on it from any thread."""

    def __init__(self, root: Path, options: RunOptions, port: int) -> None:
        self._state = HubState.below(root, options)
        self._socket = _listen(port)
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.viewer_endpoint = f"{self.endpoint}/datasets-server"
        self.tokens: dict[str, str] = {}
        self._state.endpoint = self._state.runner.endpoint = self.endpoint
        connections = dict[tuple[str, int], asyncio.Transport]()
        config = uvicorn.Config(
            create_app(self._state, connections),
            http=tracking_protocol(connections),
            ws="none",
            lifespan="off",
            log_config=None,
            date_header=False,
        )
        self._server = PromptServer(config)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"emulated hub {self.endpoint}")

    @classmethod
    @contextlib.contextmanager
    def start(
        cls, root: Path | None = None, *, options: RunOptions | None = None, port: int = 0
    ) -> Generator[EmulatedHub]:
        """Run a Hub with the users alice and bob and the organisation acme until the block ends."""
        place = Path(tempfile.mkdtemp(prefix="emulated-hub-")) if root is None else root
        hub = cls(place, options or RunOptions(), port)
        hub._thread.start()
        try:
            if not hub._ready.wait(START_TIMEOUT_S):
                raise TimeoutError("the emulated Hub did not start")
            hub._add_defaults()
            yield hub
        finally:
            hub._stop()
            if root is None:
                shutil.rmtree(place)

    @property
    def faults(self) -> Faults:
        """The faults armed on this Hub."""
        return self._state.faults

    def add_user(self, name: str, *, credits_usd: float = 10.0, is_pro: bool = False) -> str:
        """Add a user with credits and return a new write token, also kept in tokens[name]."""
        self._call(lambda: self._state.accounts.add_user(name, is_pro=is_pro))
        self.set_credits(name, credits_usd)
        self.tokens[name] = self.add_token(name)
        return self.tokens[name]

    def add_org(self, name: str, members: Mapping[str, OrgRole], *, credits_usd: float = 10.0) -> None:
        """Add an organisation with its members' roles and its own credits."""
        self._call(lambda: self._state.accounts.add_org(name, members))
        self.set_credits(name, credits_usd)

    def add_token(
        self, user: str, role: TokenRole = "write", *, scopes: Mapping[str, Iterable[str]] | None = None
    ) -> str:
        """Issue a token; scopes of a fine-grained one map "acme" or "model:acme/x" to permission names."""
        return self._call(lambda: self._state.accounts.add_token(user, role, scopes)).value

    def revoke_token(self, token: str) -> None:
        """Make a token unknown to the Hub."""
        self._call(lambda: self._state.accounts.revoke(token))

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes | str] | None = None,
        *,
        repo_type: str = "model",
        private: bool = False,
        gated: bool | str = False,
    ) -> str:
        """Create a repository with files and return the hash of its newest commit."""

        def create() -> str:
            repo = self._state.repos.create(repo_type, repo_id, repo_id.split("/", maxsplit=1)[0], private=private)
            repo.gated = gated
            repo.space = SpaceSettings("gradio") if repo_type == "space" else None
            return repo.head.sha

        first = self._call(create)
        return self.commit_files(repo_id, files, repo_type=repo_type) if files else first

    def serve_model(self, repo_id: str, reply: Reply, **details: Any) -> ServedModel:
        """Let Inference Providers serve a model, made where it is not there; `reply` is what it says to messages."""
        served = ServedModel(reply, **details)
        if repo_id not in self.repo_ids():
            self.add_repo(repo_id)
        self._call(lambda: self._state.served.update({repo_id: served}))
        return served

    def commit_files(self, repo_id: str, files: Mapping[str, bytes | str], *, repo_type: str = "model") -> str:
        """Commit files to a repository's main branch and return the new commit's hash."""
        contents = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        repos = self._state.repos
        return self._call(lambda: repos.put(repos.repos[repo_type, repo_id], contents).sha)

    def read_file(self, repo_id: str, path: str, *, repo_type: str = "model", revision: str = "main") -> bytes:
        """Return the content of a repository's file."""

        def read() -> bytes:
            commit = self._state.repos.repos[repo_type, repo_id].revision(revision)
            return self._state.blobs.read(commit.files[path].sha256)

        return self._call(read)

    def list_files(self, repo_id: str, *, repo_type: str = "model", revision: str = "main") -> list[str]:
        """Return the paths of all files of a repository."""
        return self._call(lambda: sorted(self._state.repos.repos[repo_type, repo_id].revision(revision).files))

    def repo_ids(self, repo_type: str = "model") -> list[str]:
        """Return the names of all repositories of a type."""
        return self._call(lambda: [name for kind, name in self._state.repos.repos if kind == repo_type])

    def grant_access(self, repo_id: str, user: str, *, repo_type: str = "model") -> None:
        """Let a user through the gate of a repository."""
        self._call(lambda: self._state.repos.repos[repo_type, repo_id].granted.add(user))

    def add_bucket(self, bucket_id: str, *, private: bool = True) -> Path:
        """Create a bucket and return the directory that holds its files."""
        creator = bucket_id.split("/", maxsplit=1)[0]
        return self._call(lambda: self._state.buckets.create(bucket_id, creator, private=private)).root

    def bucket_path(self, bucket_id: str) -> Path:
        """Return the directory that holds a bucket's files."""
        return self._call(lambda: self._state.buckets.buckets[bucket_id].root)

    def set_credits(self, namespace: str, usd: float) -> None:
        """Set what a namespace has left to spend."""
        billed = self.billed(namespace=namespace)
        self._call(lambda: self._state.credits.update({namespace: billed + round(usd * 1_000_000)}))

    def billed(self, *, job_id: str | None = None, namespace: str | None = None) -> int:
        """Return what one job, one namespace or everybody was billed, in micro-USD."""
        return self._call(lambda: self._state.jobs.billed(job_id=job_id, namespace=namespace))

    def jobs(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return all jobs as the API shows them, oldest first."""
        found = self._state.jobs.jobs
        return self._call(lambda: [job.view() for job in found.values() if namespace in {None, job.namespace}])

    def job_spec(self, job_id: str) -> dict[str, Any]:
        """Return what was submitted for a job, the values of its secrets included."""
        return self._call(lambda: self._state.jobs.jobs[job_id].spec.raw)

    def job_log(self, job_id: str) -> list[str]:
        """Return the lines a job has logged, headers included."""
        return self._call(lambda: [line.text for line in self._state.jobs.jobs[job_id].lines])

    def expire_job(self, job_id: str) -> None:
        """Let the timeout of a running job come now."""
        self._call(lambda: self._state.runner.expire(job_id))

    def end_job(self, job_id: str, ran_s: float) -> None:
        """Let a job that is held be complete, as if it had run for so many seconds."""
        self._call(lambda: self._state.jobs.jobs[job_id].settle(ran_s))

    def add_settled_jobs(self, count: int, labels: Mapping[str, str], ran_s: float = 60) -> None:
        """Add jobs of alice's that have ended, with these labels."""

        def add() -> None:
            user, owner = self._state.accounts.users["alice"], self._state.accounts.owner("alice")
            for _ in range(count):
                spec = JobSpec(["true"], "cpu-basic", labels=dict(labels))
                creator = {"id": user.id, "name": user.name}
                job = Job("alice", owner, creator, creator, spec, price=167, labels=dict(labels))
                job.settle(ran_s)
                self._state.jobs.add(job)

        self._call(add)

    def let_lists_lag(self, seconds: float) -> None:
        """Show new jobs in lists only when they are so old."""

        def lag() -> None:
            self._state.jobs.list_lag_s = seconds

        self._call(lag)

    def hold_jobs(self, flavor: str = "*") -> None:
        """Keep new jobs of a flavor in SCHEDULING."""
        self._call(lambda: self._state.runner.hold(flavor))

    def release_jobs(self, flavor: str = "*") -> None:
        """Let held jobs run."""
        self._call(lambda: self._state.runner.release(flavor))

    def set_price(self, flavor: str, micro_usd_per_minute: int) -> None:
        """Change a flavor's price for the jobs to come."""
        self._call(lambda: self._state.hardware.set_price(flavor, micro_usd_per_minute))

    def withdraw_flavor(self, flavor: str) -> None:
        """Take a flavor off the list of hardware."""
        self._call(lambda: self._state.hardware.withdraw(flavor))

    def set_gpu_sample(self, *, utilization: int, memory_used_bytes: int) -> None:
        """Choose what the GPUs of running jobs report."""
        self._state.gpu.utilization = utilization
        self._state.gpu.memory_used_bytes = memory_used_bytes

    def set_page_size(self, entries: int) -> None:
        """Choose how many entries one page of a list holds."""
        self._state.page_size = entries

    def set_keep_alive(self, seconds: float) -> None:
        """Choose how long a stream stays silent before it sends a comment."""
        self._state.keep_alive_s = seconds

    def move_storage(self) -> None:
        """Send the readers of large files to another host, with links that are signed."""
        port = self._socket.getsockname()[1]
        self._state.storage.endpoint = f"http://localhost:{port}"

    def expire_links(self) -> None:
        """Let all signed links end now."""
        self._state.storage.signature = token_hex(8)

    def set_conversion(self, repo_id: str, files: Mapping[str, bytes]) -> None:
        """Choose the Parquet form of a data set, by path such as default/partial-train/0000.parquet."""
        self._call(lambda: self._state.viewer.keep(self._state.repos.repos["dataset", repo_id], files))

    def freeze_viewer(self, repo_id: str) -> None:
        """Let the viewer of a data set stay at its present commit."""
        self._call(
            lambda: self._state.viewer.frozen.update({repo_id: self._state.repos.repos["dataset", repo_id].head.sha})
        )

    def requests(self, path_glob: str = "*", method: str = "*") -> list[LoggedRequest]:
        """Return the requests so far whose path matches a pattern."""
        return self._call(lambda: self._state.log.matching(path_glob, method))

    def most_at_once(self) -> int:
        """Return how many requests were being answered side by side at most, since they were cleared."""
        return self._call(lambda: self._state.log.most_at_once)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._call(self._state.log.clear)

    def _add_defaults(self) -> None:
        self.add_user("alice")
        self.add_user("bob")
        self.add_org("acme", {"alice": "write", "bob": "read"})
        self.tokens["alice-read"] = self.add_token("alice", "read")
        scopes = {"alice": PERMISSIONS}
        self.tokens["alice-fine"] = self.add_token("alice", "fineGrained", scopes=scopes)
        self.tokens["broken"] = self.add_token("alice")
        self.revoke_token(self.tokens["broken"])

    def _call(self, action: Callable[[], Result]) -> Result:
        """Run something in the Hub's own thread, where no request is half done."""

        async def run() -> Result:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _main(self) -> None:
        self._loop.call_soon(self._ready.set)
        await self._server.serve(sockets=[self._socket])

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._state.runner.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()
        self._socket.close()
