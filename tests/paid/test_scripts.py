"""A caller's script as a paid job: priced, agreed, sent once, given what was named and nothing else, and run for real."""

import os
import random
import shutil
import string
import subprocess
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from uv import find_uv_bin

from tests.face.answer import Answer
from tests.hub import EmulatedHub, Fault, RunOptions
from tests.paid.desk import PaidDesk
from tests.paid.test_confirm import Person
from tests.paid.test_confirm import ask as ask_with_a_person
from trl_mcp.backends.hf_jobs import IMAGE

pytestmark = pytest.mark.anyio

WEATHER_KEY = "weather-0123456789"
SCRIPT = """\
import os
import sys

print("arguments", sys.argv[1:])
print("colour", os.environ.get("COLOUR"), "tqdm", os.environ.get("TQDM_DISABLE"))
print("token", "HF_TOKEN" in os.environ, "key", "WEATHER_KEY" in os.environ, "in image", os.environ.get("IN_IMAGE"))
sys.exit("--fail" in sys.argv)
"""
ASKED: dict[str, Any] = {"script": SCRIPT, "hardware": "cpu-basic", "timeout": "90m"}


@pytest.fixture
def desk(hub: EmulatedHub, hub_environ: Mapping[str, str]) -> PaidDesk:
    allowed = {"TRL_MCP_SECRETS": "HF_TOKEN,WEATHER_KEY", "WEATHER_KEY": WEATHER_KEY}
    return PaidDesk(hub, {**hub_environ, **allowed})


async def submit(desk: PaidDesk, **changes: Any) -> Answer:
    return await desk.ask("submit_script", **ASKED | {"max_cost_usd": 1} | changes)


async def script_at(desk: PaidDesk, uri: str) -> str:
    async with desk.client() as client:
        (content,) = (await client.read_resource(uri)).contents
    return getattr(content, "text", "")


async def test_without_a_cap_a_script_comes_back_as_a_plan_that_start_job_starts(desk: PaidDesk) -> None:
    plan = (await submit(desk, max_cost_usd=None, script_args=["1"])).result
    assert (plan["status"], plan["usd_ceiling"]) == ("planned", pytest.approx(0.01503))
    assert "Hugging Face Jobs in alice: cpu-basic at" in plan["where"]
    assert "only what the script pushes is kept" in plan["where"]
    assert desk.hub.jobs() == []
    started = await desk.ask("start_job", id=plan["plan_id"])
    assert started.result["status"] == "submitted", started.text
    assert await script_at(desk, started.result["script_uri"]) == await script_at(desk, plan["script_uri"])


async def test_what_is_sent_is_the_script_with_what_was_named_and_nothing_else(desk: PaidDesk) -> None:
    given = {"script_args": ["--a", "b c", "$HOME"], "env": ["COLOUR=red"], "secrets": ["WEATHER_KEY"], "name": "mine"}
    started = (await submit(desk, **given)).result
    (job,) = desk.hub.jobs()
    sent = desk.hub.job_spec(job["id"])
    assert sent["command"][-3:] == given["script_args"]
    assert (sent["dockerImage"], sent["flavor"], sent["timeoutSeconds"]) == (IMAGE, "cpu-basic", 5400)
    assert sent["secrets"] == {"WEATHER_KEY": WEATHER_KEY}
    assert (sent["environment"]["COLOUR"], sent["environment"]["TRL_MCP_NAME"]) == ("red", "mine")
    assert "TQDM_DISABLE" not in sent["environment"]
    assert "volumes" not in sent
    assert (sent["labels"]["kind"], sent["labels"]["method"]) == ("script", "script")
    text = await script_at(desk, started["script_uri"])
    assert '# flavor = "cpu-basic"\n' in text
    assert '# secrets = ["WEATHER_KEY"]\n' in text
    assert WEATHER_KEY not in text + str(sent["environment"]) + str(sent["command"])
    assert text.endswith(SCRIPT)


async def test_the_token_goes_to_the_job_only_when_it_is_asked_for(desk: PaidDesk) -> None:
    await submit(desk)
    await submit(desk, secrets=["HF_TOKEN"])
    sent = [desk.hub.job_spec(job["id"]) for job in desk.hub.jobs()]
    assert sorted(tuple(spec.get("secrets", {})) for spec in sent) == [(), ("HF_TOKEN",)]


async def test_the_same_script_many_times_at_once_is_one_job(desk: PaidDesk) -> None:
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await submit(desk))

    desk.hub.faults.add(Fault("POST", "/api/jobs/alice", kind="drop_after"))
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask)
    (job,) = desk.hub.jobs()
    assert sorted(answer.result["status"] for answer in answers) == ["already_submitted"] * 3 + ["submitted"]
    assert {answer.result["job_id"] for answer in answers} == {job["id"]}


