"""preset and config in trainer_args: they stand for what they bring, on every way that a training is asked for."""

import json
import os
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import INHERITED, without_counting
from tests.data.test_web_source import Web
from tests.estimate.stored_models import stored_files
from tests.face.answer import Answer
from tests.face.conftest import Ask, Refuses
from tests.hub import EmulatedHub
from tests.paid.desk import ROWS, PaidDesk
from trl_mcp.errors import InvalidArguments, NotFound
from trl_mcp.plan.script_source import fetch_script
from trl_mcp.render.script import read_run
from trl_mcp.settings import Settings
from trl_mcp.tools.ready_made import with_ready_made
from trl_mcp.tools.submit_training import SubmitTraining

pytestmark = pytest.mark.anyio
PRESET = {"method": "sft", "model": "Qwen/Qwen3-0.6B", "dataset": "alice/sums", "trainer_args": ["preset=trl-jobs"]}
CONFIG = """
learning_rate: 2.0e-4
num_train_epochs: 2
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
packing: true
use_peft: true
lora_r: 8
output_dir: somewhere
report_to: none
"""
WRITTEN_OUT: dict[str, Any] = {
    "learning_rate": 2e-4,
    "epochs": 2,
    "tuning": "lora",
    "trainer_args": {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "packing": True,
        "lora_r": 8,
        "lora_dropout": 0.05,
        "report_to": "none",
    },
}


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmulatedHub]:
    """A Hub with a model that has a preset, and with data."""
    with EmulatedHub.start(tmp_path_factory.mktemp("hub")) as running:
        running.add_org("Qwen", {})
        running.add_repo("Qwen/Qwen3-0.6B", stored_files("qwen3-0.6b"))
        running.add_repo("alice/sums", {"train.jsonl": ROWS}, repo_type="dataset")
        yield running


@pytest.fixture
def desk(shared_hub: EmulatedHub, home: Path) -> PaidDesk:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    without_counting(home)
    own = {"HF_ENDPOINT": shared_hub.endpoint, "HF_TOKEN": shared_hub.tokens["alice"], "TRL_MCP_HOME": str(home)}
    return PaidDesk(shared_hub, kept | own)


@pytest.fixture
def web(tmp_path: Path) -> Generator[Web]:
    with Web.serving(tmp_path) as server:
        yield server


