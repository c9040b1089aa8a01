"""Inference Providers, asked by the real client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub import EmulatedHub, spaces_address
from tests.hub.support import Clients

ASK = """
    import json
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError
    try:
        client = InferenceClient(provider="auto", timeout=20)
        reply = client.chat_completion([{{"role": "user", "content": "ping"}}], model="{}", temperature=0.0, max_tokens=5)
        said = [200, reply.choices[0].message.content]
    except HfHubHTTPError as error:
        said = [error.response.status_code, error.server_message]
    print(json.dumps(said))
"""


@pytest.fixture(autouse=True)
def served(hub: EmulatedHub) -> None:
    """Serve a model that says what it was asked."""
    hub.serve_model("acme/echo", lambda messages: messages[-1]["content"], providers=("novita", "together"))
    hub.add_repo("acme/silent")


def ask(clients: Clients, model: str) -> tuple[int, str]:
    """Return the status and what was said."""
    status, said = clients.python(ASK.format(model), PYTHONPATH=str(Path(spaces_address.__file__).parent))
    return status, said


@pytest.mark.parametrize("model", ["acme/echo", "acme/echo:together", "acme/echo:fastest"])
def test_a_model_that_is_served_answers(clients: Clients, model: str) -> None:
    assert ask(clients, model) == (200, "ping")


@pytest.mark.parametrize("model", ["acme/silent", "acme/none", "acme/echo:groq"])
def test_a_model_that_nobody_serves_is_refused(clients: Clients, model: str) -> None:
    status, said = ask(clients, model)
    assert status == 400
    assert model.partition(":")[0] in said


def test_who_serves_a_model_is_told_with_its_description(api: HfApi) -> None:
    served, silent = (
        api.model_info(name, expand=["inferenceProviderMapping"]).inference_provider_mapping
        for name in ("acme/echo", "acme/silent")
    )
    assert [(each.provider, each.status, each.task) for each in served or []] == [
        ("novita", "live", "conversational"),
        ("together", "live", "conversational"),
    ]
    assert silent == []


def test_calls_need_credits_and_the_permission(hub: EmulatedHub, clients: Clients) -> None:
    few = Clients(hub.endpoint, hub.add_token("alice", "fineGrained", scopes={"alice": ["repo.write"]}), clients.home)
    assert ask(few, "acme/echo")[0] == 403
    assert ask(Clients(hub.endpoint, hub.tokens["alice-fine"], clients.home), "acme/echo") == (200, "ping")
    hub.set_credits("alice", 0)
    status, said = ask(clients, "acme/echo")
    assert (status, "credits" in said) == (402, True), json.dumps(said)
