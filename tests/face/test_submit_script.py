"""What submit_script makes of a script on this machine: what runs, what is refused before anything starts."""

import json
import os
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.backends.fake_index import FakeIndex
from tests.conftest import FAKE_TOKEN, Connect
from tests.data.test_web_source import Web
from tests.face.conftest import Ask, Refuses
from trl_mcp import environments
from trl_mcp.recipes.script import STANDALONE
from trl_mcp.render.script import read_run
from trl_mcp.render.templates import template_source, templates_folder

pytestmark = pytest.mark.anyio

WEATHER_KEY = "weather-0123456789"
SCRIPT = """\
import json
import os
import sys
from pathlib import Path

Path("made.json").write_text(json.dumps([sys.argv[1:], os.environ.get("COLOUR"), os.environ.get("TQDM_DISABLE")]))
print("the key is", os.environ.get("WEATHER_KEY"), "and the token", os.environ.get("HF_TOKEN"))
sys.exit("--fail" in sys.argv)
"""
ASKED = {"script": SCRIPT, "hardware": "local", "timeout": "5m"}
PAGE = Path(__file__).parents[2] / "docs" / "scripts.md"


@pytest.fixture
def index(tmp_path: Path) -> FakeIndex:
    """A package index with one package."""
    index = FakeIndex(tmp_path / "index")
    index.add("weather", "1.5")
    return index


@pytest.fixture
def environ(environ: Mapping[str, str], index: FakeIndex, tmp_path: Path) -> Mapping[str, str]:
    """Let this machine run what a caller has written, with two secrets, of which one is set."""
    allowed = {"TRL_MCP_ALLOW_LOCAL_CODE": "1", "TRL_MCP_SECRETS": "HF_TOKEN,WEATHER_KEY,UNSET_KEY"}
    # Only what lies in the index is there, whatever folders of wheels this machine has.
    uv = {"UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_CONFIG_FILE": os.devnull}
    return {**environ, **allowed, **uv, "WEATHER_KEY": WEATHER_KEY}


async def ended(ask: Ask, job_id: str) -> dict[str, Any]:
    """Return the status of a job that is over."""
    with anyio.fail_after(60):
        while True:
            result = (await ask("job_status", job_id=job_id)).result
            if result["stage"] in ("COMPLETED", "ERROR", "CANCELED"):
                return result
            await anyio.sleep(0.1)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Web]:
    """A web server on loopback whose certificate this machine trusts."""
    folder = tmp_path / "web"
    folder.mkdir()
    with Web.serving(folder) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        yield server


async def test_a_script_is_fetched_once_and_runs_as_it_stood_there(ask: Ask, connect: Connect, web: Web) -> None:
    web.files["/train.py"] = SCRIPT.encode()
    asked = ASKED | {"script": f"{web.address}/train.py?key=1"}
    answer = await ask("submit_script", **asked)
    assert f"from {web.address}/train.py;" in answer.result["recipe"]
    assert (await ended(ask, answer.result["job_id"]))["stage"] == "COMPLETED"
    assert SCRIPT in await script_at(connect, answer.result["script_uri"])
    assert len(web.asked) == 1


async def script_at(connect: Connect, uri: str) -> str:
    async with connect() as client:
        (content,) = (await client.read_resource(uri)).contents
    return getattr(content, "text", "")


async def test_a_script_runs_with_its_arguments_variables_and_secrets_and_its_files_stay(ask: Ask) -> None:
    given = {"script_args": ["--name", "a b", "$HOME", "--fail=no"], "env": ["COLOUR=blue = 1"]}
    started = (await ask("submit_script", **ASKED, **given, secrets=["WEATHER_KEY", "HF_TOKEN"])).result
    status = await ended(ask, started["job_id"])
    assert (started["status"], status["stage"]) == ("submitted", "COMPLETED")
    made = json.loads((Path(status["output_path"]) / "made.json").read_text(encoding="utf-8"))
    assert made == [given["script_args"], "blue = 1", None]
    log = (await ask("job_logs", job_id=started["job_id"])).result["lines"]
    assert "the key is *** and the token ***" in log
    folder = Path(status["output_path"]).parent
    kept = [
        path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*.*") if path.name != "log.txt"
    ]
    assert [text for text in kept if WEATHER_KEY in text or FAKE_TOKEN in text] == []


