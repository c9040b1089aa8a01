"""The text of a script on the web: https only, public hosts only, text only, whole and in time."""

import hashlib
import socket
import ssl
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import FAKE_TOKEN
from tests.data.test_web_source import Web
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible, TrlMcpError
from trl_mcp.hub.hub import Hub
from trl_mcp.plan.place import Gathering, Wish
from trl_mcp.plan.script import plan_script
from trl_mcp.plan.script_source import MOST_BYTES, fetch_script
from trl_mcp.recipes.script import ScriptAsked, raw_address
from trl_mcp.settings import Settings
from trl_mcp.values import Severity

pytestmark = pytest.mark.anyio
SCRIPT = 'print("größer")\r\n'


@pytest.fixture
def web(tmp_path: Path) -> Generator[Web]:
    with Web.serving(tmp_path) as server:
        yield server


async def fetch(web: Web, path: str) -> str:
    return await fetch_script(web.address + path, web.trust, ("127.0.0.1",))


async def refusal(web: Web, path: str, kind: type[TrlMcpError]) -> str:
    with pytest.raises(kind) as refused:
        await fetch(web, path)
    assert "Nothing was started." in str(refused.value)
    return str(refused.value)


async def test_a_script_is_fetched_as_it_stands_there(web: Web) -> None:
    web.files["/train.py"] = SCRIPT.encode()
    assert await fetch(web, "/train.py?token=1#L3") == SCRIPT
    assert len(web.asked) == 1
    assert "Authorization" not in web.asked[0]


async def test_a_script_that_has_moved_is_found_where_that_is_https(web: Web) -> None:
    web.files["/new.py"] = SCRIPT.encode()
    web.moved |= {"/old.py": f"{web.address}/new.py", "/plain.py": web.address.replace("https", "http") + "/new.py"}
    web.moved |= {"/round.py": f"{web.address}/round.py"}
    assert await fetch(web, "/old.py") == SCRIPT
    assert "not https" in await refusal(web, "/plain.py", NotPossible)
    assert "too often" in await refusal(web, "/round.py", NotPossible)


async def test_a_move_to_a_host_of_this_network_is_not_followed(web: Web) -> None:
    port = web.address.rpartition(":")[2]
    web.files["/new.py"] = SCRIPT.encode()
    web.moved["/old.py"] = f"https://localhost:{port}/new.py"
    assert "localhost is no public host" in await refusal(web, "/old.py", InvalidArguments)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("path", "content", "kind", "words"),
    [
        ("/none.py", None, NotFound, "no script at this address"),
        ("/locked.jsonl", None, NotPossible, "status 401"),
        ("/page.py", b"\n<!DOCTYPE html><html></html>", InvalidArguments, "a page for people"),
        ("/model.py", b"\x80\x02\x00\xff", InvalidArguments, "no text"),
        ("/zero.py", b"print()\0", InvalidArguments, "no text"),
        ("/large.py", b"#" * (MOST_BYTES + 1), InvalidArguments, "larger than 1,000,000 bytes"),
    ],
)
async def test_what_is_no_script_is_refused_in_words(
    web: Web, path: str, content: bytes | None, kind: type[TrlMcpError], words: str
) -> None:
    if content is not None:
        web.files[path] = content
    assert words in await refusal(web, path, kind)


async def test_a_host_that_says_nothing_is_given_up() -> None:
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotPossible, match="ConnectTimeout"):
        await fetch_script(f"https://127.0.0.1:{silent.getsockname()[1]}/a.py", None, ("127.0.0.1",), seconds=0.5)
    assert time.monotonic() - begun < 5


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(web: Web) -> None:
    web.files["/train.py"] = SCRIPT.encode()
    with pytest.raises(NotPossible, match="does not answer"):
        await fetch_script(f"{web.address}/train.py", ssl.create_default_context(), ("127.0.0.1",))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "192.168.1.1"])
async def test_hosts_of_this_machine_and_its_network_are_not_asked(host: str) -> None:
    with pytest.raises(InvalidArguments, match="no public host"):
        await fetch_script(f"https://{host}/a.py")


@pytest.mark.parametrize("address", ["http://example.org/a.py", "ftp://example.org/a", "https://me:pw@example.org/a"])
async def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidArguments, match="public https URL"):
        await fetch_script(address)


async def test_a_script_from_the_web_is_given_nothing_that_only_it_asks_for(settings: Settings) -> None:
    table = '# /// script\n# [tool.hf-jobs]\n# secrets = ["HF_TOKEN"]\n# env = {SIZE = "1"}\n# ///\n'
    asked = ScriptAsked(table + SCRIPT, source="https://example.org/x.py")
    async with Hub(settings.hub_endpoint, cache=settings.home) as hub:
        gathering = Gathering(hub, FAKE_TOKEN)
        plan = await plan_script(asked, Wish("local", "5m"), gathering, settings)
        trusted = await plan_script(replace(asked, secrets=("HF_TOKEN",)), Wish("local", "5m"), gathering, settings)
        own = await plan_script(replace(asked, source=""), Wish("local", "5m"), gathering, settings)
    assert (plan.secrets, plan.env) == ((), {"SIZE": "1"})
    assert [each.code for each in plan.findings if each.severity is Severity.WARNING] == ["script.secrets"]
    assert 'secrets=["HF_TOKEN"]' in plan.findings[-1].fix
    digest = hashlib.sha256((table + SCRIPT).encode()).hexdigest()[:16]
    assert f"script x.py; 6 lines, sha256 {digest} from https://example.org/x.py" in plan.recipe
    assert trusted.secrets == own.secrets == ("HF_TOKEN",)


@pytest.mark.parametrize(
    ("page", "raw"),
    [
        (
            "https://github.com/huggingface/trl/blob/main/trl/scripts/sft.py#L10",
            "https://raw.githubusercontent.com/huggingface/trl/main/trl/scripts/sft.py",
        ),
        ("https://gist.github.com/someone/0123456789abcdef", "https://gist.github.com/someone/0123456789abcdef/raw"),
        (
            "https://huggingface.co/datasets/a/b/blob/main/x.py",
            "https://huggingface.co/datasets/a/b/resolve/main/x.py",
        ),
        ("https://example.org/x.py?a=1", "https://example.org/x.py?a=1"),
    ],
)
def test_pages_that_show_a_script_are_read_raw(page: str, raw: str) -> None:
    assert raw_address(page) == raw
