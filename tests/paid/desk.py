"""What the tests of paid jobs share: tools asked over MCP on an emulated Hub where no job ever runs."""

import json
from collections.abc import Mapping
from typing import Any

from mcp import Client

from tests.conftest import Era
from tests.face.answer import Answer, answer_of
from tests.hub import EmulatedHub
from trl_mcp.app import TrainingServer
from trl_mcp.settings import Settings

MODEL_FILES = {"config.json": '{"model_type": "qwen3"}', "tokenizer_config.json": "{}", "model.safetensors": "weights"}
ROWS = "".join(f"{json.dumps({'prompt': f'{n} + 1?', 'completion': str(n + 1)})}\n" for n in range(3))
TRAINING = {
    "method": "sft",
    "model": "alice/tiny",
    "dataset": "alice/sums",
    "hardware": "cpu-basic",
    "timeout": "90m",
}


class PaidDesk:
    """An agent of alice's; each call meets a server that has just started."""

    def __init__(self, hub: EmulatedHub, environ: Mapping[str, str], era: Era = "auto") -> None:
        self.hub = hub
        self.environ = environ
        self._era: Era = era

    def with_settings(self, **changes: str) -> "PaidDesk":
        """Return the same desk for an operator with other settings."""
        return PaidDesk(self.hub, {**self.environ, **changes}, self._era)

    def as_user(self, name: str) -> "PaidDesk":
        """Return the same desk with another token that the Hub has issued."""
        return self.with_settings(HF_TOKEN=self.hub.tokens[name])

    def client(self) -> Client:
        """Return a client of a server that has just started."""
        return Client(TrainingServer(Settings.from_environ(self.environ)), mode=self._era)

    async def ask(self, tool: str, /, **arguments: Any) -> Answer:
        """Call a tool; no token may be in what it answers."""
        async with self.client() as client:
            answer = answer_of(await client.call_tool(tool, arguments))
        self.check(answer.text + json.dumps(answer.result))
        return answer

    async def submit(self, **changes: Any) -> Answer:
        """Ask for a training that is right but for these changes; None leaves an argument out."""
        given = {**TRAINING, **changes}
        return await self.ask("submit_training", **{name: value for name, value in given.items() if value is not None})

    async def submitted(self, **changes: Any) -> str:
        """Submit a training and return its job id."""
        answer = await self.submit(**{"max_cost_usd": 1} | changes)
        assert answer.result.get("status") == "submitted", answer.text
        return answer.result["job_id"]

    async def refused(self, *words: str, **changes: Any) -> Answer:
        """Submit what must be refused in these words, with nothing left on the Hub."""
        answer = await self.submit(**{"max_cost_usd": 1} | changes)
        self.check_refusal(answer, *words)
        assert self.hub.jobs() == []
        assert [name for name in self.hub.repo_ids("dataset") if name.endswith("/trl-mcp-data")] == []
        return answer

    def check_refusal(self, answer: Answer, *words: str) -> None:
        """Fail unless the answer refuses in these words."""
        assert answer.is_error or answer.result["status"] == "refused", answer.text
        assert [word for word in words if word not in answer.text] == [], answer.text
        assert [word for word in ("Traceback", "failed inside the server", "httpx") if word in answer.text] == []

    def check(self, text: str) -> None:
        """Fail where a text tells a token."""
        tokens = {*self.hub.tokens.values(), self.environ["HF_TOKEN"]}
        assert [token for token in tokens if token and token in text] == []
