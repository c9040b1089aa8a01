"""A caller's script -> plan: its text and header completed, what it is given and what it is not, where it runs."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from trl_mcp.backends.base import SCRIPT
from trl_mcp.data.checks import SECRET
from trl_mcp.environments import made
from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.place import AUTO, LOCAL, Gathering, Place, Wish, find_place
from trl_mcp.plan.plan import Plan, fact_changes, run_key
from trl_mcp.plan.script_packages import check_packages
from trl_mcp.plan.timeouts import timeout_seconds
from trl_mcp.recipes.recipe import RECIPE_VERSION
from trl_mcp.recipes.script import TOKEN, ScriptAsked, check_values, checked_script
from trl_mcp.recipes.script_header import (
    JobTable,
    ScriptHeader,
    checked_requirements,
    complete_header,
    read_script_header,
    without_job_table,
)
from trl_mcp.render.script import with_script_table
from trl_mcp.schema import shorten
from trl_mcp.settings import Settings
from trl_mcp.values import Finding, Severity

KIND = METHOD = SCRIPT
_ARGUMENTS = "TRL_MCP_ARGUMENTS"
_NAME = "TRL_MCP_NAME"
_OURS = "TRL_MCP_"
_SHORTEST_SECRET = 8
_KEEPS = re.compile(r"push_to_hub|upload_(?:file|folder|large_folder)|create_commit|hf upload|save_to_hub|HfFileSystem")
_LAUNCHES = re.compile(
    r"torchrun|torch\.distributed\.(?:run|launch)|accelerate[ .\w]*launch|deepspeed |mp\.spawn|device_map|vllm"
)
_LONGEST_LIST = 300


@dataclass(frozen=True, slots=True)
class ScriptSettings:
    """What a script runs with beside its text; its own table says the same, so that a job can be run again."""

    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    image: str = ""
    name: str = ""


async def plan_script(
    asked: ScriptAsked, wish: Wish, gathering: Gathering, settings: Settings, *, is_agreed: bool = False
) -> Plan:
    """Return the plan of a caller's script, with every finding. Starts nothing.

    The packages of a plan that is agreed on are not resolved again. Raises InvalidArguments, HubError for arguments that
    cannot be understood or name what does not exist.
    """
    text, syntax = checked_script(asked.script)
    header = read_script_header(text)
    completed, wish = _with_table(asked, header.table, wish)
    check_values(completed)
    check_no_secrets(completed, [gathering.token or "", *settings.secret_values.values()])
    place = await _find_place(completed, wish, gathering, settings)
    bare = complete_header(without_job_table(text), checked_requirements(asked.dependencies, "dependencies"))
    full = read_script_header(bare)
    is_made = place.is_local and made(bare, settings.home, settings.environ) is not None
    is_known = is_agreed or is_made
    packages = [] if is_known else await check_packages(full, settings.environ, is_local=place.is_local)
    given = ScriptSettings(
        tuple(completed.script_args), dict(completed.env), tuple(completed.secrets), completed.image, completed.name
    )
    return Plan(
        kind=KIND,
        method=METHOD,
        run=run_key(_identity(bare, given, place)),
        script=with_settings(bare, given, place),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        recipe=_recipe_line(completed, full),
        data="the script reads its own",
        facts=place.price_fact | secret_facts(given.secrets, gathering.token, settings),
        asked=asdict(asked),
        wish=asdict(wish),
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        uses_all_devices=place.is_local and _LAUNCHES.search(bare) is not None,
        findings=(
            *syntax,
            *packages,
            *_table_findings(asked, header.table, place),
            *permission_findings(given.secrets, place, gathering.token, settings),
            *_paid_findings(bare, given, place),
        ),
    ).model_copy(update=plan_fields(given))


def plan_fields(given: ScriptSettings) -> dict[str, object]:
    """Return what a plan says of the settings of its script."""
    names = {_NAME: given.name} if given.name else {}
    return {
        "arguments": given.arguments,
        "env": {**given.env, **names},
        "secrets": given.secrets,
        "image": given.image,
    }


def settings_of(script: str) -> ScriptSettings:
    """Return what a job's script ran with, read back from its table."""
    table = read_script_header(script).table
    arguments = json.loads(table.env.get(_ARGUMENTS, "[]"))
    env = {name: value for name, value in table.env.items() if not name.startswith(_OURS)}
    return ScriptSettings(tuple(arguments), env, table.secrets, table.image, table.name)


