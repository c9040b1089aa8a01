"""The check of trainer arguments against the tables generated from the pinned TRL."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn, cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.method import CURRENT_TRL
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.names import CONFIG, OWNED, PRESET, REMOVED, RENAMED
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import Finding, Severity

_LORA = "LoraConfig"
_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "list": "a JSON list or comma-separated text",
    "dict": "a JSON object",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """What one argument accepts, as its config class declares it."""

    name: str
    kinds: tuple[str, ...]
    default: object = None
    choices: tuple[str, ...] = ()


@cache
def argument_table(config: str) -> Mapping[str, ArgumentField]:
    """Return every argument of a method's config class ("SFTConfig"), or of LoraConfig, by name."""
    versions = {method.config_name: method.trl for method in METHODS.values()}
    tables = _tables(versions.get(config, CURRENT_TRL))
    fields = tables[config] if config == _LORA else tables["TrainingArguments"] | tables[config]
    return {name: _field(name, entry) for name, entry in fields.items()}


@cache
def _tables(trl: str) -> dict[str, dict[str, Any]]:
    text = (files("trl_mcp.recipes") / "tables" / f"trl-{trl}.json").read_text(encoding="utf-8")
    return json.loads(text)["tables"]


def methods_with(name: str) -> list[str]:
    """Return the methods that have an argument of this name."""
    return [method.name for method in METHODS.values() if name in argument_table(method.config_name)]


def _field(name: str, entry: Mapping[str, Any]) -> ArgumentField:
    return ArgumentField(name, tuple(entry["kinds"]), entry["default"], tuple(entry.get("choices", ())))


@dataclass(frozen=True, slots=True)
class TrainerArguments:
    """Checked trainer arguments, apart for the trainer's config and for LoraConfig, and what was translated."""

    config: dict[str, object]
    lora: dict[str, object]
    findings: tuple[Finding, ...]


def check_trainer_arguments(config: str, given: Mapping[str, object]) -> TrainerArguments:
    """Return the arguments under today's names with values of the right type.

    Raises InvalidArguments, all faults in one message, for a name that no config of the method has, one that the
    server owns, one that was removed, a value of the wrong type or outside the choices, or two values for one thing.
    """
    trainer, lora = argument_table(config), argument_table(_LORA)
    checked = TrainerArguments({}, {}, ())
    findings: list[Finding] = []
    faults: list[str] = []
    for name, value in given.items():
        try:
            today, translated = translate(name)
            table, target = (trainer, checked.config) if today in trainer else (lora, checked.lora)
            known = table.get(today) or _refuse_unknown(today, name, config, [*trainer, *lora])
            read = read_value(known, value)
            if name == "warmup_ratio" and not 0 <= cast(float, read) < 1:
                raise InvalidArguments(f"warmup_ratio cannot be {read}: it is a share below 1.")
            if target.setdefault(today, read) != read:
                raise InvalidArguments(f"{name} and {today} are the same argument with two values; give it once.")
            findings += translated
        except InvalidArguments as error:
            faults.append(str(error))
    if faults:
        raise InvalidArguments(" ".join(faults), next_step="Nothing was started.")
    return TrainerArguments(checked.config, checked.lora, tuple(findings))


def translate(name: str) -> tuple[str, list[Finding]]:
    """Return an argument's name of today, with an info finding where it was another.

    Raises InvalidArguments for names that the server owns or that have no equal today.
    """
    if name in (PRESET, CONFIG):
        raise InvalidArguments(
            f"{name} cannot be given here: it says how a training begins.",
            allowed="submit_training and estimate_cost take it.",
        )
    if name in OWNED:
        raise InvalidArguments(f"{name} cannot be given in trainer_args.", next_step=OWNED[name])
    if name in REMOVED:
        raise InvalidArguments(f"{name} no longer exists in TRL.", next_step=REMOVED[name])
    if name not in RENAMED:
        return name, []
    today = RENAMED[name]
    return today, [Finding("args.renamed", Severity.INFO, f"{name} was taken as {today}.")]


def _refuse_unknown(name: str, given: str, config: str, names: Iterable[str]) -> NoReturn:
    allowed = f"Every field of {config} and LoraConfig can be given."
    if others := methods_with(name):
        raise InvalidArguments(
            f"{given} is no argument of {_method_of(config)}: {_listed(others)} it.", allowed=allowed
        )
    raise InvalidArguments(
        f'No trainer or LoRA argument is called "{given}".{did_you_mean(given, names)}', allowed=allowed
    )


def _method_of(config: str) -> str:
    return next((method.name for method in METHODS.values() if method.config_name == config), config)


def _listed(methods: list[str]) -> str:
    return f"{', '.join(methods)} {'has' if len(methods) == 1 else 'have'}"


def read_value(field: ArgumentField, value: object) -> object:
    """Return a value in the type its field declares; text is read as the field's type.

    Raises InvalidArguments naming the types and choices the field accepts.
    """
    for kind in sorted(field.kinds, key=("str",).count):
        read = _null(value, "str" in field.kinds) if kind == "null" else _READERS[kind](value)
        if read is not _UNREADABLE and _is_choice(field, read):
            return read
    kinds = " or ".join(_KINDS[kind] for kind in field.kinds)
    allowed = f"one of {', '.join(field.choices)}" if field.choices else kinds
    near = did_you_mean(str(value), field.choices)
    raise InvalidArguments(f"{field.name} cannot be {shorten(value)}: it is {allowed}.{near}")


def _is_choice(field: ArgumentField, value: object) -> bool:
    """Tell whether a text is among the choices; "pissa_niter_[number of iters]" stands for any number."""
    if not field.choices or not isinstance(value, str):
        return True
    return any(value == choice or ("[" in choice and _fits(choice, value)) for choice in field.choices)


def _fits(choice: str, value: str) -> bool:
    prefix = choice.partition("[")[0]
    return value.startswith(prefix) and value.removeprefix(prefix).isdigit()


_UNREADABLE = object()
_TOO_LARGE = 2**63


def _bool(value: object) -> object:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), _UNREADABLE)
    return value if isinstance(value, bool) else _UNREADABLE


def _int(value: object) -> object:
    number = _float(value)
    return int(number) if isinstance(number, (int, float)) and number == int(number) else _UNREADABLE


def _float(value: object) -> object:
    if isinstance(value, str):
        try:
            value = float(value) if any(mark in value.lower() for mark in ".en") else int(value)
        except ValueError:
            return _UNREADABLE
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _UNREADABLE
    return value if abs(value) < _TOO_LARGE else _UNREADABLE


def _str(value: object) -> object:
    return value if isinstance(value, str) else _UNREADABLE


def _list(value: object) -> object:
    if isinstance(value, str):
        read = _json(value)
        value = [part.strip() for part in value.split(",")] if "," in value and read is _UNREADABLE else read
    return cast(object, value) if isinstance(value, list) else _UNREADABLE


def _dict(value: object) -> object:
    read = _json(value) if isinstance(value, str) else value
    return cast(object, read) if isinstance(read, dict) else _UNREADABLE


def _null(value: object, none_is_text: bool) -> object:
    """Read null; "none" too, unless the field takes text and may mean that word (report_to)."""
    words = ("null",) if none_is_text else ("null", "none")
    return None if value is None or (isinstance(value, str) and value.lower() in words) else _UNREADABLE


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return _UNREADABLE


_READERS = {"bool": _bool, "int": _int, "float": _float, "str": _str, "list": _list, "dict": _dict}
