"""Flat, portable tool schemas, and the reading of arguments against them.

Clients break on $ref, anyOf, null, const, formats and titles in different ways, so none of them is published.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from trl_mcp.errors import InvalidArguments

_DROPPED = {"title", "default", "format", "discriminator", "$defs"}


class Arguments(BaseModel):
    """The arguments of a tool: unknown names are refused, values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Result(BaseModel):
    """The result of a tool; what is None is left out of what the client gets."""

    model_config = ConfigDict(frozen=True)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


@cache
def portable_schema(model: type[BaseModel], mode: str = "validation") -> dict[str, Any]:
    """Return the JSON schema of a model in the subset every client understands."""
    schema = model.model_json_schema(mode="serialization" if mode == "serialization" else "validation")
    flat = _flat(schema, schema.get("$defs", {}))
    flat.setdefault("properties", {})
    flat.pop("description", None)
    if issubclass(model, Arguments):
        flat["additionalProperties"] = False
    return flat


def _flat(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_flat(item, definitions) for item in cast(list[Any], node)]
    if not isinstance(node, dict):
        return node
    entry = cast(dict[str, Any], node)
    if "$ref" in entry:
        entry = definitions[entry["$ref"].rpartition("/")[2]] | {k: v for k, v in entry.items() if k != "$ref"}
        return _flat(entry, definitions)
    if "anyOf" in entry:
        (choice,) = [option for option in entry["anyOf"] if option != {"type": "null"}]
        return _flat(choice | {k: v for k, v in entry.items() if k != "anyOf"}, definitions)
    if "const" in entry:
        entry = {k: v for k, v in entry.items() if k != "const"} | {"enum": [entry["const"]]}
    properties = cast(dict[str, Any], entry.get("properties", {}))
    flat = {key: _flat(value, definitions) for key, value in entry.items() if key not in {*_DROPPED, "properties"}}
    return flat | ({"properties": {n: _flat(v, definitions) for n, v in properties.items()}} if properties else {})


def read_arguments(model: type[ArgumentsT], given: Mapping[str, object]) -> ArgumentsT:
    """Return the validated arguments. Raises InvalidArguments with one sentence per fault."""
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = [_sentence(model, fault) for fault in error.errors(include_url=False)]
        raise InvalidArguments(" ".join(faults), next_step="Nothing was started.") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "x"?' for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def shorten(value: object, limit: int = 80) -> str:
    """Return a value as text, cut to what fits in a sentence."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _sentence(model: type[BaseModel], fault: ErrorDetails) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    given = shorten(fault["input"])
    if fault["type"] == "missing":
        return f'"{name}" is missing: {model.model_fields[name].description}.'
    if fault["type"] == "extra_forbidden":
        known = list(model.model_fields)
        return f'There is no argument "{name}".{did_you_mean(name, known)} Allowed: {", ".join(known)}.'
    if fault["type"] in ("literal_error", "enum"):
        expected = str(fault.get("ctx", {}).get("expected", ""))
        options = expected.replace("'", "").replace(" or ", ", ").split(", ")
        return f'"{name}" cannot be "{given}".{did_you_mean(given, options)} Allowed: {", ".join(options)}.'
    reason = fault["msg"].removeprefix("Value error, ")
    return f'"{name}": {reason[0].lower() + reason[1:]} (given: {given}).'


def _pairs(value: object) -> object:
    """Accept {"a": 1}, its JSON text, ["a=1"] and "a=1" alike."""
    if isinstance(value, str):
        value = _json(value) if value.lstrip().startswith(("{", "[")) else [value]
    if isinstance(value, dict):
        return cast(dict[object, object], value)
    if not isinstance(value, list):
        raise ValueError('it is a list of "name=value"')  # noqa: TRY004 # pydantic tells callers of ValueErrors only
    named: dict[str, object] = {}
    for name, text in map(_pair, cast(list[object], value)):
        if named.setdefault(name, text) != text:
            raise ValueError(f"{name} is given twice, as {shorten(named[name])} and {shorten(text)}; give it once")
    return named


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no valid JSON: {error}") from None


def _pair(item: object) -> tuple[str, object]:
    name, separator, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    if not separator or not name.strip():
        raise ValueError(f'each entry is "name=value", not {shorten(item)}')
    return name.strip(), value.strip()


def _texts(value: object) -> object:
    """Accept ["a", "b"], its JSON text, and "a" alike."""
    if isinstance(value, str):
        value = _json(value) if value.lstrip().startswith("[") else [value]
    return value


_LIST_OF_PAIRS = WithJsonSchema({"type": "array", "items": {"type": "string"}})
NameValues = Annotated[dict[str, Any], BeforeValidator(_pairs), _LIST_OF_PAIRS]
NameTexts = Annotated[dict[str, str], BeforeValidator(_pairs), _LIST_OF_PAIRS]
Texts = Annotated[
    tuple[str, ...], BeforeValidator(_texts), WithJsonSchema({"type": "array", "items": {"type": "string"}})
]
