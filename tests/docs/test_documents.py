import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trl_mcp.render.templates import job_module
from trl_mcp.settings import described_settings
from trl_mcp.tools import TOOLS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?!https?://)([^)#]+)")


def shell_lines(page: Path) -> list[str]:
    return [line for block in FENCE.findall(page.read_text(encoding="utf-8")) for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_generated_documents_are_fresh() -> None:
    done = subprocess.run([sys.executable, "docs/generate", "--check"], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_the_readme_names_every_tool() -> None:
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [tool.name.value for tool in TOOLS]


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert [name for name, _ in described_settings() if f"`{name}`" not in text] == []


def test_every_shell_line_can_be_read_by_a_shell() -> None:
    for page in PAGES:
        for line in shell_lines(page):
            assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line


def test_the_editor_is_given_a_server_that_the_first_command_installs() -> None:
    (line,) = [line for line in shell_lines(ROOT / "README.md") if line.startswith("code ")]
    entry = json.loads(shlex.split(line.replace("$PWD", "/somewhere"))[2])
    assert entry["command"] == "/somewhere/.bootstrap/bin/trl-mcp"
    assert ".bootstrap/bin/trl-mcp demo" in shell_lines(ROOT / "README.md")[0]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"sed -n '/(.+)/p' README\.md", script)
    assert [line for line in shell_lines(ROOT / "README.md") if re.search(pattern, line)] == [
        shell_lines(ROOT / "README.md")[1]
    ]


def test_the_server_starts_without_what_only_some_calls_need() -> None:
    heavy = ["huggingface_hub", "pyarrow", "rich", "plotext", "torch", "transformers", "datasets", "uv"]
    program = f"import sys, trl_mcp.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]"


def data_examples() -> list[dict[str, Any]]:
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```jsonl\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("example", data_examples(), ids=lambda example: "-".join(example["row"]))
def test_rows_become_what_the_page_on_data_says(example: dict[str, Any]) -> None:
    rows = job_module("rows")
    rules = rows.RowRules(example["method"], example.get("columns", {}))
    (converted,) = rows.convert_rows([example["row"]], rules, Counter())
    kept = {name: value for name, value in converted.items() if name in example["becomes"]}
    assert kept == example["becomes"]
