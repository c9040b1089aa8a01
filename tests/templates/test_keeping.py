"""What outlives a job: folders, checkpoints, the result that is not pushed yet, and what is said of failures."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hub.support import safetensors_bytes
from tests.templates.job_modules import load_shared
from tests.templates.test_checkpoints import write_checkpoint

card = load_shared("card")
folders = load_shared("folders")
hub = load_shared("hub")
keeping = load_shared("keeping")
publishing = load_shared("publishing")
result = load_shared("result")

RUN = {"run_key": "k", "output_repo": "alice/codes", "config": {"max_steps": 7, "betas": (0.9, 0.99)}}


@dataclass
class TrainerNews:
    """What a trainer tells its callbacks, both of its arguments and of its state."""

    output_dir: str
    global_step: int
    best_model_checkpoint: str | None = None


@pytest.mark.parametrize(
    ("variables", "work", "kept"),
    [
        ({}, "output/run", None),
        ({"TRL_MCP_RUN_FOLDER": "run"}, "run", "run"),
        ({"TRL_MCP_RUN_FOLDER": "run", "TRL_MCP_WORK_FOLDER": "work"}, "work", "run"),
        ({"TRL_MCP_WORK_FOLDER": "work"}, "work", None),
    ],
)
def test_the_environment_says_where_to_work_and_what_outlives_the_job(
    variables: dict[str, str], work: str, kept: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TRL_MCP_OUTPUT", "TRL_MCP_RUN_FOLDER", "TRL_MCP_WORK_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = folders.job_folders()
    assert (found.output, found.work) == (tmp_path / "output", tmp_path / work)
    assert found.kept == (kept and tmp_path / kept)
    assert found.mirror == (tmp_path / "run" / "checkpoints" if work == "work" and kept else None)


def test_a_copied_folder_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "part").mkdir(parents=True)
    (source / "part" / "a").write_text("a", encoding="utf-8")
    (source / "mark").write_text("m", encoding="utf-8")
    target.mkdir()
    (target / "old").touch()
    folders.copy_folder(source, target, "mark")
    assert folders.files_below(target) == ["mark", "part/a"]


def test_a_folder_without_its_last_file_makes_no_complete_copy(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").touch()
    with pytest.raises(FileNotFoundError):
        folders.copy_folder(tmp_path / "source", tmp_path / "target", "mark")


def test_copies_of_checkpoints_come_and_go_with_those_of_the_trainer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, mirror = tmp_path / "work", tmp_path / "run" / "checkpoints"
    for step in (3, 6):
        write_checkpoint(work, step)
    write_checkpoint(mirror, 1)
    where = folders.JobFolders(output=tmp_path / "output", work=tmp_path, kept=tmp_path / "run")
    with keeping.checkpoint_keeper(where, None) as keeper:
        for step in (3, 6):
            keeper.on_save(TrainerNews(str(work), step), TrainerNews(str(work), step), None)
    assert sorted(path.name for path in mirror.iterdir()) == ["checkpoint-3", "checkpoint-6"]
    assert all(keeping.is_complete(path) for path in mirror.iterdir())
    lines = [json.loads(line.split(" ", 2)[2]) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"kind": "checkpoint", "step": 3}, {"kind": "checkpoint", "step": 6}]


def test_a_checkpoint_that_cannot_be_kept_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").touch()
    where = folders.JobFolders(output=tmp_path / "output", work=tmp_path, kept=tmp_path / "run")
    write_checkpoint(tmp_path, 3)
    with keeping.checkpoint_keeper(where, None) as keeper:
        keeper.on_save(TrainerNews(str(tmp_path), 3), TrainerNews(str(tmp_path), 3), None)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "checkpoint-3 could not be kept" in printed.err


def test_a_run_goes_on_from_the_newest_complete_copy(tmp_path: Path) -> None:
    mirror = tmp_path / "run" / "checkpoints"
    write_checkpoint(mirror, 3)
    best = write_checkpoint(mirror, 10)
    state = {"global_step": 10, "best_model_checkpoint": "/gone/checkpoint-3"}
    (best / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    (write_checkpoint(mirror, 20) / "optimizer.pt").unlink()
    where = folders.JobFolders(output=tmp_path / "output", work=tmp_path / "work", kept=tmp_path / "run")
    found = keeping.find_checkpoint(where, None)
    assert found == tmp_path / "work" / "checkpoints" / "checkpoint-10"
    adopted = json.loads((found / "trainer_state.json").read_text(encoding="utf-8"))
    assert adopted["best_model_checkpoint"] == str(found.with_name("checkpoint-3"))
    assert json.loads((best / "trainer_state.json").read_text(encoding="utf-8")) == state


def write_final(folder: Path, **changes: Any) -> Any:
    """Write a result as a job leaves it that could not push; return the folders of the next one."""
    where = folders.JobFolders(output=folder / "output", work=folder, kept=folder / "run")
    where.final.mkdir(parents=True)
    (where.final / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", [1])}, b"\0" * 4))
    record = {"run_key": "k", "recipe": json.loads(json.dumps(RUN)), "result": {"steps": 7}} | changes
    (where.final / "trl-mcp.json").write_text(json.dumps(record), encoding="utf-8")
    return where


def test_a_result_that_waits_to_be_pushed_is_recognised(tmp_path: Path) -> None:
    where = write_final(tmp_path)
    assert publishing.kept_result(RUN, where) == {"steps": 7}
    assert publishing.kept_result(RUN | {"output_repo": None}, where) is None
    assert publishing.kept_result(RUN, folders.JobFolders(output=tmp_path, work=tmp_path, kept=None)) is None


def test_a_result_half_written_is_none(tmp_path: Path) -> None:
    where = write_final(tmp_path)
    (where.final / "model.safetensors").write_bytes(b"\0" * 9)
    assert publishing.kept_result(RUN, where) is None


@pytest.mark.parametrize("change", [{"run_key": "other"}, {"recipe": RUN | {"config": {"max_steps": 6}}}])
def test_a_result_of_other_settings_is_not_taken_for_this_run(tmp_path: Path, change: dict[str, Any]) -> None:
    assert publishing.kept_result(RUN, write_final(tmp_path, **change)) is None


def test_a_run_folder_without_room_stops_no_push(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").touch()
    (tmp_path / "output").mkdir()
    publishing.keep_result(folders.JobFolders(output=tmp_path / "output", work=tmp_path, kept=tmp_path / "run"))
    assert "not kept for a continuation" in capsys.readouterr().err


@dataclass
class Answer:
    """What the Hub answered."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict[str, str])


