"""What is to be converted -> plan: the model looked at by its configs alone, the machine chosen by its size."""

import re
from dataclasses import asdict, dataclass, replace

from trl_mcp.errors import HubUnreachable, InvalidArguments
from trl_mcp.estimate.conversion import ConversionSize
from trl_mcp.hub.values import OutputRepo
from trl_mcp.plan.convertible import Convertible, inspect_convertible
from trl_mcp.plan.outputs import is_foreign, output_repo, repo_fact, repo_findings
from trl_mcp.plan.place import LOCAL, Gathering, Place, Wish, find_place, price_list
from trl_mcp.plan.plan import Plan, run_key
from trl_mcp.recipes.gguf import checked_quantizations, conversion_findings
from trl_mcp.recipes.recipe import RECIPE_VERSION
from trl_mcp.recipes.references import ModelReference, model_reference
from trl_mcp.render.script import header_of, job_table, read_run, render, with_job_table
from trl_mcp.render.templates import template_source
from trl_mcp.values import Finding, Flavor, Severity

METHOD = "convert_gguf"
KIND = "conversion"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ConversionAsked:
    """What was asked of a conversion, apart from where it runs; `made_by` is the run key of the job that made the model."""

    model: str
    quantizations: tuple[str, ...]
    base_model: str | None = None
    made_by: str = ""


async def plan_conversion(asked: ConversionAsked, wish: Wish, gathering: Gathering, attempts: int) -> Plan:
    """Return the plan of a conversion, with every finding. Starts nothing.

    Raises InvalidArguments, NotFound, HubError for arguments that cannot be understood or name what does not exist.
    """
    quantizations = checked_quantizations(asked.quantizations)
    asked = replace(asked, quantizations=quantizations)
    found = await _look(asked, wish, gathering)
    size = ConversionSize(found.parameters, found.bytes_each, quantizations, found.base is not None)
    place = await _find_place(size, wish, gathering, attempts)
    _check_can_travel(found, place)
    key = run_key(_identity(asked, found, quantizations, place))
    name = file_stem(found.reference)
    repo = await output_repo(place, f"{name}-GGUF-{key}", gathering)
    run = _run_values(found, quantizations, key, name) | _where_to(repo, place, key)
    header = header_of(template_source(METHOD))
    if not place.is_local:
        header = with_job_table(header, job_table(place.hardware, place.timeout_s, place.namespace))
    return Plan(
        kind=KIND,
        method=METHOD,
        run=key,
        script=render(METHOD, run, header),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        recipe=_recipe_line(found, quantizations),
        data=_size_line(size),
        facts={"model": found.fingerprint} | place.price_fact | repo_fact(repo, key),
        asked=asdict(asked),
        wish=asdict(wish),
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        output_repo=repo.id if repo else None,
        needs_consent=is_foreign(repo, key),
        findings=(
            *_model_findings(found),
            *_room_findings(size, place),
            *repo_findings(place, repo, key),
        ),
    )


async def _look(asked: ConversionAsked, wish: Wish, gathering: Gathering) -> Convertible:
    """Return what is known of the model; for a local job that the Hub cannot be asked for, only its name."""
    try:
        return await inspect_convertible(asked.model, asked.base_model, gathering)
    except HubUnreachable:
        reference = model_reference(asked.model)
        may_pay = bool(gathering.token) and not gathering.is_offline
        if wish.hardware != LOCAL and (may_pay or wish.hardware != "auto"):
            raise
        base = model_reference(asked.base_model) if asked.base_model else None
        return Convertible(reference, f"{reference.id}@{reference.revision or 'main'}", base)


async def _find_place(size: ConversionSize, wish: Wish, gathering: Gathering, attempts: int) -> Place:
    """Return where the job runs: by "auto" on this machine without a token, else on the cheapest flavor with room."""
    asked = wish.hardware
    if gathering.token and not gathering.is_offline and asked != LOCAL:
        flavors, _ = await gathering.hub.flavors(gathering.token)
        if asked == "auto":
            wish = replace(wish, hardware=_cheapest(size, flavors).name)
        flavor = next((each for each in flavors if each.name == wish.hardware), None)
        if flavor is not None and wish.timeout == "auto":
            wish = replace(wish, timeout=f"{size.timeout_s(flavor.vcpu)}s")
    place = await find_place(wish, gathering, attempts)
    return replace(place, hardware_asked=asked)


def _cheapest(size: ConversionSize, flavors: list[Flavor]) -> Flavor:
    """Return the flavor at which the whole job costs least. Raises InvalidArguments where none has room."""
    fitting = [flavor for flavor in flavors if not _lacks(size, flavor)]
    if not fitting:
        raise InvalidArguments(
            f"No flavor has the room to convert this model: {_needs(size)}.",
            allowed=f"On offer: {price_list(flavors)}.",
            next_step="Convert it on a machine of your own. Nothing was started.",
        )
    return min(fitting, key=lambda flavor: flavor.micro_usd_per_minute * size.timeout_s(flavor.vcpu))


