"""Code that a caller has written runs on this machine only where its operator allows that."""

from typing import Any

import pytest

from tests.face.conftest import Ask, Refuses

pytestmark = pytest.mark.anyio


async def test_reward_code_runs_on_this_machine_only_where_its_operator_allows_it(
    ask: Ask, training: dict[str, Any]
) -> None:
    code = "def brief(completions):\n    return [-float(len(text)) for text in completions]\n"
    asked = training | {"method": "grpo", "reward_code": code, "tuning": "full"}
    answer = await ask("submit_training", **asked)
    assert answer.result["status"] == "refused"
    assert [finding["code"] for finding in answer.result["findings"] if finding["severity"] == "error"] == [
        "auth.local_code"
    ]
    assert "TRL_MCP_ALLOW_LOCAL_CODE=1" in answer.text


async def test_what_this_machines_network_has_is_read_only_for_those_who_may_run_code_on_it(refuses: Refuses) -> None:
    asked = {"script": "https://127.0.0.1/a.py", "hardware": "local", "timeout": "5m"}
    await refuses(["127.0.0.1 is no public host", "TRL_MCP_ALLOW_LOCAL_CODE=1"], "submit_script", **asked)
