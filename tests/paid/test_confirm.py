"""TRL_MCP_CONFIRM=elicit: a person is asked before anything paid starts, in both eras of the protocol."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult

from tests.conftest import Era
from tests.face.answer import Answer, answer_of
from tests.paid.desk import TRAINING, PaidDesk
from trl_mcp.app import TrainingServer
from trl_mcp.errors import InvalidArguments
from trl_mcp.settings import Settings

pytestmark = pytest.mark.anyio
Action = Literal["accept", "decline", "cancel"]
ASKING = {"TRL_MCP_CONFIRM": "elicit"}


class Person:
    """Answers questions, and keeps them."""

    def __init__(self, action: Action, content: dict[str, Any] | None = None) -> None:
        self.questions: list[str] = []
        self._answer = ElicitResult(action=action, content=content)

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.questions.append(params.message)
        return self._answer


async def ask(environ: Mapping[str, str], era: Era, person: Person, tool: str, **arguments: Any) -> Answer:
    server = TrainingServer(Settings.from_environ({**environ, **ASKING}))
    async with Client(server, mode=era, elicitation_callback=person) as client:
        return answer_of(await client.call_tool(tool, arguments))


@pytest.mark.parametrize("content", [None, {"start": True}], ids=["plain", "ticked"])
async def test_a_person_who_agrees_has_seen_what_runs_and_what_it_costs(
    desk: PaidDesk, era: Era, content: dict[str, Any] | None
) -> None:
    person = Person("accept", content)
    answer = await ask(desk.environ, era, person, "submit_training", **TRAINING, max_cost_usd=1)
    assert answer.result["status"] == "submitted"
    (question,) = person.questions
    for words in ("at most $0.0151", "paid by alice", "sft lora of tiny", "alice/sums", "cpu-basic", "alice/tiny-sft-"):
        assert words in question
    again = await ask(desk.environ, era, person, "submit_training", **TRAINING, max_cost_usd=1)
    assert again.result["status"] == "already_submitted"
    assert len(person.questions) == len(desk.hub.jobs()) == 1


@pytest.mark.parametrize(("action", "content"), [("decline", None), ("cancel", None), ("accept", {"start": False})])
async def test_nothing_starts_where_the_person_does_not_agree(
    desk: PaidDesk, era: Era, action: Action, content: dict[str, Any] | None
) -> None:
    person = Person(action, content)
    plan = await ask(desk.environ, era, person, "submit_training", **TRAINING)
    assert (plan.result["status"], person.questions) == ("planned", [])
    answer = await ask(desk.environ, era, person, "start_job", id=plan.result["plan_id"])
    assert [finding["code"] for finding in answer.result["findings"]] == ["money.confirm"]
    assert "does not want this job to start" in answer.text
    assert (answer.result["status"], len(person.questions), desk.hub.jobs()) == ("refused", 1, [])


async def test_a_client_that_cannot_ask_starts_nothing_paid(desk_of_each_era: PaidDesk) -> None:
    asking = desk_of_each_era.with_settings(**ASKING)
    await asking.refused("money.confirm", "this client cannot ask one", accept=["money.confirm"])


async def test_nobody_is_asked_about_what_is_free_or_refused_anyway(desk: PaidDesk) -> None:
    person = Person("accept")
    refused = await ask(desk.environ, "auto", person, "submit_training", **TRAINING, max_cost_usd=0.001)
    assert (refused.result["status"], person.questions) == ("refused", [])


def test_a_word_that_is_not_known_stops_the_server(desk: PaidDesk) -> None:
    with pytest.raises(InvalidArguments, match=r"TRL_MCP_CONFIRM is 'ask'\. It is elicit, or left out"):
        Settings.from_environ({**desk.environ, "TRL_MCP_CONFIRM": "ask"})