def _lacks(size: ConversionSize, flavor: Flavor) -> list[str]:
    """Return of what a flavor has too little, in words."""
    wants = {"memory": (size.ram_bytes, flavor.ram_gb), "disk": (size.disk_bytes(keeps_files=False), flavor.disk_gb)}
    return [
        f"{need / 1e9:.0f} GB of {what}, and {flavor.name} has {offer:.0f} GB"
        for what, (need, offer) in wants.items()
        if need > offer * 1e9
    ]


def _needs(size: ConversionSize) -> str:
    disk = size.disk_bytes(keeps_files=False)
    return f"it takes {size.ram_bytes / 1e9:.0f} GB of memory and {disk / 1e9:.0f} GB of disk"


def _room_findings(size: ConversionSize, place: Place) -> list[Finding]:
    if place.flavor is None or not (lacking := _lacks(size, place.flavor)):
        return []
    message = f"The conversion takes {' and '.join(lacking)}."
    return [Finding("gguf.room", Severity.ERROR, message, 'Use hardware="auto", which takes the cheapest with room.')]


def _check_can_travel(found: Convertible, place: Place) -> None:
    """Raise InvalidArguments, with the upload to make, for a folder that a paid job would need."""
    folders = [each for each in (found.reference, found.base) if each is not None and each.is_folder]
    if place.is_local or not folders:
        return
    name = _UNFIT.sub("-", folders[0].short_name).strip("-.")
    raise InvalidArguments(
        f'The model folder "{folders[0].short_name}" lies on this machine; a paid job cannot see it.',
        next_step=f"Upload it with `hf upload {place.namespace}/{name} FOLDER --private` and give {place.namespace}/{name}, "
        'or use hardware="local". Nothing was started.',
    )


def _identity(
    asked: ConversionAsked, found: Convertible, quantizations: tuple[str, ...], place: Place
) -> dict[str, object]:
    """Return what a run key says of a conversion."""
    named: dict[str, object] = {"output_repo": place.output_repo} if place.output_repo else {}
    return {
        "recipe_version": RECIPE_VERSION,
        "method": METHOD,
        "model": f"run {asked.made_by}" if asked.made_by else found.fingerprint,
        "quantizations": sorted(quantizations),
        "namespace": place.namespace,
        "hardware": place.hardware_asked,
        **named,
    }


def file_stem(reference: ModelReference) -> str:
    """Return what the files of a model are called, apart from their type."""
    return _UNFIT.sub("-", reference.short_name).strip("-.") or "model"


def _run_values(found: Convertible, quantizations: tuple[str, ...], key: str, name: str) -> dict[str, object]:
    base = found.base
    return {
        "recipe_version": RECIPE_VERSION,
        "method": METHOD,
        "run_key": key,
        "model": found.reference.id,
        "model_revision": found.reference.revision,
        "base_model": base.id if base else None,
        "base_revision": base.revision if base else None,
        "name": name,
        "quantizations": list(quantizations),
        "questions": read_run(template_source(METHOD))["questions"],
        "output_repo": None,
        "private": True,
        "overwrite": False,
    }


def _where_to(repo: OutputRepo | None, place: Place, key: str) -> dict[str, object]:
    if repo is None:
        return {}
    return {"output_repo": repo.id, "private": place.private, "overwrite": is_foreign(repo, key)}


def _model_findings(found: Convertible) -> list[Finding]:
    """Return what the configs say against a conversion."""
    name = (found.base or found.reference).short_name
    findings: list[Finding] = []
    if found.peft_type not in ("", "LORA"):
        message = f"{found.reference.short_name} is an adapter of type {found.peft_type}; only LoRA can be merged."
        findings.append(
            Finding("gguf.adapter", Severity.ERROR, message, "Merge it yourself and convert the whole model.")
        )
    if found.tokens > found.rows > 0:
        message = f"The tokenizer of {name} has {found.tokens} tokens and the model {found.rows} embeddings."
        fix = "Take the tokenizer that the model was trained with, or resize the embeddings and train them."
        findings.append(Finding("gguf.vocabulary", Severity.ERROR, message, fix))
    if not found.config:
        message = f"{name} was not looked at; the job checks it before it downloads the weights."
        return [*findings, Finding("model.unchecked", Severity.INFO, message)]
    return [*findings, *conversion_findings(name, found.config)]


def _recipe_line(found: Convertible, quantizations: tuple[str, ...]) -> str:
    what = f"{found.reference.short_name} on {found.base.short_name}" if found.base else found.reference.short_name
    billions = f" ({found.parameters / 1e9:.3g} B parameters)" if found.parameters else ""
    return f"{what}{billions} as {', '.join(quantizations)}; each file verified against the original"


def _size_line(size: ConversionSize) -> str:
    if not size.parameters:
        return "size not known"
    return f"files of about {size.files_bytes / 1e9:.2g} GB; {_needs(size)}"