class RefusedError(OSError):
    """A request that was answered with an error."""

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        super().__init__("no")
        self.response = answer


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 8),
        ({"RateLimit": '"api";r=0;t=42', "Retry-After": "7"}, 43),
        ({"Retry-After": "Fri, 20 Nov 2026 20:00:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_the_hub_may_ask_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert hub.asked_wait(RefusedError(Answer(429, headers))) == seconds


def test_what_may_pass_is_tried_again_and_nothing_else() -> None:
    passing = [500, 502, 503, 504, 429, 408, 409, 412]
    assert all(hub.may_pass(RefusedError(Answer(status))) for status in passing)
    assert not any(hub.may_pass(RefusedError(Answer(status))) for status in (400, 401, 402, 403, 404))
    assert all(hub.may_pass(error) for error in (ConnectionResetError(), TimeoutError(), RuntimeError("storage")))
    assert not any(hub.may_pass(error) for error in (FileNotFoundError(), PermissionError(), OSError(28, "disk full")))


def test_no_failure_names_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    text = hub.explain_failure(RuntimeError(f"Bearer hf_{'x' * 30} is no good"), "alice/codes", "write to")
    assert text == "alice/codes: a request to write to it failed. The answer was: RuntimeError: Bearer *** is no good"


def card_text(**changes: Any) -> str:
    """Return the model card of a run."""
    run = {"run_key": "k", "method": "sft", "output_repo": "alice/codes", "model": "/models/tiny", "tuning": "lora"}
    run |= {"model_revision": None, "dataset": "/data/secret place/rows.jsonl", "dataset_split": "train"}
    run |= {"dataset_config": None, "dataset_revision": None, "config": {"max_steps": 7}, "lora": {"r": 8}}
    run |= {"merge": False}
    outcome = {"steps": 7, "train_loss": 0.123456789, "rows": 3, "metrics": {"eval_loss": 1.0}}
    return card.card_text(run | changes, outcome, {"trl": "1.2.3"})


def test_the_card_tells_what_the_model_is() -> None:
    text = card_text()
    assert text.startswith("---\nlibrary_name: peft\n")
    for part in (
        "# codes",
        "`tiny`",
        "`rows.jsonl` (train)",
        "| train_loss | 0.12346 |",
        "| eval_loss | 1 |",
        "| r | 8 |",
    ):
        assert part in text
    assert "secret place" not in text
    assert "base_model" not in text


def test_the_card_says_where_adapter_and_merged_model_lie() -> None:
    assert "merged/" in card_text(merge=True)
    assert "merged/" not in card_text()
    assert "merged/" not in card_text(merge=True, tuning="full")


def test_the_card_tells_the_plan_of_a_job_and_what_it_has_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "## Job" not in card_text()
    script = tmp_path / "sft.py"
    script.touch()
    os.utime(script, (0, time.time() - 150))
    monkeypatch.setenv("TRL_MCP_SCRIPT", str(script))
    monkeypatch.setenv("TRL_MCP_PLAN", "plan-0123456789ab")
    assert "| plan | plan-0123456789ab |" in card_text()
    assert "usd" not in card_text(), "nothing is paid"
    monkeypatch.setenv("TRL_MCP_PRICE_MICRO_USD", "6667")
    monkeypatch.setenv("TRL_MCP_CEILING_USD", "0.600030")
    text = card_text()
    for row in ("plan | plan-0123456789ab", "usd_per_minute | 0.006667", "minutes_so_far | 3", "usd_so_far | 0.020001"):
        assert f"| {row} |" in text
    assert "| usd_ceiling | 0.60003 |" in text


def test_the_card_files_a_reward_model_as_one_that_scores() -> None:
    assert "pipeline_tag: text-classification" in card_text(method="reward")


@pytest.mark.parametrize(
    ("source", "shown", "listed"),
    [
        ({"dataset": "acme/qa", "dataset_config": "en"}, "(en, train)", True),
        ({"dataset": "acme/qa", "dataset_revision": "abc"}, "(train, at `abc`)", True),
        ({"dataset": "alice/trl-mcp-data", "dataset_file": "0f/rows.csv"}, "a file, `rows.csv` (train)", False),
        ({"dataset": "https://example.org/a.csv"}, "`https://example.org/a.csv` (train)", False),
    ],
)
def test_the_card_names_the_data(source: dict[str, str], shown: str, listed: bool) -> None:
    text = card_text(**source)
    assert shown in text
    assert ("datasets:\n- acme/qa\n" in text) is listed


def test_the_last_measures_are_those_of_the_model() -> None:
    history = [
        {"loss": 3.0, "grad_norm": 1.0, "step": 1},
        {"loss": 2.0, "step": 2},
        {"eval_loss": 2.5, "eval_runtime": 1.0, "eval_num_tokens": 5.0, "eval_samples_per_second": 9.0},
        {"entropy": float("nan"), "train_runtime": 4.0, "train_loss": 2.2},
    ]
    assert result.last_metrics(history) == {"loss": 2.0, "eval_loss": 2.5}
