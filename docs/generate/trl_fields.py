"""Print the arguments of trainer configs and LoraConfig, as the installed TRL and PEFT declare them, as JSON.

Run in the environment of a template: `python trl_fields.py SFTConfig`. A class that is imported from elsewhere than
`trl` is named with its module: `trl.experimental.orpo.ORPOConfig`.
"""

import dataclasses
import enum
import importlib
import json
import sys
import types
import typing
from importlib.metadata import version

Field = dict[str, object]
KINDS: dict[object, str] = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


def config_class(name: str) -> type:
    """Return the class that a bare or dotted name means; a bare one lies in trl."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module or "trl"), attribute)


def members(hint: object) -> list[object]:
    """Return the alternatives of a type hint, unions opened."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [leaf for part in typing.get_args(hint) for leaf in members(part)]
    return [hint]


def kind_of(hint: object) -> str:
    """Return the JSON kind a value of this type is written as."""
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return kind_of(type(typing.get_args(hint)[0]))
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return "str"
    if isinstance(origin, type) and issubclass(origin, (list, tuple)):
        return "list"
    return KINDS.get(origin, "dict")


def choices_of(hint: object, metadata: typing.Mapping[str, object]) -> list[object]:
    """Return the values a field is limited to: its declared choices, its literals, or the values of its enum."""
    declared = metadata.get("choices")
    if isinstance(declared, (list, tuple)):
        return list(declared)
    found: list[object] = []
    for member in members(hint):
        if typing.get_origin(member) is typing.Literal:
            found += [value for value in typing.get_args(member) if isinstance(value, str)]
        elif isinstance(member, type) and issubclass(member, enum.Enum) and "debug" not in member.__module__:
            found += [item.value for item in member]
    return found


def default_of(field: "dataclasses.Field[object]") -> object:
    """Return a field's default as a JSON value; null where it is computed."""
    value = field.default
    if isinstance(value, enum.Enum):
        return value.value
    return value if isinstance(value, (bool, int, float, str)) else None


def fields_of(config: type) -> dict[str, Field]:
    """Return every argument of a config class: the kinds it takes, its default, its choices."""
    hints = typing.get_type_hints(config)
    table: dict[str, Field] = {}
    for field in dataclasses.fields(config):
        if field.init:
            hint = hints[field.name]
            kinds = list(dict.fromkeys(kind_of(member) for member in members(hint)))
            entry: Field = {"kinds": kinds, "default": default_of(field)}
            if choices := choices_of(hint, field.metadata):
                entry["choices"] = choices
            table[field.name] = entry
    return table


def main() -> None:
    """Print one JSON object: the versions, the fields all trainers share, and per class those it adds or changes."""
    from peft import LoraConfig
    from transformers import TrainingArguments

    shared = fields_of(TrainingArguments)
    tables: dict[str, object] = {"TrainingArguments": shared, "LoraConfig": fields_of(LoraConfig)}
    for name in sys.argv[1:]:
        own = {field: entry for field, entry in fields_of(config_class(name)).items() if shared.get(field) != entry}
        tables[name.rpartition(".")[2]] = own
    versions = {package: version(package) for package in ("trl", "transformers", "peft")}
    print(json.dumps({"versions": versions, "tables": tables}, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