def with_settings(script: str, given: ScriptSettings, place: Place) -> str:
    """Return a script whose `[tool.hf-jobs]` table says what it runs with, and where."""
    arguments = {_ARGUMENTS: json.dumps(list(given.arguments), ensure_ascii=False)} if given.arguments else {}
    paid = {"flavor": place.hardware, "namespace": place.namespace, "timeout": str(place.timeout_s)}
    values: dict[str, object] = {
        **({} if place.is_local else paid),
        "image": given.image,
        "name": given.name,
        "secrets": list(given.secrets),
        "env": dict(sorted({**given.env, **arguments}.items())),
    }
    return with_script_table(without_job_table(script), {name: value for name, value in values.items() if value})


def script_changes(before: Plan, now: Plan) -> list[str]:
    """Return in words what has changed since the plan of a script was made."""
    found = fact_changes(before, now)
    if not found and before.script != now.script:
        found.append("the script that this version of the server makes has changed")
    return found


def check_no_secrets(asked: ScriptAsked, known: Sequence[str]) -> None:
    """Raise InvalidArguments where a secret stands in what others can read; `known` are the server's own."""
    places = {
        "The script": [asked.script],
        "script_args": asked.script_args,
        "env": asked.env.values(),
        "dependencies": asked.dependencies,
        "name": [asked.name],
    }
    for where, texts in places.items():
        for text in texts:
            if SECRET.search(text) or any(each in text for each in known if len(each) >= _SHORTEST_SECRET):
                raise InvalidArguments(
                    f"{where} holds what looks like a token or key; it would be kept with the job, for others to read.",
                    allowed='The script reads it from its environment, and secrets=["NAME"] puts it there.',
                    next_step="If it is a real one, revoke it. Nothing was started.",
                )


def permission_findings(names: Sequence[str], place: Place, token: str | None, settings: Settings) -> list[Finding]:
    """Return an error where the token may not run jobs, and for each secret that the operator does not hand on."""
    found: list[Finding] = []
    if place.identity is not None and (reason := place.identity.why_no_jobs(place.namespace)):
        found.append(Finding("auth.jobs", Severity.ERROR, reason))
    there = secret_values(names, token, settings)
    for name in names:
        if name in there:
            continue
        if name not in settings.secrets:
            listed = ",".join((*settings.secrets, name))
            message = f"The operator does not let jobs have the secret {name}."
            fix = f"Let the operator set TRL_MCP_SECRETS={listed} and {name} for the server, or leave it out."
        else:
            message = f"{name} is not set for the server, so no job can be given it."
            fix = f"Let the operator set {name} for the server, or leave it out."
        found.append(Finding("auth.secret", Severity.ERROR, message, fix))
    return found


def secret_facts(names: Sequence[str], token: str | None, settings: Settings) -> dict[str, str]:
    """Return which secrets can be handed on, as facts that a plan is made on."""
    there = secret_values(names, token, settings)
    return {f"secret {name}": "one that jobs are given" if name in there else "one that they are not" for name in names}


def secret_values(names: Sequence[str], token: str | None, settings: Settings) -> dict[str, str]:
    """Return the values of these secrets, of those that the operator hands on; HF_TOKEN is the caller's own."""
    own = {TOKEN: token} if token and TOKEN in settings.secrets else {}
    known = settings.secret_values | own
    return {name: known[name] for name in names if name in known}


def _with_table(asked: ScriptAsked, table: JobTable, wish: Wish) -> tuple[ScriptAsked, Wish]:
    """Return what was asked with what the script's own table says beside; what the call says wins.

    What somebody else has written names no secrets and nobody to pay.
    """
    if asked.is_from_web:
        table = replace(table, secrets=(), namespace="")
    env = {name: value for name, value in table.env.items() if not name.startswith(_OURS)} | dict(asked.env)
    is_local = wish.hardware == LOCAL
    completed = replace(
        asked,
        env=env,
        secrets=tuple(dict.fromkeys((*asked.secrets, *table.secrets))),
        image=asked.image or ("" if is_local else table.image),
        name=asked.name or table.name,
    )
    return completed, wish if is_local else replace(wish, namespace=wish.namespace or table.namespace or None)


async def _find_place(asked: ScriptAsked, wish: Wish, gathering: Gathering, settings: Settings) -> Place:
    if wish.hardware == AUTO:
        raise InvalidArguments(
            "What a script needs is not known here, so no hardware can be chosen for it.",
            allowed="hardware is local, or a flavor of Hugging Face Jobs: hardware://all lists them with their prices.",
            next_step="Nothing was started.",
        )
    if timeout_seconds(wish.timeout) is None:
        raise InvalidArguments(
            "How long a script takes is not known here, so its timeout is needed.",
            allowed="It is a time such as 90m, 2h or 1d; the job is stopped then.",
            next_step="Nothing was started.",
        )
    if asked.image and wish.hardware == LOCAL:
        raise InvalidArguments(
            "image is for Hugging Face Jobs; on this machine a script runs in an environment made from its header.",
            next_step="Leave it out, or name a flavor as hardware. Nothing was started.",
        )
    return await find_place(wish, gathering, settings.attempts)


