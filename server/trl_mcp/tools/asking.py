"""Asking the person behind the client, in both eras of the protocol.

Up to 2025-11-25 the server sends the question while the call runs. Since 2026-07-28 it answers the call with the
question, and the client repeats the call with the answer.
"""

from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

_KEY = "start"
_REPEATS_CALLS_SINCE = "2026-07-28"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {_KEY: {"type": "boolean", "title": "Start it", "default": True}},
}


class PersonNeeded(Exception):
    """A person has to answer before the call can go on: it is to be answered with the question."""

    def __init__(self, question: InputRequiredResult) -> None:
        super().__init__("a person has to answer first")
        self.question = question


async def ask_person(context: Context[Any, Any], question: str) -> bool | None:
    """Return whether a person agrees; None where the client cannot ask one.

    Raises PersonNeeded where the client has to repeat the call with the answer.
    """
    if not _can_ask(context):
        return None
    if (context.protocol_version or "") < _REPEATS_CALLS_SINCE:
        try:
            return _agrees(await context.session.elicit_form(question, _SCHEMA, context.request_id))
        except MCPError:
            return None
    # The state comes back as it was sent, sealed by the SDK: an answer to another question does not count.
    answer = (context.input_responses or {}).get(_KEY)
    if isinstance(answer, ElicitResult) and context.request_state == question:
        return _agrees(answer)
    asked = ElicitRequest(params=ElicitRequestFormParams(message=question, requested_schema=_SCHEMA))
    raise PersonNeeded(InputRequiredResult(input_requests={_KEY: asked}, request_state=question))


def _can_ask(context: Context[Any, Any]) -> bool:
    capabilities = context.client_capabilities
    able = capabilities.elicitation if capabilities else None
    return able is not None and (able.form is not None or able.url is None)


def _agrees(answer: ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get(_KEY, True) is True
