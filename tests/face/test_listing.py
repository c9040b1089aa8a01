"""What a client is told before it calls anything: short, portable, the same in both protocol eras."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from mcp.types import Tool

from tests.conftest import Connect
from tests.face.portability import faults
from trl_mcp import __version__

pytestmark = pytest.mark.anyio

NAMES = [
    "submit_training",
    "start_job",
    "validate_dataset",
    "estimate_cost",
    "job_status",
    "job_logs",
    "cancel_job",
    "convert_gguf",
    "submit_script",
]
SNAPSHOTS = Path(__file__).parent / "snapshots"


async def listed(connect: Connect) -> list[Tool]:
    async with connect() as client:
        return (await client.list_tools()).tools


def as_json(tool: Tool) -> dict[str, Any]:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


async def test_the_tools_come_in_one_order(connect: Connect) -> None:
    assert [tool.name for tool in await listed(connect)] == NAMES


async def test_both_eras_list_the_same(connect: Connect, connect_newest: Connect) -> None:
    assert [as_json(tool) for tool in await listed(connect)] == [as_json(tool) for tool in await listed(connect_newest)]


async def test_every_schema_is_understood_by_every_client(connect_newest: Connect) -> None:
    for tool in await listed(connect_newest):
        assert faults(tool.input_schema) == [], tool.name
        assert faults(tool.output_schema or {}) == [], tool.name


async def test_unknown_arguments_are_ruled_out_by_the_schema(connect_newest: Connect) -> None:
    assert all(tool.input_schema["additionalProperties"] is False for tool in await listed(connect_newest))


async def test_the_whole_list_is_short(connect_newest: Connect) -> None:
    tools = [as_json(tool) for tool in await listed(connect_newest)]
    assert len(json.dumps(tools, separators=(",", ":")).encode()) < 28_000


async def test_names_and_descriptions_are_short(connect_newest: Connect) -> None:
    for tool in await listed(connect_newest):
        assert len(tool.name) <= 32
        assert 40 < len(tool.description or "") < 600


async def test_every_argument_says_what_it_is(connect_newest: Connect) -> None:
    for tool in await listed(connect_newest):
        silent = [name for name, entry in tool.input_schema["properties"].items() if not entry.get("description")]
        assert silent == [], tool.name


async def test_every_tool_says_whether_it_changes_anything(connect_newest: Connect) -> None:
    hints = {tool.name: tool.annotations for tool in await listed(connect_newest)}
    assert [name for name, hint in hints.items() if hint and hint.read_only_hint] == [
        "validate_dataset",
        "estimate_cost",
        "job_status",
        "job_logs",
    ]
    assert [name for name, hint in hints.items() if hint and hint.destructive_hint] == ["cancel_job"]
    assert all(hint and hint.idempotent_hint and hint.open_world_hint for hint in hints.values())


async def test_every_tool_has_a_title_of_its_own(connect_newest: Connect) -> None:
    titles = [tool.title for tool in await listed(connect_newest)]
    assert all(titles)
    assert len(set(titles)) == len(NAMES)


async def test_the_server_says_what_it_is_and_how_it_is_used(connect: Connect) -> None:
    async with connect() as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("trl-mcp", __version__)
        assert client.instructions is not None
        assert len(client.instructions.encode()) < 1024
        assert [name for name in NAMES if name not in client.instructions] == []


async def test_the_scripts_of_plans_and_jobs_are_resources(connect: Connect) -> None:
    async with connect() as client:
        templates = (await client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [
        "plan://{plan_id}/script",
        "job://{namespace}/{job_id}/script",
        "hardware://{kind}",
    ]


async def test_the_contract_of_the_tools_is_the_one_agreed(connect_newest: Connect) -> None:
    """Run with UPDATE_SNAPSHOTS=1 to agree on another one."""
    tools = {tool.name: as_json(tool) for tool in await listed(connect_newest)}
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        _write(tools)
    agreed = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SNAPSHOTS.glob("*.json")}
    assert tools == agreed


def _write(tools: dict[str, dict[str, Any]]) -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for path in SNAPSHOTS.glob("*.json"):
        path.unlink()
    for name, tool in tools.items():
        text = json.dumps(tool, indent=2, ensure_ascii=False)
        (SNAPSHOTS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "object"}, "the root has no properties"),
        ({"properties": {}}, "the root is no object"),
        ({"type": "object", "properties": {}, "oneOf": []}, " has oneOf"),
        ({"type": "object", "properties": {"a": {"$ref": "#/x"}}}, ".a has $ref"),
        ({"type": "object", "properties": {"a": {"type": ["string", "null"]}}}, ".a has the type ['string', 'null']"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, ".a[] is no schema: None"),
        ({"type": "object", "properties": {"a": True}}, ".a is no schema: True"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, ".a b is a name that some clients refuse"),
    ],
)
def test_the_lint_finds_what_breaks_clients(schema: dict[str, Any], fault: str) -> None:
    assert fault in faults(schema)
