"""Arguments of a training under other names: synonyms, and TRL fields given at top level."""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.names import CONFIG, OWNED, PRESET, REMOVED, RENAMED, TOOL_ARGUMENTS
from trl_mcp.recipes.trainer_arguments import argument_table, methods_with
from trl_mcp.schema import Arguments, NameValues, shorten
from trl_mcp.values import Finding, Severity

# Entries of trainer_args that are no fields of any trainer.
_OUR_OWN = ("strategy", PRESET, CONFIG)


def translate_training(
    model: type[Arguments], given: Mapping[str, object]
) -> tuple[dict[str, object], tuple[Finding, ...]]:
    """Return the arguments with synonyms under the tool's names and TRL fields moved into trainer_args.

    Raises InvalidArguments where one thing is given twice with different values.
    """
    findings: list[Finding] = []
    arguments: dict[str, object] = {}
    trainer_args = _trainer_args(given.get("trainer_args"))
    for name in list(trainer_args):
        if (tool_name := TOOL_ARGUMENTS.get(RENAMED.get(name, name))) in model.model_fields:
            _put(arguments, tool_name, name, trainer_args.pop(name), findings)
    for name, value in given.items():
        today = RENAMED.get(name, name)
        if name == "trainer_args" or value is None:
            continue
        if (tool_name := TOOL_ARGUMENTS.get(today, today)) in model.model_fields:
            _put(arguments, tool_name, name, value, findings)
        elif today in _OUR_OWN or _is_trainer_argument(today):
            _put(trainer_args, name, name, value, findings)
            findings.append(Finding("args.moved", Severity.INFO, f"{name} was taken as an entry of trainer_args."))
        else:
            arguments[name] = value
    return arguments | ({"trainer_args": trainer_args} if trainer_args else {}), tuple(findings)


def _is_trainer_argument(name: str) -> bool:
    """Tell whether trainer_args can hold the name, be it under another method: that is then said where it is read."""
    return name in OWNED or name in REMOVED or name in argument_table("LoraConfig") or bool(methods_with(name))


def _put(target: dict[str, object], name: str, given_as: str, value: object, findings: list[Finding]) -> None:
    if name in target and _plain(target[name]) != _plain(value):
        raise InvalidArguments(
            f"{name} is given twice, as {shorten(target[name])} and as {given_as}={shorten(value)}.",
            next_step="Give it once. Nothing was started.",
        )
    target.setdefault(name, value)
    if given_as != name:
        findings.append(Finding("args.renamed", Severity.INFO, f"{given_as} was taken as {name}."))


def _plain(value: object) -> object:
    """Return a value so that 2, 2.0 and "2" are equal, true and "true" too."""
    text = str(value).strip().lower()
    try:
        return float(text)
    except ValueError:
        return text


def _trainer_args(value: object) -> dict[str, object]:
    if value is None:
        return {}
    try:
        return TypeAdapter[dict[str, object]](NameValues).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidArguments(f"trainer_args: {reason}.", next_step="Nothing was started.") from None
