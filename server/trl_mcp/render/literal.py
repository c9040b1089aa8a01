"""Python literals that a person can read, and that read back as the value they were made from."""

import math
from collections.abc import Mapping, Sequence

_TRIPLE = '"""'
_WIDTH = 100


def literal(value: object, indent: int = 0) -> str:
    """Return a literal of None, bool, int, float, str, sequences and mappings with string keys.

    Strings of several lines become triple-quoted. Raises TypeError for anything else, ValueError for nan and inf,
    which have no literal.
    """
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no Python literal")
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        items = [f"{_key(key)}: {literal(item, indent + 4)}" for key, item in value.items()]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] # a mapping of any kind
        return _container("{", items, "}", indent)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return _container("[", [literal(item, indent + 4) for item in value], "]", indent)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] # a sequence of any kind
    raise TypeError(f"{type(value).__name__} has no literal")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError("keys of a literal are strings")
    return repr(key).replace("'", '"') if key.isidentifier() else repr(key)


def _string(text: str) -> str:
    """Return a triple-quoted literal for text that reads better so, else what repr gives."""
    plain = all(character.isprintable() or character == "\n" for character in text)
    if "\n" in text and plain and "\\" not in text and _TRIPLE not in text and not text.endswith('"'):
        return f"{_TRIPLE}\\\n{text}{_TRIPLE}"
    if '"' not in text and "'" not in text:
        return f'"{repr(text)[1:-1]}"'
    return repr(text)


def _container(opening: str, items: Sequence[str], closing: str, indent: int) -> str:
    """Return the items on one line where they fit, else one a line."""
    line = opening + ", ".join(items) + closing
    if len(line) + indent <= _WIDTH and "\n" not in line and (indent or not items):
        return line
    pad = " " * (indent + 4)
    return opening + "\n" + "".join(f"{pad}{item},\n" for item in items) + " " * indent + closing
