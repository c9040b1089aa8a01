"""Who the caller is, what the token may do, and what machines cost."""

from typing import Any

import anyio
import pytest

from tests.hf.desk import Desk, open_hub, spec
from tests.hub import EmulatedHub, Fault
from trl_mcp.errors import HubUnreachable, InvalidArguments, PermissionMissing, TokenMissing, TokenRejected
from trl_mcp.hub.hub import Hub
from trl_mcp.hub.values import Identity, TokenScope

pytestmark = pytest.mark.anyio


async def test_the_identity_is_asked_for_once_per_token_in_ten_minutes(hub: EmulatedHub) -> None:
    now = 1000.0
    async with open_hub(hub, clock=lambda: now) as opened:

        async def ask(user: str) -> None:
            assert (await opened.identity(hub.tokens[user])).name == "alice"

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask, "alice")
        await ask("alice-read")
        assert len(hub.requests("/api/whoami-v2")) == 2
        now += 601
        await ask("alice")
        assert len(hub.requests("/api/whoami-v2")) == 3


async def test_submitting_asks_who_the_caller_is_only_once(desk: Desk) -> None:
    desk.emulated.hold_jobs()
    for _ in range(3):
        await desk.start()
    assert len(desk.emulated.requests("/api/whoami-v2")) == 1
    assert len(desk.emulated.requests("/api/jobs/hardware")) == 1


async def test_prices_are_at_most_a_minute_old(hub: EmulatedHub) -> None:
    now = 0.0
    async with open_hub(hub, clock=lambda: now) as opened:
        token = hub.tokens["alice"]
        flavors, age = await opened.flavors(token)
        assert age == 0
        large = next(flavor for flavor in flavors if flavor.name == "a10g-largex2")
        assert (large.vcpu, large.ram_gb, large.disk_gb) == (24, 92, 1000)
        assert (large.accelerator, large.gpu_count, large.vram_gb, large.micro_usd_per_minute) == ("A10G", 2, 48, 50000)
        small = flavors[0]
        assert (small.name, small.gpu_count, small.vram_gb, small.accelerator) == ("cpu-basic", 0, 0, "")
        hub.set_price("cpu-basic", 999)
        now = 59.0
        flavors, age = await opened.flavors(token)
        assert (flavors[0].micro_usd_per_minute, age) == (167, 59)
        now = 61.0
        flavors, age = await opened.flavors(token)
        assert (flavors[0].micro_usd_per_minute, age) == (999, 0)


@pytest.mark.parametrize(
    ("token", "error", "words"),
    [
        ("", TokenMissing, "none was given.*settings/tokens"),
        ("hf_" + "x" * 30, TokenRejected, "does not accept the token.*Invalid credentials.*settings/tokens"),
        ("hf_with space", TokenRejected, "spaces or line ends"),
        ("hf_line\n", TokenRejected, "spaces or line ends"),
        ("hf_ä", TokenRejected, "spaces or line ends"),
    ],
)
async def test_a_missing_or_wrong_token_has_its_own_sentence(
    desk: Desk, token: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        await desk.hub.identity(token)
    assert not token or token.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "namespace", "words"),
    [
        ("alice-read", "alice", "may only read; it cannot run jobs.*settings/tokens"),
        ("alice", "nobody", "no member of nobody.*alice, acme"),
        ("bob", "acme", "may only read in acme.*role write"),
        ("alice-fine", "acme", "lacks job.write for acme.*settings/tokens"),
    ],
)
async def test_jobs_in_a_namespace_where_the_token_may_not_are_refused_before_anything_is_sent(
    desk: Desk, user: str, namespace: str, words: str
) -> None:
    with pytest.raises(PermissionMissing, match=words):
        await desk.backend_of(user, namespace).submit(spec(namespace=namespace))
    assert desk.emulated.requests("/api/jobs/*", "POST") == []


async def test_the_hubs_own_refusal_of_a_permission_is_kept(desk: Desk) -> None:
    desk.emulated.faults.add(
        Fault("POST", "/api/jobs/alice", status=403, message="namespace alice, missing permissions: job.write")
    )
    with pytest.raises(PermissionMissing, match=r"missing permissions: job\.write.*settings/tokens"):
        await desk.backend.submit(spec())


def identity(**changes: Any) -> Identity:
    made: dict[str, Any] = {"name": "alice", "organisations": {"acme": "write", "club": "read"}, "access": "write"}
    return Identity(**(made | changes), tokens_page="https://hub/settings/tokens")


def test_what_a_token_may_write_follows_from_kind_role_and_scopes() -> None:
    assert identity().why_no_write("alice/m") is None
    assert identity().why_no_write("acme/m") is None
    assert "only read in club" in (identity().why_no_write("club/m") or "")
    assert "no member of evil" in (identity().why_no_write("evil/m") or "")
    assert "may only read" in (identity(access="read").why_no_write("alice") or "")
    assert identity(access="oauth").why_no_jobs("acme") is None


def test_a_fine_grained_token_is_judged_by_its_scopes() -> None:
    fine = identity(
        access="fineGrained",
        scopes=(
            TokenScope("user", "alice", frozenset({"job.write"})),
            TokenScope("model", "acme/m", frozenset({"repo.write"})),
        ),
    )
    assert fine.why_no_jobs("alice") is None
    assert "lacks job.write for acme" in (fine.why_no_jobs("acme") or "")
    assert fine.why_no_write("acme/m") is None
    assert "lacks repo.write for acme/other" in (fine.why_no_write("acme/other") or "")
    assert "lacks repo.write for alice/m" in (fine.why_no_write("alice/m") or "")


@pytest.mark.parametrize("endpoint", ["", "huggingface.co", "ftp://huggingface.co", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArguments, match="HF_ENDPOINT"):
        Hub(endpoint)


async def test_a_hub_that_is_not_there_is_told() -> None:
    async with Hub("http://127.0.0.1:9", sleep=quickly_counted) as hub:
        with pytest.raises(HubUnreachable, match="no connection to it can be made"):
            await hub.identity("hf_x")


async def quickly_counted(_seconds: float) -> None:
    assert _seconds <= 5