async def test_another_image_secret_or_machine_is_another_job(desk: PaidDesk) -> None:
    ids = [
        (await submit(desk, **changes)).result["job_id"]
        for changes in ({}, {"image": "python:3.12"}, {"secrets": ["WEATHER_KEY"]}, {"hardware": "cpu-upgrade"})
    ]
    assert len(set(ids)) == 4


async def test_a_plan_whose_price_has_changed_is_refused_with_both_prices(desk: PaidDesk) -> None:
    plan_id = (await submit(desk, max_cost_usd=None)).result["plan_id"]
    desk.hub.set_price("cpu-basic", 999)
    desk.check_refusal(await desk.ask("start_job", id=plan_id), "from 167 to 999", "Nothing was started.")
    assert desk.hub.jobs() == []


async def test_a_plan_whose_secret_is_no_longer_handed_on_is_refused(desk: PaidDesk) -> None:
    plan_id = (await submit(desk, max_cost_usd=None, secrets=["WEATHER_KEY"])).result["plan_id"]
    stricter = desk.with_settings(TRL_MCP_SECRETS="HF_TOKEN")
    stricter.check_refusal(
        await stricter.ask("start_job", id=plan_id), "the secret WEATHER_KEY has changed", "Nothing was started."
    )
    assert desk.hub.jobs() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_cost_usd": 0.001}, ["money.cap", "max_cost_usd allows"]),
        ({"hardware": "cpu-basics"}, ['hardware cannot be "cpu-basics"', "cpu-basic $"]),
        ({"namespace": "acme2"}, ["auth.jobs", "no member of acme2"]),
        ({"image": "Foo/Bar"}, ['image cannot be "Foo/Bar"']),
        ({"script": "def f(:"}, ["no valid Python"]),
        ({"secrets": ["OTHER"]}, ["auth.secret", "TRL_MCP_SECRETS"]),
    ],
)
async def test_what_cannot_run_leaves_no_job_behind(desk: PaidDesk, changes: dict[str, Any], words: list[str]) -> None:
    desk.check_refusal(await submit(desk, **changes), *words)
    assert desk.hub.jobs() == []


async def test_a_script_too_large_to_travel_is_refused(desk: PaidDesk) -> None:
    letters = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=140_000))
    answer = await submit(desk, script=f"text = '{letters}'\nprint(len(text))\n")
    desk.check_refusal(answer, "too large for Hugging Face Jobs", "100,000")
    assert desk.hub.jobs() == []


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, ["script.not_pushed"]),
        ({"secrets": ["HF_TOKEN"]}, ["script.not_pushed"]),
        ({"secrets": ["HF_TOKEN"], "script_args": ["--push_to_hub"]}, []),
        ({"secrets": ["WEATHER_KEY"]}, []),
        ({"secrets": ["WEATHER_KEY"], "hardware": "a10g-largex2"}, ["script.one_process"]),
    ],
)
async def test_a_plan_warns_of_money_spent_for_nothing(
    desk: PaidDesk, changes: dict[str, Any], codes: list[str]
) -> None:
    plan = (await submit(desk, **changes, dry_run=True, max_cost_usd=None)).result
    assert [finding["code"] for finding in plan["findings"]] == codes


async def test_the_table_of_a_script_names_image_and_payer(desk: PaidDesk) -> None:
    table = '# /// script\n# [tool.hf-jobs]\n# image = "a/b:1"\n# namespace = "acme"\n# flavor = "h200x8"\n# ///\n'
    started = (await submit(desk, script=table + SCRIPT)).result
    (job,) = desk.hub.jobs("acme")
    sent = desk.hub.job_spec(job["id"])
    assert (sent["dockerImage"], sent["flavor"]) == ("a/b:1", "cpu-basic")
    assert "image a/b:1" in started["recipe"]


async def test_a_person_is_asked_with_what_the_script_is_given(desk: PaidDesk) -> None:
    person = Person("accept", {"start": True})
    asked = ASKED | {"max_cost_usd": 1, "secrets": ["HF_TOKEN"], "script_args": ["--steps", "7"]}
    answer = await ask_with_a_person(desk.environ, "auto", person, "submit_script", **asked)
    assert answer.result["status"] == "submitted"
    (question,) = person.questions
    for words in ("arguments --steps 7", "Secrets it is given: HF_TOKEN", "at most $0.0151"):
        assert words in question