def _identity(text: str, given: ScriptSettings, place: Place) -> dict[str, object]:
    """Return what a run key says of a script."""
    return {
        "recipe_version": RECIPE_VERSION,
        "method": METHOD,
        "script": hashlib.sha256(text.encode()).hexdigest(),
        "arguments": list(given.arguments),
        "env": dict(given.env),
        "secrets": sorted(given.secrets),
        "image": given.image,
        "namespace": place.namespace,
        "hardware": place.hardware,
    }


def _table_findings(asked: ScriptAsked, table: JobTable, place: Place) -> list[Finding]:
    """Return what of the script's own table is used, and what is not."""
    named = [each for each in table.secrets if each not in asked.secrets]
    used = [
        f"{name} {value}"
        for name, value, given in (
            ("image", "" if place.is_local else table.image, asked.image),
            ("name", table.name, asked.name),
            ("env", ", ".join(each for each in table.env if each not in asked.env and not each.startswith(_OURS)), ""),
            ("secrets", "" if asked.is_from_web else ", ".join(named), ""),
        )
        if value and not given
    ]
    found: list[Finding] = []
    if used:
        found.append(Finding("script.table", Severity.INFO, f"[tool.hf-jobs] of the script adds {'; '.join(used)}."))
    if named and asked.is_from_web:
        message = f"The script asks for {', '.join(named)}; one from the web is given what the call names, and no more."
        fix = f"If it is to be trusted with that: secrets={json.dumps([*asked.secrets, *named])}."
        found.append(Finding("script.secrets", Severity.WARNING, message, fix))
    if table.unused:
        message = f"[tool.hf-jobs] of the script says {', '.join(table.unused)}, which play no part here."
        found.append(Finding("script.unused", Severity.WARNING, message, "See that the script can do without."))
    return found


def _paid_findings(text: str, given: ScriptSettings, place: Place) -> list[Finding]:
    """Return what costs money for nothing: a result that nobody keeps, GPUs that nobody uses."""
    if place.flavor is None:
        return []
    found: list[Finding] = []
    if TOKEN not in given.secrets and not given.secrets:
        message = "The job has no secret to push with: what the script writes is lost when it ends; only its log stays."
        fix = f'If it makes something to keep: secrets=["{TOKEN}"], and let it push, for TRL with --push_to_hub.'
        found.append(Finding("script.not_pushed", Severity.WARNING, message, fix))
    elif set(given.secrets) <= {TOKEN} and not _KEEPS.search(" ".join([text, *given.arguments])):
        message = "The script does not seem to push or upload anything: what it writes is lost when the job ends."
        found.append(Finding("script.not_pushed", Severity.WARNING, message, "Let it push what is to be kept."))
    if place.flavor.gpu_count > 1 and not _LAUNCHES.search(" ".join([text, *given.arguments])):
        message = f"{place.hardware} has {place.flavor.gpu_count} GPUs, and the script is started as one process."
        fix = "Let it start itself again with torchrun or accelerate, or choose a flavor with one GPU."
        found.append(Finding("script.one_process", Severity.WARNING, message, fix))
    return found


def _recipe_line(asked: ScriptAsked, header: ScriptHeader) -> str:
    file = PurePosixPath(urlsplit(asked.source).path).name
    digest = hashlib.sha256(asked.script.encode()).hexdigest()[:16]
    lines = len(asked.script.splitlines())
    parts = (
        f"script {asked.name or file}".rstrip(),
        f"{lines} line{'' if lines == 1 else 's'}, sha256 {digest}{f' from {asked.source}' if asked.source else ''}",
        f"packages {shorten(', '.join(header.dependencies), _LONGEST_LIST)}" if header.dependencies else "no packages",
        f"Python {header.requires_python}",
        f"arguments {shorten(shlex.join(asked.script_args), _LONGEST_LIST)}" if asked.script_args else "no arguments",
        f"env {', '.join(asked.env)}" if asked.env else "",
        f"secrets {', '.join(asked.secrets)}" if asked.secrets else "no secrets",
        f"image {asked.image}" if asked.image else "",
    )
    return "; ".join(part for part in parts if part)