async def test_a_script_gets_no_secret_that_was_not_asked_for(ask: Ask) -> None:
    started = (await ask("submit_script", **ASKED)).result
    assert "no secrets" in started["recipe"]
    await ended(ask, started["job_id"])
    log = (await ask("job_logs", job_id=started["job_id"])).result["lines"]
    assert "the key is None and the token None" in log


async def test_the_same_call_is_one_job_and_another_argument_another(ask: Ask) -> None:
    first = (await ask("submit_script", **ASKED, script_args=["1"])).result
    again = (await ask("submit_script", **ASKED | {"timeout": "6m", "name": "other"}, script_args=["1"])).result
    others = [{"script_args": ["2"]}, {"script_args": ["1"], "env": ["COLOUR=red"]}, {"script_args": ["1", ""]}]
    ids = {(await ask("submit_script", **ASKED, **other)).result["job_id"] for other in others}
    assert (again["status"], again["job_id"]) == ("already_submitted", first["job_id"])
    assert len(ids | {first["job_id"]}) == 4


async def test_the_script_of_a_job_given_back_is_the_same_run(ask: Ask, connect_newest: Connect) -> None:
    given: dict[str, Any] = {"script_args": ["x"], "env": ["COLOUR=red"], "secrets": ["WEATHER_KEY"]}
    first = (await ask("submit_script", **ASKED, **given)).result
    text = await script_at(connect_newest, first["script_uri"])
    again = (await ask("submit_script", **ASKED | {"script": text}, script_args=["x"])).result
    assert (again["status"], again["job_id"]) == ("already_submitted", first["job_id"])


async def test_a_failed_script_starts_again_from_its_beginning_with_what_it_had(ask: Ask) -> None:
    given: dict[str, Any] = {"script_args": ["--fail"], "env": ["COLOUR=red"], "secrets": ["WEATHER_KEY"]}
    first = (await ask("submit_script", **ASKED, **given)).result
    failed = await ended(ask, first["job_id"])
    again = (await ask("start_job", id=first["job_id"], timeout="6m")).result
    status = await ended(ask, again["job_id"])
    assert (failed["stage"], failed["exit_code"], again["status"]) == ("ERROR", 1, "submitted")
    assert again["job_id"] == first["job_id"].removesuffix("-1") + "-2"
    assert "from its beginning" in again["recipe"]
    assert again["timeout_s"] == 360
    made = json.loads((Path(status["output_path"]) / "made.json").read_text(encoding="utf-8"))
    assert made == [["--fail"], "red", None]
    assert "the key is *** and the token None" in (await ask("job_logs", job_id=again["job_id"])).result["lines"]


async def test_a_completed_script_runs_again_under_a_key_of_its_own(ask: Ask) -> None:
    first = (await ask("submit_script", **ASKED)).result
    await ended(ask, first["job_id"])
    again = (await ask("start_job", id=first["job_id"])).result
    assert again["job_id"] == first["job_id"].removesuffix("-1") + "r1-1"
    refused = await ask("start_job", id=first["job_id"], trainer_args=["max_steps=3"])
    assert "has no trainer arguments" in refused.text


async def test_a_plan_runs_the_text_that_was_shown(ask: Ask, connect_newest: Connect) -> None:
    plan = (await ask("submit_script", **ASKED, script_args=["7"], dry_run=True)).result
    assert (plan["status"], plan["next_call"]) == ("planned", f'start_job(id="{plan["plan_id"]}")')
    shown = await script_at(connect_newest, plan["script_uri"])
    started = (await ask("start_job", id=plan["plan_id"])).result
    assert started["status"] == "submitted"
    assert await script_at(connect_newest, started["script_uri"]) == shown
    assert shown.endswith(SCRIPT)


async def test_packages_join_those_of_the_header(ask: Ask, connect_newest: Connect, index: FakeIndex) -> None:
    index.add("sunshine", "2.0")
    script = (
        '# /// script\n# dependencies = [\n#     "weather",  # for the forecast\n# ]\n# ///\nimport weather, sunshine\n'
    )
    script += "print(weather.version, sunshine.version)\n"
    plan = (await ask("submit_script", **ASKED | {"script": script}, dependencies=["sunshine>=2"])).result
    assert "packages sunshine>=2, weather" in plan["recipe"]
    text = await script_at(connect_newest, plan["script_uri"])
    assert '# dependencies = ["sunshine>=2", \n#     "weather",  # for the forecast\n# ]' in text
    await ended(ask, plan["job_id"])
    assert "1.5 2.0" in (await ask("job_logs", job_id=plan["job_id"])).result["lines"]


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (["nosuchpackage"], ["cannot be had", "nosuchpackage was not found"]),
        (["weather==9"], ["cannot be had", "no version of weather==9"]),
        (["weather", "weather<1"], ["cannot be had", "weather<1"]),
        (["wea ther"], ['"wea ther", which is no requirement', '"trl==1.16.0"']),
    ],
    ids=["unknown", "version", "conflict", "no requirement"],
)
async def test_packages_that_cannot_be_had_are_refused(refuses: Refuses, packages: list[str], words: list[str]) -> None:
    await refuses([*words, "Nothing was started."], "submit_script", **ASKED, dependencies=packages)