class TestRunForReal:
    """Jobs that run, on a machine where uv may be missing."""

    @pytest.fixture
    def job_env(self, tmp_path: Path) -> dict[str, str]:
        """What the machine of the jobs has: uv, and a cache of its own."""
        inherited = {name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ}
        path = f"{Path(find_uv_bin()).parent}:/usr/bin:/bin"
        return {**inherited, "PATH": path, "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_PYTHON": "3.11"}

    @pytest.fixture
    def hub(self, tmp_path: Path, job_env: dict[str, str]) -> Generator[EmulatedHub]:
        with EmulatedHub.start(tmp_path / "hub", options=RunOptions(job_env=job_env)) as running:
            yield running

    async def ended(self, desk: PaidDesk, job_id: str) -> dict[str, Any]:
        with anyio.fail_after(120):
            while True:
                result = (await desk.ask("job_status", job_id=job_id)).result
                if result["stage"] in ("COMPLETED", "ERROR", "CANCELED"):
                    return result
                await anyio.sleep(0.2)

    async def test_a_script_runs_with_its_arguments_and_can_be_started_again(self, desk: PaidDesk) -> None:
        given = {"script_args": ["--fail", "a b"], "env": ["COLOUR=red"], "secrets": ["HF_TOKEN"]}
        first = (await submit(desk, **given)).result
        failed = await self.ended(desk, first["job_id"])
        again = (await desk.ask("start_job", id=first["job_id"], hardware="cpu-upgrade", max_cost_usd=1)).result
        second = await self.ended(desk, again["job_id"])
        assert (failed["stage"], failed["exit_code"], second["exit_code"]) == ("ERROR", 1, 1)
        assert "from its beginning" in again["recipe"]
        for job_id in (first["job_id"], again["job_id"]):
            log = desk.hub.job_log(job_id)
            assert "arguments ['--fail', 'a b']" in log
            assert "colour red tqdm None" in log
            assert "token True key False in image None" in log
        assert {job["flavor"] for job in desk.hub.jobs()} == {"cpu-basic", "cpu-upgrade"}
        assert {job["labels"]["part"] for job in desk.hub.jobs()} == {"1", "2"}


class TestInAnImageOfTheCallers(TestRunForReal):
    """The machine has python3 and pip, and no uv."""

    @pytest.fixture
    def job_env(self, tmp_path: Path) -> dict[str, str]:
        python = next((each for each in _pythons() if _has_pip(each)), None)
        if python is None:
            pytest.skip("no python3 here has pip")
        bin_folder = tmp_path / "image"
        bin_folder.mkdir()
        (bin_folder / "python3").write_text(f'#!/bin/sh\nIN_IMAGE=yes exec {python} "$@"\n', encoding="utf-8")
        (bin_folder / "python3").chmod(0o755)
        wheels = tmp_path / "wheels"
        write_uv_wheel(wheels)
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
        return {"PATH": f"{bin_folder}:/usr/bin:/bin", **pip}

    async def test_a_script_runs_with_its_arguments_and_can_be_started_again(self, desk: PaidDesk) -> None:
        given = {"image": "owner/image:1", "script_args": ["a b"]}
        first = (await submit(desk, **given)).result
        assert (await self.ended(desk, first["job_id"]))["stage"] == "COMPLETED", desk.hub.job_log(first["job_id"])
        assert "token False key False in image yes" in desk.hub.job_log(first["job_id"])
        again = (await desk.ask("start_job", id=first["job_id"], max_cost_usd=1)).result
        assert desk.hub.job_spec(again["job_id"])["dockerImage"] == "owner/image:1"

    async def test_uv_is_brought_where_the_image_lacks_it(self, desk: PaidDesk) -> None:
        given = {"image": "owner/image:1", "dependencies": ["pip"], "script_args": ["a b"]}
        first = (await submit(desk, **given)).result
        status = await self.ended(desk, first["job_id"])
        log = desk.hub.job_log(first["job_id"])
        assert status["stage"] == "COMPLETED", log
        assert "uv was asked to run script.py" in log
        assert "arguments ['a b']" in log


def _pythons() -> list[str]:
    found = [shutil.which("python3", path=folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    return [each for each in found if each]


def _has_pip(python: str) -> bool:
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def write_uv_wheel(folder: Path) -> None:
    """Write a package `uv` whose program says that it was asked and leaves the script to python3."""
    folder.mkdir()
    info = "uv-1.0.dist-info"
    program = '#!/bin/sh\necho "uv was asked to $1 $(basename "$2")"\nshift\nexec python3 "$@"\n'
    files = {
        "uv-1.0.data/scripts/uv": program,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: uv\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "uv-1.0-py3-none-any.whl", "w") as archive:
        for file, content in {**files, f"{info}/RECORD": record}.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
