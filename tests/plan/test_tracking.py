"""What the plan says of tracking: project and Space, what the operator must set, the address for people."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from trl_mcp.backends.base import Job, Stage
from trl_mcp.plan.place import Place
from trl_mcp.plan.tracking import (
    dashboard_url,
    read_tracking,
    space_url,
    tracking_fields,
    tracking_findings,
    tracking_secrets,
)
from trl_mcp.recipes.recipe import Asked, Recipe, make_recipe
from trl_mcp.render.script import read_run, render
from trl_mcp.render.templates import template_source
from trl_mcp.settings import Settings
from trl_mcp.values import Flavor, Severity

RUN_KEY = "0123456789ab"
LOCAL = Place(hardware="local", namespace="local")
PAID = Place(hardware="cpu-basic", namespace="acme", flavor=Flavor("cpu-basic", "CPU Basic", 2, 16, 50, "", 0, 0, 167))


def recipe(trackers: str, *more: str) -> Recipe:
    """Return the recipe of a training that reports to these trackers."""
    given = dict(entry.split("=", 1) for entry in (f"report_to={trackers}", *more))
    return make_recipe(Asked("sft", "alice/tiny-1.5", "alice/questions", trainer_args=given))


def script(**config: object) -> str:
    """Return a script with this config."""
    return render("sft", read_run(template_source("sft")) | {"run_key": RUN_KEY, "config": config})


def test_a_paid_recipe_reports_to_a_space_of_who_pays_as_private_as_the_model() -> None:
    fields = tracking_fields(recipe("trackio"), PAID)
    assert fields == {"report_to": ["trackio"], "project": "tiny-1-5-sft", "trackio_space_id": "acme/trackio"}
    public = tracking_fields(recipe("trackio"), replace(PAID, private=False))
    assert public["trackio_space_id"] == "acme/trackio-public"


def test_a_local_recipe_names_no_space() -> None:
    assert tracking_fields(recipe("trackio"), LOCAL) == {"report_to": ["trackio"], "project": "tiny-1-5-sft"}


@pytest.mark.parametrize("trackers", ["none", "wandb", "tensorboard"])
def test_without_trackio_there_is_no_space(trackers: str) -> None:
    assert "trackio_space_id" not in tracking_fields(recipe(trackers), PAID)


def test_a_project_name_keeps_what_trackio_tells_apart() -> None:
    assert tracking_fields(recipe("trackio", "project=my project/é v1.5"), LOCAL)["project"] == "my-project-v1-5"


def test_wandb_needs_a_key_that_the_operator_lets_out() -> None:
    (finding,) = tracking_findings(recipe("wandb"), {"OTHER"})
    assert (finding.code, finding.severity) == ("tracking.secret", Severity.ERROR)
    assert "TRL_MCP_SECRETS" in finding.fix
    assert tracking_findings(recipe("wandb"), {"WANDB_API_KEY"}) == []
    assert tracking_findings(recipe("trackio"), ()) == []


def test_only_a_script_that_reports_to_wandb_gets_its_key() -> None:
    secrets = {"WANDB_API_KEY": "0" * 40, "OTHER": "x"}
    assert tracking_secrets(script(report_to=["wandb"]), secrets) == {"WANDB_API_KEY": "0" * 40}
    assert tracking_secrets(script(report_to=["wandb"]), {"OTHER": "x"}) == {}
    assert tracking_secrets(script(report_to=["trackio"]), secrets) == {}


def test_the_address_of_a_space_names_project_and_run() -> None:
    tracked = read_tracking(
        script(report_to=["trackio"], project="boxes", trackio_space_id="Acme_AI/trackio", run_name="lr 1")
    )
    assert tracked is not None
    public = space_url(tracked, 2, "https://huggingface.co")
    assert public == f"https://acme-ai-trackio.hf.space/?project=boxes&runs=lr+1-{RUN_KEY}-2"
    other = space_url(tracked, 2, "http://127.0.0.1:5000")
    assert other == f"http://127.0.0.1:5000/spaces/Acme_AI/trackio/?project=boxes&runs=lr+1-{RUN_KEY}-2"


@pytest.mark.parametrize("text", ["print('no training')", "RUN = {}", "def broken("])
def test_a_script_that_says_nothing_of_trackio_has_no_dashboard(text: str) -> None:
    assert read_tracking(text) is None
    assert read_tracking(script()) is None


def test_a_dashboard_that_cannot_be_started_costs_only_its_address(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way", encoding="utf-8")
    settings = Settings.from_environ({"TRL_MCP_HOME": str(tmp_path / "home")})
    now = datetime.now(UTC)
    job = Job(f"sft-{RUN_KEY}-1", "local", "local", "training", "sft", RUN_KEY, 1, "local", Stage.RUNNING, now)
    assert anyio.run(dashboard_url, script(report_to=["trackio"], project="boxes"), job, settings) is None