@pytest.mark.parametrize("name", ["weather @ https://example.org/weather-1.0-py3-none-any.whl"])
async def test_packages_that_lie_elsewhere_are_left_to_the_job(ask: Ask, name: str) -> None:
    plan = (await ask("submit_script", **ASKED, dependencies=[name], dry_run=True)).result
    assert (plan["status"], plan["infos"]) == ("planned", 1)


async def test_the_table_of_a_script_fills_what_the_call_leaves_out(ask: Ask, connect_newest: Connect) -> None:
    table = 'env = {COLOUR = "red", SIZE = "3"}\nsecrets = ["WEATHER_KEY"]\nname = "mine"\nvolumes = ["a:/b"]'
    lines = ["/// script", "[tool.hf-jobs]", *table.split("\n"), "///"]
    script = "".join(f"# {line}\n" for line in lines) + SCRIPT
    plan = (await ask("submit_script", **ASKED | {"script": script}, env=["COLOUR=blue"], dry_run=True)).result
    assert "script mine" in plan["recipe"]
    assert "env COLOUR, SIZE; secrets WEATHER_KEY" in plan["recipe"]
    (warning,) = plan["findings"]
    assert (warning["code"], "volumes" in warning["message"]) == ("script.unused", True)
    text = await script_at(connect_newest, plan["script_uri"])
    assert text.count("[tool.hf-jobs]") == 1
    assert 'env = {COLOUR = "blue", SIZE = "3"}' in text


async def test_text_for_a_newer_python_is_a_warning(ask: Ask) -> None:
    script = '# /// script\n# requires-python = ">=3.99"\n# ///\nx = 3 +++ from later\n'
    plan = (await ask("submit_script", **ASKED | {"script": script}, dry_run=True)).result
    assert [finding["code"] for finding in plan["findings"]] == ["script.syntax"]


async def test_what_python_only_warns_of_is_no_fault(ask: Ask) -> None:
    plan = (await ask("submit_script", **ASKED | {"script": 'print("\\d")\n'}, dry_run=True)).result
    assert (plan["status"], plan["findings"]) == ("planned", [])


async def test_line_ends_of_windows_make_no_other_script(ask: Ask, connect_newest: Connect) -> None:
    plans = [
        (await ask("submit_script", **ASKED | {"script": text}, dry_run=True)).result
        for text in (SCRIPT, "\ufeff" + SCRIPT.replace("\n", "\r\n"))
    ]
    texts = [await script_at(connect_newest, plan["script_uri"]) for plan in plans]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("template", STANDALONE)
