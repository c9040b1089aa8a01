"""The generated parts of the documents."""

import tomllib
from pathlib import Path
from typing import Any, cast

from trl_mcp.checks.elsewhere import ELSEWHERE, Place
from trl_mcp.checks.registry import CHECKS, is_acceptable
from trl_mcp.schema import portable_schema
from trl_mcp.settings import described_settings
from trl_mcp.tools import TOOLS
from trl_mcp.values import Severity


def tool_reference() -> str:
    """Return a section per tool: what it does, its arguments, its result."""
    return "\n\n".join(
        "\n".join(
            [
                f"## {tool.name}",
                "",
                tool.description,
                "",
                *_table("argument", portable_schema(tool.arguments)),
                "",
                *_table("result", portable_schema(tool.result, mode="serialization")),
            ]
        )
        for tool in TOOLS
    )


def _table(heading: str, schema: dict[str, Any]) -> list[str]:
    required = set(schema.get("required", ()))
    rows = [f"| {heading} | type | |", "|---|---|---|"]
    for name, entry in cast(dict[str, dict[str, Any]], schema["properties"]).items():
        shown = f"`{name}`" + ("*" if name in required else "")
        rows.append(f"| {shown} | {_type(entry)} | {entry.get('description', '')} |")
    return rows


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry.get("type") == "array":
        return f"list of {_type(entry['items'])}"
    return str(entry.get("type", ""))


def settings_table() -> str:
    """Return a row per environment variable the operator may set."""
    return "\n".join(
        ["| variable | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in described_settings())]
    )


def checks_table() -> str:
    """Return the checks made before anything starts, then those that are made where their facts are."""
    rows = [
        f"| `{check.code}` | {check.severity} | {check.looks_for}. {check.why} | {check.fix} | {check.source} |"
        for check in CHECKS
    ]
    table = ["| code | severity | what is found, and why it matters | mend | source |", "|---|---|---|---|---|", *rows]
    return "\n".join([*table, *(line for place in Place for line in _made_at(place))])


def _made_at(place: Place) -> list[str]:
    heading = ["", f"### {place.value[:1].upper()}{place.value[1:]}", "", "| code | severity | what | mend |"]
    found = [entry for entry in ELSEWHERE if entry.place is place]
    return [
        *heading,
        "|---|---|---|---|",
        *(f"| `{entry.code}` | {entry.severity} | {entry.looks_for} | {entry.fix} |" for entry in found),
    ]


def never_accepted() -> str:
    """Return the codes of errors that `accept` does not turn into warnings."""
    codes = [entry.code for entry in (*CHECKS, *ELSEWHERE) if not is_acceptable(entry.code)]
    assert all(entry.severity is Severity.ERROR for entry in ELSEWHERE if entry.code in codes)
    return ", ".join(f"`{code}`" for code in codes)


def floors() -> str:
    """Return the floors of the house, top down, as the import contracts in pyproject.toml hold them."""
    pyproject = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    layers: list[str] = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [" | ".join(part.strip().removeprefix("trl_mcp.") for part in layer.split(":")) for layer in layers]
    width = max(map(len, names)) + 4
    roof = "+" + "-" * width + "+"
    return "\n".join(["```text", *(line for name in names for line in (roof, f"|{name:^{width}}|")), roof, "```"])
