"""Models that Inference Providers serve for conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Messages = list[dict[str, Any]]
Reply = Callable[[Messages], str]


@dataclass
class ServedModel:
    """A model that answers conversations by a function of their messages, at the providers named.

    `requests` are the bodies it was sent, `waiting` how many it answers now and `most_waiting` was so at any time.
    """

    reply: Reply
    providers: tuple[str, ...] = ("novita",)
    task: str = "conversational"
    delay_s: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting: int = 0
    most_waiting: int = 0

    def mapping(self, model_id: str) -> dict[str, dict[str, str]]:
        """Return the providers as the description of the model names them."""
        entry = {"status": "live", "providerId": model_id.lower(), "task": self.task}
        return dict.fromkeys(self.providers, entry)

    async def answer(self, request: dict[str, Any]) -> str:
        """Return the reply to a request, after the delay."""
        self.requests.append(request)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await asyncio.sleep(self.delay_s)
            return self.reply(request["messages"])
        finally:
            self.waiting -= 1
