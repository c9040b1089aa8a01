"""The plan: all that is decided before a job starts, and its store on disk."""

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trl_mcp.errors import NotPossible, UnknownPlan
from trl_mcp.estimate.money import ceiling
from trl_mcp.schema import shorten
from trl_mcp.values import Finding, Severity, ToolName

PLAN_SECONDS = 24 * 3600
PLAN_ID = re.compile(r"plan-[0-9a-f]{12}")


class Estimate(BaseModel):
    """What a plan is expected to need: GB at the peak on one device, hours that half and nine in ten runs stay below.

    Hours and USD are None where they are not known; `why` says how the machine was chosen, and what bounds the run.
    `offers` are the flavors on which it fits, each with its ceiling in USD where the timeout is left open.
    """

    model_config = ConfigDict(frozen=True)

    verdict: str
    peak_gb: float
    hours_low: float | None = None
    hours_high: float | None = None
    usd_expected: Decimal | None = None
    why: str = ""
    offers: dict[str, Decimal] = Field(default_factory=dict[str, Decimal])


class Plan(BaseModel):
    """A job that could be started: its script, where and for how long it runs, and what was found.

    `price_micro_usd` is per started minute, None on this machine; `needs_consent` says that it would overwrite
    something; `upload` is a local data file that goes to the Hub when the job starts. `asked` and `wish` are the arguments it was made from, so that start_job can make it again and see what has changed.
    `continues` is the job whose run it goes on with, `after` are local jobs whose models it waits for. `timeout_s` is in seconds, None for no limit.
    Of a caller's script `arguments`, `env` and `image` are what it runs with, and `secrets` the names of those it is given; None for a job that is given what it needs.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    method: str
    run: str
    script: str
    hardware: str
    namespace: str
    timeout_s: int | None
    attempts: int
    recipe: str
    data: str
    facts: dict[str, str]
    asked: dict[str, Any]
    wish: dict[str, Any] = Field(default_factory=dict[str, Any])
    continues: str | None = None
    price_micro_usd: int | None = None
    output_repo: str | None = None
    needs_consent: bool = False
    upload: str | None = None
    estimate: Estimate | None = None
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict[str, str])
    secrets: tuple[str, ...] | None = None
    image: str = ""
    uses_all_devices: bool = False
    after: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def id(self) -> str:
        """The plan's id: equal plans have equal ids."""
        content = self.model_dump_json(exclude={"findings", "estimate"})
        return f"plan-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def usd_ceiling(self) -> Decimal | None:
        """The most the job can cost, in USD; None where it costs nothing."""
        if self.price_micro_usd is None or self.timeout_s is None:
            return None
        return ceiling(self.price_micro_usd, self.timeout_s, self.attempts)

    @property
    def is_refused(self) -> bool:
        """Whether a finding stands in the way of starting it."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def fact_changes(before: Plan, now: Plan) -> list[str]:
    """Return in words which facts have changed since a plan was made, and how often it is tried."""
    found = [
        f"the {name} has changed from {value} to {now.facts.get(name, 'nothing')}"
        for name, value in before.facts.items()
        if now.facts.get(name) != value
    ]
    if before.attempts != now.attempts:
        found.append(f"attempts were {before.attempts} and are {now.attempts}")
    return found


def run_key(identity: Mapping[str, object]) -> str:
    """Return the short hash that names what would be run."""
    canonical = json.dumps(_whole_numbers(identity), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _whole_numbers(value: object) -> object:
    """Return a value in which 3.0 and 3 are the same number."""
    if isinstance(value, Mapping):
        return {name: _whole_numbers(item) for name, item in cast(Mapping[str, object], value).items()}
    if isinstance(value, list | tuple):
        return [_whole_numbers(item) for item in cast(list[object], value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class PlanStore:
    """Plans kept on disk for 24 hours, each caller's apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, plan: Plan, caller: str) -> str:
        """Keep a plan and return its id; plans that are too old are removed. Raises NotPossible."""
        path = self._folder / caller / f"{plan.id}.json"
        staged = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_old()
            staged.write_text(plan.model_dump_json(), encoding="utf-8")
            staged.replace(path)
        except OSError as error:
            raise NotPossible(
                f"The plan could not be kept: {error.strerror}.",
                next_step="Make room or give write access under TRL_MCP_HOME, then call again. Nothing was started.",
            ) from error
        return plan.id

    def load(self, plan_id: str, caller: str) -> Plan:
        """Return a caller's plan. Raises UnknownPlan where there is none or it is too old."""
        path = self._folder / caller / f"{plan_id}.json"
        try:
            if not PLAN_ID.fullmatch(plan_id):
                raise FileNotFoundError
            if time.time() - path.stat().st_mtime > PLAN_SECONDS:
                raise FileNotFoundError
            return Plan.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            raise UnknownPlan(
                f'There is no plan "{shorten(plan_id)}", or it is older than 24 hours.',
                next_step=f"Repeat the dry run: {ToolName.SUBMIT_TRAINING} with dry_run=true. Nothing was started.",
            ) from None

    def _remove_old(self) -> None:
        for path in self._folder.glob("*/plan-*.json"):
            if time.time() - path.stat().st_mtime > PLAN_SECONDS:
                path.unlink(missing_ok=True)
