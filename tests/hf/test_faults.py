"""What goes wrong at the Hub: each kind has its own sentence with the remedy, and reads are repeated."""

import subprocess
import sys

import httpx2
import pytest

from tests.hf.desk import Desk, open_hub
from tests.hub import EmulatedHub, Fault
from tests.hub.faults import FaultKind
from trl_mcp.errors import (
    AccessNotGranted,
    CreditsMissing,
    HubError,
    HubUnreachable,
    NotFound,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    TokenRejected,
)
from trl_mcp.hub import client, faults
from trl_mcp.hub.hub import Hub

pytestmark = pytest.mark.anyio
WHOAMI = "/api/whoami-v2"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, RequestRefused, "refuses to fly"),
        (401, TokenRejected, "Make a new one at https://hub/settings/tokens"),
        (402, CreditsMissing, "Add credits at https://hub/settings/billing.*another namespace"),
        (403, PermissionMissing, "may not fly.*https://hub/settings/tokens"),
        (404, NotFound, "finds nothing to fly"),
        (409, RequestRefused, "conflict with the present state"),
        (422, RequestRefused, r"status 422"),
        (429, RateLimited, "slow down.*Call again in 55 s"),
        (500, HubUnreachable, "it answers 500"),
        (503, HubUnreachable, "it answers 503"),
        (504, HubUnreachable, "Call again"),
    ],
)
def test_each_status_has_its_own_sentence_and_keeps_what_the_server_says(
    status: int, error: type[Exception], words: str
) -> None:
    headers = {"RateLimit": '"api";r=0;t=55'}
    response = httpx2.Response(status, json={"error": "Own words."}, headers=headers)
    found = faults.refusal(response, "fly", "https://hub")
    assert type(found) is error
    assert isinstance(found, HubError) or status == 404
    with pytest.raises(error, match=words):
        raise found
    assert "Own words" in str(found)


def test_a_gate_is_told_apart_from_a_missing_permission() -> None:
    response = httpx2.Response(403, headers={"X-Error-Code": "GatedRepo"})
    assert isinstance(faults.refusal(response, "look", "https://hub"), AccessNotGranted)


def test_what_the_server_says_is_cleaned_and_cut() -> None:
    said = "token hf_abcdefghijklmnopqrstuvwxyz of\nmax.muster@example.org " + "x y " * 200
    found = faults.server_message(httpx2.Response(400, headers={"X-Error-Message": said.replace("\n", " ")}))
    assert "hf_abc" not in found
    assert "@example" not in found
    assert len(found) <= 303
    assert faults.server_message(httpx2.Response(500, text="<html>")) == ""


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "status"])
async def test_a_read_gets_over_two_failures(desk: Desk, kind: FaultKind) -> None:
    desk.emulated.faults.add(Fault("GET", WHOAMI, kind, times=2))
    assert (await desk.hub.identity(desk.emulated.tokens["alice"])).name == "alice"
    assert len(desk.emulated.requests(WHOAMI)) == 3


async def test_three_failures_are_told_and_not_remembered(desk: Desk) -> None:
    desk.emulated.faults.add(Fault("GET", WHOAMI, status=502, times=3, message="Bad Gateway"))
    with pytest.raises(HubUnreachable, match='answers 502: "Bad Gateway"'):
        await desk.hub.identity(desk.emulated.tokens["alice"])
    assert (await desk.hub.identity(desk.emulated.tokens["alice"])).name == "alice"


async def test_a_short_rate_limit_is_waited_for_and_a_long_one_is_told_at_once(hub: EmulatedHub) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async with Hub(hub.endpoint, sleep=sleep) as opened:
        hub.faults.add(Fault("GET", WHOAMI, status=429, retry_after=4))
        await opened.identity(hub.tokens["alice"])
        assert waited == [4]
        hub.faults.add(Fault("GET", WHOAMI, status=429, retry_after=250))
        with pytest.raises(RateLimited, match="Call again in 250 s"):
            await opened.identity(hub.tokens["bob"])
        assert waited == [4]


async def test_a_slow_hub_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_DEADLINE_S", 0.2)
    desk.emulated.faults.add(Fault("GET", WHOAMI, "slow", delay_s=1))
    with pytest.raises(HubUnreachable, match=r"did not answer within 0\.2 s"):
        await desk.hub.identity(desk.emulated.tokens["alice"])


async def test_something_else_behind_the_address_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_json(_: httpx2.Response) -> None:
        raise ValueError

    monkeypatch.setattr(httpx2.Response, "json", no_json)
    with pytest.raises(HubUnreachable, match="does not speak its language"):
        await desk.hub.identity(desk.emulated.tokens["alice"])


async def test_a_token_goes_to_no_other_host(hub: EmulatedHub) -> None:
    """The next page that an answer names is asked for at the endpoint, wherever it points to."""
    hub.add_bucket("alice/trl-mcp")
    for name in ("a", "b", "c"):
        path = hub.bucket_path("alice/trl-mcp") / "runs" / name
        path.mkdir(parents=True)
        (path / "f").write_text("x", encoding="utf-8")
    hub.set_page_size(1)
    hub._state.endpoint = "http://evil.example"  # pyright: ignore[reportPrivateUsage] - no test may want this
    async with open_hub(hub) as opened:
        held = await opened.held_runs(hub.tokens["alice"], "alice")
    assert [run.run for run in held] == ["a", "b", "c"]


def test_the_client_library_is_not_imported_until_something_is_uploaded() -> None:
    code = "import sys; import trl_mcp.app, trl_mcp.backends.hf; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
