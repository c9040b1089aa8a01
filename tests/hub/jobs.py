"""The Jobs API: submit, list, inspect, cancel, run again, label."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.accounts import Token
from tests.hub.errors import HubError, missing_permission
from tests.hub.job_spec import JobSpec, check_labels
from tests.hub.job_store import Job
from tests.hub.job_streams import stream_events, stream_logs, stream_metrics
from tests.hub.web import body, paged, param, signed_in, state

NO_CREDITS = "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs."


def readable_job(request: Request) -> Job:
    """Find the job of a request for a caller who may see it."""
    token, namespace = signed_in(request), param(request, "ns")
    job = state(request).jobs.find(namespace, param(request, "job"))
    if job is None or state(request).accounts.role_in(token.user, namespace) is None:
        raise HubError(404, "Job not found")
    if not state(request).accounts.may_see_jobs(token, namespace):
        raise missing_permission(namespace, "job.read")
    return job


def writable_job(request: Request) -> Job:
    """Find the job of a request for a caller who may change it."""
    job = readable_job(request)
    if not state(request).accounts.may_run_jobs(signed_in(request), job.namespace):
        raise missing_permission(job.namespace, "job.write")
    return job


async def hardware(request: Request) -> Response:
    """List the flavors with today's prices."""
    return JSONResponse(state(request).hardware.listing())


async def submit(request: Request) -> Response:
    """Create a job and start it."""
    token, namespace = signed_in(request), param(request, "ns")
    authorize(request, token, namespace)
    spec = JobSpec.parse(await body(request), state(request).hardware)
    initiator = {"type": "user", "id": token.user.id, "name": token.user.name}
    return JSONResponse(launch(request, namespace, spec, initiator).view())


def authorize(request: Request, token: Token, namespace: str) -> None:
    """Refuse a caller who may not start jobs in a namespace, or a namespace that cannot pay."""
    hub = state(request)
    if not hub.accounts.may_run_jobs(token, namespace):
        raise missing_permission(namespace, "job.write")
    if hub.balance(namespace) <= 0:
        raise HubError(402, NO_CREDITS)


def launch(request: Request, namespace: str, spec: JobSpec, initiator: dict[str, str]) -> Job:
    """Register a job and hand it to the runner."""
    hub, user = state(request), signed_in(request).user
    hub.runner.check_volumes(spec.volumes, signed_in(request))
    job = Job(
        namespace=namespace,
        owner=hub.accounts.owner(namespace),
        creator={"id": user.id, "name": user.name},
        initiator=initiator,
        spec=spec,
        price=hub.hardware.flavors[spec.flavor].micro_usd_per_minute,
        labels=dict(spec.labels),
        expose=spec.raw.get("expose"),
    )
    hub.jobs.add(job)
    hub.runner.submit(job)
    return job


async def listing(request: Request) -> Response:
    """List the jobs of a namespace, newest first, filtered by stages and labels."""
    token, namespace = signed_in(request), param(request, "ns")
    if not state(request).accounts.may_see_jobs(token, namespace):
        raise missing_permission(namespace, "job.read")
    stages = set(request.query_params.getlist("stage"))
    given = (label.partition("=") for label in request.query_params.getlist("label"))
    labels = {(name, value) for name, _, value in given}
    found = state(request).jobs.newest_first(namespace, labels)
    jobs = [job.view() for job in found if not stages or job.stage in stages]
    return paged(request, jobs)


async def inspect(request: Request) -> Response:
    """Show one job."""
    return JSONResponse(readable_job(request).view())


async def cancel(request: Request) -> Response:
    """Stop a job; one that is over stays as it is."""
    job = writable_job(request)
    if job.over:
        raise HubError(409, "Job is already finished")
    await state(request).runner.cancel(job)
    return JSONResponse(job.view())


async def duplicate(request: Request) -> Response:
    """Start a job again with the same specification."""
    job = writable_job(request)
    authorize(request, signed_in(request), job.namespace)
    initiator = {"type": "duplicated-job", "id": job.id}
    return JSONResponse(launch(request, job.namespace, job.spec, initiator).view())


async def labels(request: Request) -> Response:
    """Replace the labels of a job."""
    job = writable_job(request)
    state(request).jobs.relabel(job, check_labels((await body(request)).get("labels")))
    return JSONResponse(job.view())


async def expose(request: Request) -> Response:
    """Replace the exposed ports of a job."""
    job = writable_job(request)
    wanted: dict[str, Any] = await body(request)
    job.expose = {"ports": wanted.get("ports") or [], "portsPublic": wanted.get("portsPublic") or []}
    return JSONResponse(job.view())


async def logs(request: Request) -> Response:
    """Stream what the job has written and goes on to write."""
    tail = request.query_params.get("tail")
    return stream_logs(readable_job(request), int(tail) if tail else None, state(request).keep_alive_s)


async def metrics(request: Request) -> Response:
    """Stream what the job uses, once per second while it runs."""
    job = readable_job(request)
    if job.over:
        raise HubError(406, "Job has finished")
    flavor = state(request).hardware.flavors[job.spec.flavor]
    return stream_metrics(job, flavor, state(request).gpu)


async def events(request: Request) -> Response:
    """Stream the job's state at each change."""
    return stream_events(readable_job(request), state(request).keep_alive_s)


JOB = "/api/jobs/{ns}/{job}"
ROUTES = [
    Route("/api/jobs/hardware", hardware),
    Route("/api/jobs/{ns}", submit, methods=["POST"]),
    Route("/api/jobs/{ns}", listing),
    Route(JOB, inspect),
    Route(f"{JOB}/logs", logs),
    Route(f"{JOB}/metrics", metrics),
    Route(f"{JOB}/events", events),
    Route(f"{JOB}/cancel", cancel, methods=["POST"]),
    Route(f"{JOB}/duplicate", duplicate, methods=["POST"]),
    Route(f"{JOB}/labels", labels, methods=["PUT"]),
    Route(f"{JOB}/expose", expose, methods=["PUT"]),
]