async def test_a_template_that_stands_alone_is_taken_by_its_name(
    ask: Ask, connect_newest: Connect, index: FakeIndex, template: str
) -> None:
    packages = environments.read_header(template_source(template))["dependencies"]
    for name, _, version in (package.partition("==") for package in packages):
        index.add(name.partition("[")[0], version)
    answer = await ask("submit_script", **ASKED | {"script": f"templates/{template}.py"}, dry_run=True)
    assert not answer.is_error, answer.text
    plan = answer.result
    text = await script_at(connect_newest, plan["script_uri"])
    assert f"from templates/{template}.py" in plan["recipe"]
    assert "from _job" not in text
    assert read_run(text) == read_run(template_source(template))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"script": "def f(:\n    pass\n"}, ["line 1: invalid syntax (def f(:)"]),
        ({"script": "print(1)\n  print(2)\n"}, ["line 2: unexpected indent"]),
        ({"script": "print('\0')\n"}, ["no valid Python: source code string cannot contain null bytes"]),
        ({"script": ""}, ["script is empty", "https URL"]),
        ({"script": "# only this\n"}, ["does nothing"]),
        ({"script": "owner/name"}, ["does nothing"]),
        ({"script": "train.py"}, ['the name of a file, "train.py"', "text of the file"]),
        ({"script": "/home/me/train.py"}, ["files are not read"]),
        ({"script": "templates/sft.py"}, ["no script that can be run as it is", "submit_training"]),
        ({"script": "http://example.org/a.py"}, ["public https URL"]),
        ({"script": "# /// script\n# dependencies = [\n# ///\n" + SCRIPT}, ["no valid TOML", "dependencies = "]),
        ({"script": "# /// script\n# dependencies = []\n" + SCRIPT}, ["not closed"]),
        ({"script": f"token = '{FAKE_TOKEN}'\nprint(1)\n"}, ["The script holds what looks like a token"]),
        ({"script_args": ["--token", FAKE_TOKEN]}, ["script_args holds what looks like a token"]),
        ({"script": f"print('{WEATHER_KEY}')\n"}, ["The script holds"]),
        ({"env": ["COLOUR"]}, ['each entry is "name=value", not COLOUR']),
        ({"env": ["1A=2"]}, ['"1A", which is no name of a variable']),
        ({"env": ["TRL_MCP_OUTPUT=/"]}, ["cannot set TRL_MCP_OUTPUT"]),
        ({"env": ["HF_TOKEN=x"]}, ["HF_TOKEN is a secret", 'secrets=["HF_TOKEN"]']),
        ({"env": ["WEATHER_KEY=x"], "secrets": ["WEATHER_KEY"]}, ["WEATHER_KEY is a secret"]),
        ({"secrets": ["HF_TOKEN=abc"]}, ['secrets names "HF_TOKEN"', "without values"]),
        ({"secrets": ["NOT_MINE"]}, ["auth.secret", "TRL_MCP_SECRETS=HF_TOKEN,WEATHER_KEY,UNSET_KEY,NOT_MINE"]),
        ({"secrets": ["UNSET_KEY"]}, ["auth.secret", "UNSET_KEY is not set for the server"]),
        ({"image": "python:3.12"}, ["image is for Hugging Face Jobs"]),
        ({"image": "Python 3"}, ['image cannot be "Python 3"', "huggingface/trl"]),
        ({"image": "huggingface.co/spaces/a/b"}, ["no Space"]),
        ({"name": "a\tname"}, ["name cannot be", "letters, digits, spaces"]),
        ({"timeout": "auto"}, ["How long a script takes is not known", "90m"]),
        ({"timeout": "5x"}, ['timeout cannot be "5x"']),
        ({"hardware": "auto"}, ["no hardware can be chosen"]),
        ({"hardware": "cpu-basic"}, ["stay offline"]),
        ({"namespace": "acme"}, ["a local job is free"]),
        ({"argv": ["1"]}, ['There is no argument "argv"']),
    ],
)
async def test_what_cannot_be_meant_is_refused(refuses: Refuses, changes: dict[str, Any], words: list[str]) -> None:
    answer = await refuses([*words, "Nothing was started."], "submit_script", **ASKED | changes)
    assert WEATHER_KEY not in answer.text


@pytest.mark.parametrize("name", ["script", "hardware", "timeout"])
async def test_what_is_needed_is_asked_for(refuses: Refuses, name: str) -> None:
    asked = {key: value for key, value in ASKED.items() if key != name}
    await refuses([f'"{name}" is missing', "Nothing was started."], "submit_script", **asked)


class TestWithoutPermission:
    @pytest.fixture
    def environ(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        return {name: value for name, value in environ.items() if name != "TRL_MCP_ALLOW_LOCAL_CODE"}

    @pytest.mark.parametrize("dry_run", [True, False])
    async def test_no_script_runs_where_the_operator_has_not_allowed_it(self, refuses: Refuses, dry_run: bool) -> None:
        words = ["auth.local_code", "The script would run on this machine", "TRL_MCP_ALLOW_LOCAL_CODE=1"]
        await refuses(words, "submit_script", **ASKED, dry_run=dry_run)


def examples() -> list[dict[str, Any]]:
    """Return the calls that the page on scripts shows."""
    return [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    ]


@pytest.mark.parametrize("example", [each for each in examples() if each["hardware"] == "local"])
async def test_the_local_examples_of_the_page_run(ask: Ask, example: dict[str, Any]) -> None:
    started = (await ask("submit_script", **example)).result
    assert (await ended(ask, started["job_id"]))["stage"] == "COMPLETED"


def test_the_page_on_scripts_names_templates_that_are_there() -> None:
    named = re.findall(r"templates/(\w+)\.py", PAGE.read_text(encoding="utf-8"))
    assert [name for name in named if not (templates_folder() / f"{name}.py").is_file()] == []
