"""Jobs between this server's words and those of Hugging Face Jobs."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trl_mcp.backends import hf_transport
from trl_mcp.backends.base import SCRIPT, Job, JobSpec, Stage, quiet
from trl_mcp.errors import InvalidArguments
from trl_mcp.hub.fields import dig, moment, string_map, text, whole

BACKEND = "hf"
APP = "trl-mcp"
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
MOUNT = "/trl-mcp"
_LABEL = re.compile(r"[\w-]{0,100}", re.ASCII)
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a job is submitted with besides its specification: the price of its machine, and the bucket if any."""

    price_micro_usd: int
    bucket: str | None


def run_labels(run: str) -> dict[str, str]:
    """Return the labels by which all jobs of a run are found."""
    return {"app": APP, "run": run}


def specification(spec: JobSpec, part: int, offer: Offer, day: datetime) -> dict[str, Any]:
    """Return what is sent to start a job; secrets are in `secrets` only. Raises InvalidArguments."""
    labels = run_labels(spec.run) | {
        "kind": spec.kind,
        "method": spec.method,
        "part": str(part),
        "day": f"{day.astimezone(UTC):%Y-%m-%d}",
        "price_micro_usd": str(offer.price_micro_usd),
        "timeout_s": str(spec.timeout_s or 0),
    }
    _check_labels(labels)
    # What all runs of a namespace keep is not for a caller's script to write to.
    bucket = offer.bucket if spec.kind != SCRIPT else None
    environment = _environment(spec, part, bucket)
    sent: dict[str, Any] = {
        "command": hf_transport.command(spec.script, spec.method, spec.arguments, spec.image),
        "arguments": [],
        "environment": environment,
        "flavor": spec.hardware,
        "dockerImage": spec.image or IMAGE,
        "attempts": spec.attempts,
        "labels": labels,
    }
    if spec.timeout_s:
        sent["timeoutSeconds"] = spec.timeout_s
    if spec.secrets:
        sent["secrets"] = dict(spec.secrets)
    if bucket:
        sent["volumes"] = [{"type": "bucket", "source": bucket, "mountPath": MOUNT, "readOnly": False}]
    return sent


def as_job(raw: object, namespace: str, page: str) -> Job:
    """Return a job as the Hub describes it; what is missing or unknown there is left out."""
    labels, environment = string_map(raw, "labels"), string_map(raw, "environment")
    message = text(raw, "status", "message")
    attempts = whole(raw, "attempts") or 1
    return Job(
        id=text(raw, "id"),
        namespace=text(raw, "owner", "name") or namespace,
        backend=BACKEND,
        kind=labels.get("kind", ""),
        method=labels.get("method", ""),
        run=labels.get("run", ""),
        part=whole(labels, "part") or 0,
        hardware=text(raw, "flavor"),
        stage=_stage(text(raw, "status", "stage")),
        created_at=moment(raw, "createdAt") or _UNKNOWN_TIME,
        message=message,
        started_at=moment(raw, "startedAt"),
        finished_at=moment(raw, "finishedAt"),
        exit_code=_exit_code(message),
        attempt=min((whole(raw, "status", "failureCount") or 0) + 1, attempts),
        attempts=attempts,
        timeout_s=whole(raw, "timeout") or whole(raw, "timeoutSeconds") or whole(labels, "timeout_s") or None,
        run_tag=environment.get("TRL_MCP_RUN_TAG", ""),
        url=page,
        price_micro_usd_per_minute=whole(labels, "price_micro_usd"),
        queued_s=whole(raw, "durations", "schedulingSecs"),
        running_s=whole(raw, "durations", "runningSecs"),
        output_repo=environment.get("TRL_MCP_OUTPUT_REPO", ""),
    )


def script_of(raw: object) -> str:
    """Return the script of a job as the Hub describes it. Raises NotPossible where it carries none."""
    return hf_transport.decode(string_map(dig(raw, "environment")))


def _environment(spec: JobSpec, part: int, bucket: str | None) -> dict[str, str]:
    own = {
        hf_transport.VARIABLE: hf_transport.encode(spec.script),
        "TRL_MCP_RUN_TAG": secrets.token_hex(8),
        "TRL_MCP_PART": str(part),
        "TRL_MCP_OUTPUT": f"{hf_transport.folder(spec.script)}/output",
    }
    if bucket:
        own["TRL_MCP_RUN_FOLDER"] = f"{MOUNT}/runs/{spec.run}"
        # Training writes here; whole checkpoints are copied to the bucket, which takes files only in one go.
        own["TRL_MCP_WORK_FOLDER"] = "/tmp/trl-mcp-work"  # noqa: S108 # of a machine that runs this only
    if spec.output_repo:
        own["TRL_MCP_OUTPUT_REPO"] = spec.output_repo
    environment = quiet(spec.kind) | dict(spec.env) | own
    for value in filter(None, spec.secrets.values()):
        if any(value in given for given in environment.values()):
            raise InvalidArguments(
                "A secret's value stands in the environment of the job, which others may read.",
                next_step="Give it among the secrets only. Nothing was started.",
            )
    return environment


def _check_labels(labels: dict[str, str]) -> None:
    for name, value in labels.items():
        if not _LABEL.fullmatch(value):
            raise InvalidArguments(f"{name} cannot be {value[:80]!a}: a label has up to 100 letters, digits, - and _.")


def _stage(name: str) -> Stage:
    """Return the stage of that name; one that is not known yet is taken for one on its way."""
    return Stage(name) if name in Stage.__members__ else Stage.SCHEDULING


def _exit_code(message: str) -> int | None:
    found = _EXIT_CODE.search(message)
    return int(found.group(1)) if found else None
