"""The router of Inference Providers: chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from time import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.errors import HubError
from tests.hub.served_models import ServedModel
from tests.hub.web import body, signed_in, state

PERMISSION = "inference.serverless.write"
POLICIES = ("fastest", "cheapest", "preferred")


def _check_caller(request: Request) -> None:
    token = signed_in(request)
    if token.role == "fineGrained" and not token.allows(PERMISSION, token.user.name):
        raise HubError(
            403,
            "This authentication method does not have sufficient permissions to call Inference Providers on behalf of "
            f"user {token.user.name}",
        )
    if state(request).balance(token.user.name) <= 0:
        raise HubError(402, "You have depleted your monthly included credits for Inference Providers.")


def _served(models: Mapping[str, ServedModel], name: str) -> ServedModel:
    model_id, _, provider = name.partition(":")
    model = models.get(model_id)
    if model is None:
        raise HubError(400, f"The requested model '{model_id}' does not exist or is not supported by any provider.")
    if provider and provider not in (*model.providers, *POLICIES):
        raise HubError(400, f"The requested model '{model_id}' is not supported by provider '{provider}'.")
    return model


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    _check_caller(request)
    wanted = await body(request)
    if not isinstance(wanted.get("messages"), list) or not wanted["messages"]:
        raise HubError(400, "messages is required")
    said = await _served(state(request).served, str(wanted.get("model"))).answer(wanted)
    asked = sum(len(str(message.get("content"))) for message in wanted["messages"])
    usage = {"prompt_tokens": asked // 4, "completion_tokens": len(said) // 4, "total_tokens": (asked + len(said)) // 4}
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    head = {"id": f"chatcmpl-{token_hex(8)}", "object": "chat.completion", "created": int(time())}
    return JSONResponse({**head, "model": wanted["model"], "choices": [choice], "usage": usage})


ROUTES = [Route("/v1/chat/completions", chat_completions, methods=["POST"])]
