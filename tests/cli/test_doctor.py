"""`trl-mcp doctor` says what would break, and its exit code says whether anything would."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.hub import EmulatedHub
from trl_mcp import environments
from trl_mcp.render.templates import template_source


@pytest.fixture(autouse=True)
def token_environment(home: Path) -> None:
    """Let the environment that tokens are counted in be there already."""
    header = environments.write_header(environments.read_header(template_source("count_tokens")))
    folder = home / "envs" / hashlib.sha256(header.encode()).hexdigest()[:16]
    folder.mkdir(parents=True)
    (folder / "ready.json").write_text(json.dumps({"python": sys.executable, "cpu_only": False}), encoding="utf-8")


def test_a_machine_without_a_token_is_well_for_local_jobs(trl_mcp: Run, home: Path) -> None:
    done = trl_mcp("doctor")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["system", "home", "uv", "device", "token", "Hugging"]
    assert "not used: HF_TOKEN is not set; local jobs only" in lines[-1]
    assert [path.name for path in home.iterdir()] == ["envs"]


def test_an_environment_that_cannot_be_made_ahead_is_told_with_the_reason(trl_mcp: Run, home: Path) -> None:
    shutil.rmtree(home)
    done = trl_mcp("doctor")
    assert done.returncode == 1
    assert "!!  token counting  The environment could not be made:" in done.stdout
    assert "Let uv reach a package index, and run trl-mcp doctor again." in done.stdout


def test_a_server_set_offline_asks_nobody(trl_mcp: Run, hub: EmulatedHub) -> None:
    done = trl_mcp("doctor", HF_HUB_OFFLINE="1", HF_TOKEN=hub.tokens["alice"], HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0
    assert "HF_HUB_OFFLINE is set" in done.stdout
    assert hub.requests() == []


def test_a_good_token_may_run_jobs_in_each_of_its_namespaces(trl_mcp: Run, hub: EmulatedHub) -> None:
    done = trl_mcp("doctor", HF_TOKEN=hub.tokens["alice"], HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stdout
    assert "ok  token  write, of alice" in done.stdout
    assert "ok  jobs in alice  may run jobs and keep models" in done.stdout
    assert "ok  jobs in acme  may run jobs and keep models" in done.stdout
    assert "from cpu-basic at $0.0100/h" in done.stdout
    assert "!!" not in done.stdout


def test_a_role_that_may_only_read_elsewhere_breaks_nothing(trl_mcp: Run, hub: EmulatedHub) -> None:
    done = trl_mcp("doctor", HF_TOKEN=hub.tokens["bob"], HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0
    assert "bob may only read in acme" in done.stdout


def test_a_read_only_token_is_told_once_with_the_page_for_another(trl_mcp: Run, hub: EmulatedHub) -> None:
    done = trl_mcp("doctor", HF_TOKEN=hub.tokens["alice-read"], HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 1
    assert f"!!  jobs in alice  The token of alice may only read; it cannot run jobs. {page(hub)}" in done.stdout
    assert done.stdout.count("it cannot run jobs") == 2  # of alice and of acme


def page(hub: EmulatedHub) -> str:
    return f"Make one that may write: {hub.endpoint}/settings/tokens"


@pytest.mark.parametrize("token", ["broken", "none of the Hub's"])
def test_a_token_that_is_not_accepted_is_told_with_the_mend(trl_mcp: Run, hub: EmulatedHub, token: str) -> None:
    value = hub.tokens.get(token, "hf_" + "x" * 34)
    done = trl_mcp("doctor", HF_TOKEN=value, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 1
    assert "!!  Hub  The Hub does not accept the token" in done.stdout
    assert f"Make a new one at {hub.endpoint}/settings/tokens and set it as HF_TOKEN." in done.stdout


def test_a_hub_that_is_not_there_is_told(trl_mcp: Run) -> None:
    done = trl_mcp("doctor", HF_TOKEN="hf_" + "x" * 34, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "no connection to it can be made" in done.stdout


def test_a_setting_that_cannot_be_understood_is_named(trl_mcp: Run) -> None:
    for command, code in (("doctor", 1), ("clean", 1), ("stdio", 2)):
        done = trl_mcp(command, TRL_MCP_MAX_USD_PER_JOB="abc")
        assert done.returncode == code
        assert "TRL_MCP_MAX_USD_PER_JOB is 'abc'. It is an amount in USD" in done.stdout + done.stderr
        done = trl_mcp(command, HF_ENDPOINT="huggingface.co")
        assert done.returncode == code
        assert "HF_ENDPOINT is 'huggingface.co'. It is an address such as https" in done.stdout + done.stderr


def test_a_home_that_cannot_be_written_to_is_told(trl_mcp: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = trl_mcp("doctor", TRL_MCP_HOME=str(tmp_path / "file"))
    assert done.returncode == 1
    assert "Set TRL_MCP_HOME to a folder of yours." in done.stdout
