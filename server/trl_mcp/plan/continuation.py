"""A job -> the plan that goes on with it, or runs it again. The job's own script is used; only RUN changes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from trl_mcp.backends.base import SCRIPT, Job, Stage
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.plan.machines import check_move
from trl_mcp.plan.place import Place
from trl_mcp.plan.plan import Plan
from trl_mcp.plan.script import plan_fields, settings_of, with_settings
from trl_mcp.recipes.extras import image
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.names import CONTINUABLE
from trl_mcp.recipes.recipe import check_ranges, one_line
from trl_mcp.recipes.trainer_arguments import check_trainer_arguments
from trl_mcp.render.script import job_table, read_run, replace_run, with_job_table

_RERUN = re.compile(r"([0-9a-f]{12})(?:r(\d+))?")
_ONLY_LARGER = ("num_train_epochs", "max_steps")


def plan_continuation(job: Job, script: str, given: Mapping[str, object], place: Place) -> Plan:
    """Return the plan of a job's next part (it failed, was cancelled or timed out) or of its run anew (it completed).

    Raises InvalidArguments for a trainer argument that may not change any more, NotFound where what it reads is gone.
    """
    run = read_run(script) if job.kind in ("training", "conversion") else {}
    config = _changed_config(run, given)
    key = next_run_key(job.run) if job.stage is Stage.COMPLETED else job.run
    for name in ("model", "dataset"):
        _check_still_there(name, str(run.get(name, "")))
    repo = _next_repo(run, job.run, key)
    if job.kind == SCRIPT:
        return _script_again(job, script, key, place)
    strategy = cast(str | None, run.get("strategy"))
    needed = "" if place.is_local else image(config, strategy)
    if place.flavor is not None:
        before = next((each for each in place.candidates if each.name == job.hardware), None)
        check_move(strategy, config, before if job.stage is not Stage.COMPLETED else None, place.flavor)
    if run:
        script = replace_run(script, run | {"run_key": key} | ({"config": config} if "config" in run else {}) | repo)
    if not place.is_local:
        script = with_job_table(script, job_table(place.hardware, place.timeout_s, place.namespace, needed))
    verb = "again" if job.stage is Stage.COMPLETED else "continued"
    changed = ", ".join(f"{name} {value}" for name, value in config.items() if _config(run).get(name) != value)
    return Plan(
        kind=job.kind,
        method=job.method,
        run=key,
        script=script,
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        output_repo=cast(str | None, repo.get("output_repo", run.get("output_repo"))),
        recipe=f"{job.id} {verb}, {f'with {changed}' if changed else 'nothing changed'}: {_line(run, config)}",
        data=f"as in {job.id}",
        facts=place.price_fact,
        asked={},
        continues=job.id,
        image=needed,
    )


def _script_again(job: Job, script: str, key: str, place: Place) -> Plan:
    """Return the plan of a caller's script from its beginning: of what it has saved, nothing is known here."""
    given = settings_of(script)
    return Plan(
        kind=job.kind,
        method=job.method,
        run=key,
        script=with_settings(script, given, place),
        hardware=place.hardware,
        namespace=place.namespace,
        timeout_s=place.timeout_s,
        attempts=place.attempts,
        price_micro_usd=place.flavor.micro_usd_per_minute if place.flavor else None,
        recipe=f"{job.id} again from its beginning: the same script, arguments, env, secrets and image",
        data=f"as in {job.id}",
        facts=place.price_fact,
        asked={},
        continues=job.id,
    ).model_copy(update=plan_fields(given))


def _next_repo(run: Mapping[str, object], key_before: str, key: str) -> dict[str, object]:
    """Return where a run anew puts its model: beside the first where the name had the run key, else over it."""
    repo = run.get("output_repo")
    if key == key_before or not isinstance(repo, str):
        return {}
    if repo.endswith(f"-{key_before}"):
        return {"output_repo": repo.removesuffix(key_before) + key}
    return {"overwrite": True}


def _line(run: dict[str, object], config: Mapping[str, object]) -> str:
    if "config" not in run:
        return "the same script"
    return one_line(run | {"config": config}, Path(str(run["model"])).name)


def next_run_key(key: str) -> str:
    """Return the key of a completed job's next run: the key with its counter raised by one."""
    found = _RERUN.fullmatch(key)
    if found is None:
        raise ValueError(f"{key} is no run key")
    return f"{found.group(1)}r{int(found.group(2) or 0) + 1}"


def _config(run: Mapping[str, object]) -> dict[str, object]:
    return cast(dict[str, object], run.get("config", {}))


def _changed_config(run: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    before = _config(run)
    if not given:
        return before
    if "config" not in run:
        raise InvalidArguments(
            "This job is no training; it has no trainer arguments.", next_step="Leave them out. Nothing was started."
        )
    checked = check_trainer_arguments(METHODS[str(run["method"])].config_name, given)
    refused = sorted({*checked.config, *checked.lora} - CONTINUABLE)
    if refused:
        raise InvalidArguments(
            f"{', '.join(refused)} cannot change in a run that goes on.",
            allowed=f"What may change: {', '.join(sorted(CONTINUABLE))}.",
            next_step="For anything else submit a new training. Nothing was started.",
        )
    for name in _ONLY_LARGER:
        new, old = checked.config.get(name), before.get(name)
        if isinstance(new, (int, float)) and isinstance(old, (int, float)) and new < old:
            raise InvalidArguments(
                f"{name} was {old} and can only become larger, not {new}.", next_step="Nothing was started."
            )
    check_ranges(checked.config)
    return _same_batch(before, checked.config)


def _same_batch(before: dict[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """Return the config with the other half of the batch split adjusted, so that a step sees as many rows as before."""
    device, steps = "per_device_train_batch_size", "gradient_accumulation_steps"
    batch = cast(int, before[device]) * cast(int, before[steps])
    after = {**before, **given}
    changed, other = (device, steps) if device in given else (steps, device)
    if changed in given and other not in given:
        size = cast(int, after[changed])
        if size < 1 or batch % size:
            raise InvalidArguments(
                f"{changed} cannot be {size}: it must divide the batch size, {batch}.", next_step="Nothing was started."
            )
        after = after | {other: batch // size}
    if cast(int, after[device]) < 1 or cast(int, after[device]) * cast(int, after[steps]) != batch:
        raise InvalidArguments(
            f"{device} x {steps} must stay the batch size, {batch}.", next_step="Nothing was started."
        )
    return after


def _check_still_there(argument: str, reference: str) -> None:
    path = Path(reference)
    if path.is_absolute() and not path.exists():
        raise NotFound(
            f'The {argument} of this job, "{path.name}", is no longer where it was.',
            next_step="Put it back, or submit a new training. Nothing was started.",
        )
