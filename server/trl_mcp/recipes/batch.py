"""The batch: what of it a device sees at once, and how many such parts make a step of the optimizer."""

import math
from collections.abc import Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.method import Method
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.recipes.trainer_arguments import argument_table

_LARGEST_DEVICE_BATCH = 8
_ALONE = "apo_zero_unpaired"


def split_batch(method: Method, tuning: str, asked: int | None, config: dict[str, object]) -> int:
    """Write device batch and accumulation into the config and return the rows (or prompts) of an optimizer step.

    The device batch is the largest divisor of the batch up to 8, until memory tells another (`split_as`). A method that
    compares the answers to one prompt counts its batch in prompts and a device's in answers. Raises InvalidArguments
    with the numbers that work.
    """
    device, steps = (cast(int | None, config.get(name)) for name in (DEVICE_BATCH, ACCUMULATION))
    for name, number in (("batch_size", asked), (DEVICE_BATCH, device), (ACCUMULATION, steps)):
        if number is not None and number < 1:
            raise InvalidArguments(
                f"{name} is {number}; it is a whole number from 1.", next_step="Nothing was started."
            )
    group = group_size(method, config)
    rows = _rows(method, tuning, (asked, device, steps), group)
    device = device or (rows // steps if steps else _device_batch(method, rows, config))
    steps = steps or max(1, rows // device)
    _check_split(method, rows, group, (device, steps))
    _check_least(method, device, config)
    config |= {DEVICE_BATCH: device, ACCUMULATION: steps}
    _check_generation(method, config, group)
    return rows // group


def split_as(method: Method, config: Mapping[str, object], device: int, accumulation: int) -> dict[str, object]:
    """Return the config with another split of its batch. Raises InvalidArguments where the method cannot take it."""
    changed = {**config, DEVICE_BATCH: device, ACCUMULATION: accumulation}
    _check_least(method, device, changed)
    _check_generation(method, changed, group_size(method, changed))
    faults = [fault for rule in method.rules if (fault := rule(changed)) is not None]
    if faults:
        raise InvalidArguments(" ".join(faults), next_step="Nothing was started.")
    return changed


def group_size(method: Method, config: Mapping[str, object]) -> int:
    """Return how many answers to one prompt a step compares; 1 for a method that learns from rows as they are."""
    if not method.answers_in_groups:
        return 1
    count = cast(int, config.get("num_generations", argument_table(method.config_name)["num_generations"].default))
    if count < 2:
        raise InvalidArguments(
            f"num_generations cannot be {count}: {method.name} compares at least 2 answers to each prompt.",
            next_step="Nothing was started.",
        )
    return count


def _rows(method: Method, tuning: str, given: tuple[int | None, int | None, int | None], group: int) -> int:
    """Return how many rows make a step, from what is given of batch, device batch and accumulation."""
    batch, device, steps = given
    if batch is not None:
        return batch * group
    if device and steps:
        return device * steps
    default = method.default("batch_size", tuning)
    rows = cast(int, default.value if default else _LARGEST_DEVICE_BATCH) * group
    return math.lcm(device, group) if device and device > rows else rows


def _device_batch(method: Method, rows: int, config: Mapping[str, object]) -> int:
    least = least_device_batch(method, config)
    divisors = [size for size in range(1, rows + 1) if rows % size == 0 and size >= least]
    small = [size for size in divisors if size <= _LARGEST_DEVICE_BATCH]
    return small[-1] if small else divisors[0] if divisors else rows


def least_device_batch(method: Method, config: Mapping[str, object]) -> int:
    """Return how many rows a device must see at once: some losses compare each row with others."""
    return 1 if config.get("loss_type") == _ALONE else method.least_device_batch


def _check_split(method: Method, rows: int, group: int, split: tuple[int, int]) -> None:
    device, steps = split
    if device * steps == rows and rows % group == 0:
        return
    parts = f"{DEVICE_BATCH} {device} x {ACCUMULATION} {steps}"
    if device * steps != rows:
        answers = f" ({rows} answers at num_generations {group})" if group > 1 else ""
        raise InvalidArguments(
            f"batch_size {rows // group}{answers} is not {parts}.",
            next_step="Give batch_size alone: the split follows from it. Nothing was started.",
        )
    fitting = [count for count in range(2, rows + 1) if rows % count == 0]
    instead = f"num_generations {' or '.join(map(str, fitting))}, or " if fitting else ""
    missing = group // math.gcd(device, group)
    raise InvalidArguments(
        f"{parts} makes {rows} answers, which {method.name} cannot divide into groups of num_generations {group}.",
        allowed=f"What works: {instead}{ACCUMULATION} {missing} or a multiple of it.",
        next_step="Or give batch_size alone: the split follows from it. Nothing was started.",
    )


def _check_least(method: Method, device: int, config: Mapping[str, object]) -> None:
    least = least_device_batch(method, config)
    if device < least:
        raise InvalidArguments(
            f"{DEVICE_BATCH} cannot be {device}: {method.name} compares each row with others in the batch, at least "
            f"{least}.",
            next_step=f"Set batch_size to {least} or more, or loss_type={_ALONE}. Nothing was started.",
        )


def _check_generation(method: Method, config: dict[str, object], group: int) -> None:
    """Refuse generation batches that hold half a group, and make those of the evaluation whole."""
    if group == 1:
        return
    device, per = cast(int, config[DEVICE_BATCH]), cast(int | None, config.get("steps_per_generation"))
    batch = cast(int | None, config.get("generation_batch_size")) or (device * per if per else None)
    least = math.lcm(device, group)
    if batch is not None and batch % least:
        name = "steps_per_generation" if per else "generation_batch_size"
        works = least // device if per else least
        raise InvalidArguments(
            f"{name} {per or batch} makes {batch} answers at a time, which are no whole groups of num_generations "
            f"{group}.",
            allowed=f"What works: {works} or a multiple of it.",
            next_step="Or leave it out. Nothing was started.",
        )
    if config.get("eval_strategy", "no") != "no":
        _check_evaluation(method, config, group)


def _check_evaluation(method: Method, config: dict[str, object], group: int) -> None:
    answers = cast(int, config.get("num_generations_eval") or group)
    rows = cast(int, config.setdefault("per_device_eval_batch_size", answers))
    if rows % answers:
        raise InvalidArguments(
            f"per_device_eval_batch_size cannot be {rows}: {method.name} compares {answers} answers to a prompt.",
            allowed=f"What works: {answers} or a multiple of it.",
            next_step="Or leave it out. Nothing was started.",
        )