async def planned(desk: PaidDesk, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a plan of a training on the Hub, and the RUN literal of its script."""
    answer = await desk.ask("submit_training", **PRESET | changes, dry_run=True)
    assert answer.result.get("status") == "planned", answer.text
    async with desk.client() as client:
        contents = (await client.read_resource(answer.result["script_uri"])).contents
    return answer.result, read_run("".join(getattr(part, "text", "") for part in contents))


async def expanded(web: Web, config: str) -> tuple[SubmitTraining, list[str]]:
    """Return the arguments that a configuration stands for; this web server, and no other of this machine, is asked."""
    given = {"method": "sft", "model": "a/b", "dataset": "c/d", "trainer_args": {"config": config}}
    fetch = partial(fetch_script, trust=web.trust, private_hosts=("127.0.0.1",))
    arguments, findings = await with_ready_made(SubmitTraining.model_validate(given), fetch)
    return arguments, [finding.message for finding in findings]


async def run_of(ask: Ask, training: dict[str, Any], settings: Settings, **arguments: Any) -> dict[str, Any]:
    """Return the RUN literal of a planned training on this machine."""
    answer = await ask("submit_training", **training | arguments, dry_run=True)
    assert answer.result.get("status") == "planned", answer.text
    (path,) = settings.home.glob(f"plans/*/{answer.result['plan_id']}.json")
    return read_run(json.loads(path.read_text(encoding="utf-8"))["script"])


async def test_a_preset_is_planned_with_its_values_and_hardware_stays_open(desk: PaidDesk) -> None:
    plan, run = await planned(desk)
    assert run["tuning"] == "full"
    expected = {"max_length": 32768, "packing": True, "warmup_steps": 0.03, "save_steps": 150, "max_grad_norm": 0.2}
    assert {name: run["config"][name] for name in expected} == expected
    assert run["config"]["report_to"] == ["trackio"]
    assert run["config"]["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    split = run["config"]["per_device_train_batch_size"], run["config"]["gradient_accumulation_steps"]
    assert split[0] * split[1] == 2
    assert plan["infos"] >= 2
    assert "hardware: " in plan["where"]


async def test_a_preset_and_its_values_written_out_are_one_run(desk: PaidDesk) -> None:
    _, run = await planned(desk)
    fields = {
        name: value for name, value in run["config"].items() if not name.startswith(("per_device_t", "gradient_a"))
    }
    for name in ("trackio_space_id", "num_train_epochs", "learning_rate", "max_length"):
        fields.pop(name)
    values = {"epochs": 1, "learning_rate": 2e-5, "max_length": 32768, "batch_size": 2, "tuning": "full"}
    _, written_out = await planned(desk, trainer_args=fields, **values)
    assert written_out["run_key"] == run["run_key"]
    _, other = await planned(desk, max_length=4096)
    assert other["run_key"] != run["run_key"]


async def test_a_preset_can_be_named_at_top_level_and_what_is_given_wins(desk: PaidDesk) -> None:
    _, run = await planned(desk, preset="trl-jobs", trainer_args=["max_steps=5", "warmup_ratio=0.2"], max_length=512)
    config = run["config"]
    assert (config["max_steps"], config["warmup_steps"], config["max_length"]) == (5, 0.2, 512)
    assert config["save_steps"] == 150


async def test_the_plan_of_a_preset_starts_as_it_was_shown(desk: PaidDesk) -> None:
    plan, run = await planned(desk, hardware="a100-large", timeout="1h")
    started = await desk.ask("start_job", id=plan["plan_id"])
    assert started.result["status"] == "submitted", started.text
    (job,) = desk.hub.jobs("alice")
    assert job["labels"]["run"] == run["run_key"]


@pytest.mark.parametrize("name", ["preset", "config"])
async def test_a_job_that_goes_on_takes_neither(desk: PaidDesk, name: str) -> None:
    job = await desk.submitted(model="Qwen/Qwen3-0.6B", max_length=64 if name == "preset" else 128)
    desk.hub.end_job(job, 60)
    answer = await desk.ask("start_job", id=job, trainer_args=[f"{name}=trl-jobs"])
    assert answer.is_error
    assert f"{name} cannot be given here: it says how a training begins" in answer.text


async def estimated(desk: PaidDesk, **arguments: Any) -> Answer:
    given = {"method": "sft", "model": "Qwen/Qwen3-0.6B", "rows": 5000, "tokens_per_row": 400}
    return await desk.ask("estimate_cost", **given | arguments)


async def test_a_preset_is_estimated_with_its_own_tuning_and_told(desk: PaidDesk) -> None:
    answer = await estimated(desk, trainer_args=["preset=trl-jobs"])
    assert {option["tuning"] for option in answer.result["options"]} == {"full"}, answer.text
    assert any("preset trl-jobs for Qwen/Qwen3-0.6B sets" in line for line in answer.result["assumptions"])
    assert any("a100-large" in line for line in answer.result["assumptions"])
    wrong = await estimated(desk, trainer_args=["preset=trl-jobs"], tuning="qlora")
    assert wrong.is_error
    assert "It has one with tuning full" in wrong.text


async def test_a_configuration_is_estimated_as_its_values_written_out(desk: PaidDesk) -> None:
    answer = await estimated(desk, trainer_args=[f"config={CONFIG}"], hardware="a10g-small")
    written_out = await estimated(desk, **WRITTEN_OUT, hardware="a10g-small")
    assert answer.result["options"] == written_out.result["options"]
    assert any("Not used of config: output_dir." in line for line in answer.result["assumptions"])


@pytest.mark.parametrize("given", [[f"config={CONFIG}"], {"config": CONFIG}, {"config": "\n".join(CONFIG.split("\n"))}])
async def test_a_configuration_and_its_values_written_out_are_one_run(
    ask: Ask, training: dict[str, Any], settings: Settings, given: object
) -> None:
    run = await run_of(ask, training, settings, trainer_args=given)
    assert run == await run_of(ask, training, settings, **WRITTEN_OUT)
    assert run["config"]["learning_rate"] == 2e-4
    assert run["lora"]["r"] == 8


async def test_what_the_call_gives_wins_over_the_configuration(
    ask: Ask, training: dict[str, Any], settings: Settings
) -> None:
    run = await run_of(ask, training, settings, config=CONFIG, learning_rate=1e-3, lora_r=4)
    assert (run["config"]["learning_rate"], run["lora"]["r"]) == (1e-3, 4)
    assert run["config"]["num_train_epochs"] == 2


@pytest.mark.parametrize("path", ["/short", "/whole/sft.yaml"])
async def test_a_configuration_on_the_web_brings_what_its_text_does(web: Web, path: str) -> None:
    web.files = {"/whole/sft.yaml": CONFIG.encode()}
    web.moved = {"/short": "/whole/sft.yaml"}
    fetched, told = await expanded(web, f" {web.address}{path} ")
    written, _ = await expanded(web, CONFIG)
    assert fetched == written
    assert fetched.learning_rate == 2e-4
    assert "Not used of config: output_dir." in told
    assert all("Authorization" not in headers for headers in web.asked)


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({}, NotFound, "config: 127.0.0.1 has no .* at this address"),
        ({"/whole/x": b"\xff\xfe\x00"}, InvalidArguments, "config: 127.0.0.1 gives no text"),
        ({"/whole/x": b"<!DOCTYPE html><html>"}, InvalidArguments, "config: 127.0.0.1 gives a page"),
        ({"/whole/x": b"a: 1\n" * 30_000}, InvalidArguments, "config is larger than 100,000 bytes"),
        ({"/whole/x": b"- a"}, InvalidArguments, "config is no mapping of names to values, but a list"),
    ],
)
async def test_an_address_that_gives_no_configuration_is_refused(
    web: Web, files: dict[str, bytes], error: type[Exception], words: str
) -> None:
    web.files = files
    with pytest.raises(error, match=words) as refused:
        await expanded(web, f"{web.address}/whole/x")
    assert str(refused.value).endswith("Nothing was started.")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["config=http://example.com/sft.yaml"], ["https URL"]),
        (["config=ftp://example.com/sft.yaml"], ["https URL"]),
        (["config=https://me:secret@example.com/a"], ["without a user or password"]),
        (["config=https://127.0.0.1/sft.yaml"], ["config: ", "is no public host"]),
        (["config=/home/me/sft.yaml"], ["no mapping of names to values, but a text", "https URL"]),
        (["config=- a"], ["a list"]),
        (["config=a: [1"], ["no valid YAML in line 1"]),
        ({"config": "a: 1\nb: [1"}, ["no valid YAML in line 2"]),
        (["config=beta: 0.1"], ["config: beta is no argument of sft"]),
        (["config=learning_rat: 1"], ['Did you mean "learning_rate"?']),
        (["config=learning_rate: high"], ['"learning_rate"', "high"]),
        (["config=learning_rate: 5"], ["learning_rate cannot be 5"]),
        (["config=packing: true", "preset=trl-jobs"], ["preset and config", "Give one of them"]),
        (["preset=trl-job"], ['Did you mean "trl-jobs"?']),
        (["preset=trl-jobs"], ["trl-jobs has no preset for", "Qwen/Qwen3-8B (full and lora)"]),
    ],
)
async def test_what_cannot_be_used_is_refused_and_nothing_is_started(
    refuses_training: Refuses, given: object, words: list[str]
) -> None:
    await refuses_training(*words, trainer_args=given)


async def test_a_preset_for_another_method_is_refused(refuses_training: Refuses) -> None:
    await refuses_training("trl-jobs has presets for sft only", method="dpo", preset="trl-jobs")
