"""Code that a caller has written runs on this machine only where its operator allows that."""

from typing import Any

import pytest

from tests.face.conftest import Ask

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
