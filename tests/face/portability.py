"""A lint for tool schemas: what breaks one client or another may not be published."""

import re
from collections.abc import Iterator
from typing import Any, cast

_BREAKS = {
    "$ref", "$defs", "$schema", "definitions", "oneOf", "anyOf", "allOf", "not", "if", "then", "else",
    "const", "discriminator", "format", "title", "default", "nullable", "pattern", "prefixItems",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "patternProperties", "propertyNames", "examples",
}  # fmt: skip
_TYPES = ("object", "array", "string", "number", "integer", "boolean")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def faults(schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with a schema at the root, then all the way down."""
    return [*_root_faults(schema), *_faults("", schema)]


def _root_faults(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("type") != "object":
        yield "the root is no object"
    if "properties" not in schema:
        yield "the root has no properties"


def _faults(place: str, schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"{place} is no schema: {schema}"
        return
    entry = cast(dict[str, Any], schema)
    yield from (f"{place} has {keyword}" for keyword in sorted(_BREAKS & entry.keys()))
    if entry.get("type") not in _TYPES:
        yield f"{place} has the type {entry.get('type')}"
    if entry.get("type") == "array":
        yield from _faults(f"{place}[]", entry.get("items"))
    if place and isinstance(entry.get("additionalProperties"), dict):
        yield f"{place} is a map"
    properties = cast(dict[str, Any], entry.get("properties", {}))
    yield from (f"{place} requires {name}" for name in entry.get("required", []) if name not in properties)
    for name, value in properties.items():
        if not _NAME.fullmatch(name):
            yield f"{place}.{name} is a name that some clients refuse"
        yield from _faults(f"{place}.{name}", value)
