"""What a job does on the Hub before and after training, with nothing to train: the result lies in the run folder."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.hub import EmulatedHub, Fault
from tests.hub.support import safetensors_bytes
from tests.templates.hub_runs import OUTPUT, RUN_KEY, HubRuns
from tests.templates.job_modules import TEMPLATES
from tests.templates.job_runs import Job, JobRuns
from tests.templates.test_checkpoints import write_checkpoint

pytestmark = [pytest.mark.training, pytest.mark.timeout(60)]

WEIGHTS = safetensors_bytes({"weight": ("F32", [250])}, b"\1" * 1000)
RESULT = {"steps": 7, "train_loss": 0.5, "rows": 3, "metrics": {"loss": 0.25}}
COMMITS = f"/api/models/{OUTPUT}/commit/*"
FOREIGN = {
    "trl-mcp.json": '{"run_key": "another"}',
    "last-checkpoint/trainer_state.json": "{}",
    "old.safetensors": "old",
}


@pytest.fixture
def hub_runs(job_runs: JobRuns, tmp_path: Path) -> Iterator[HubRuns]:
    """Run a Hub."""
    with EmulatedHub.start(tmp_path / "hub") as hub:
        yield HubRuns(job_runs, hub)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Return the folder of a run whose result could not be pushed so far."""
    final = tmp_path / "run" / "final"
    final.mkdir(parents=True)
    (final / "model.safetensors").write_bytes(WEIGHTS)
    record = {"run_key": RUN_KEY, "recipe": {"config": {"max_steps": 7}}, "versions": {}, "result": RESULT}
    (final / "trl-mcp.json").write_text(json.dumps(record), encoding="utf-8")
    return final.parent


def push_only(hub_runs: HubRuns, run_folder: Path, **arguments: Any) -> Job:
    """Run a job that has nothing to do but to push, and wait for its end."""
    changes = {"config": {"max_steps": 7}} | arguments.pop("changes", {})
    job = hub_runs.start(changes, RUN_FOLDER=str(run_folder), **arguments)
    job.finish()
    return job


def refusal(hub_runs: HubRuns, run_folder: Path, **arguments: Any) -> str:
    """Return why a job was refused, at once and with nothing but a progress line of it."""
    began = monotonic()
    job = push_only(hub_runs, run_folder, **arguments)
    assert monotonic() - began < 10
    assert job.process.returncode == 1
    assert [line["kind"] for line in job.lines] == ["start", "error"]
    assert job.lines[1]["where"] == "access"
    said = "".join(job.printed) + job.errors()
    assert "Traceback" not in said
    assert not any(token in said for token in hub_runs.hub.tokens.values())
    assert (run_folder / "final" / "model.safetensors").is_file()
    return job.lines[1]["message"]


@pytest.mark.parametrize(
    ("token", "repo", "words"),
    [
        ("alice-read", OUTPUT, r"HF_TOKEN may not write to alice/codes \(403\); it needs the role write"),
        ("bob", OUTPUT, r"HF_TOKEN may not write to alice/codes \(403\).* repo\.write, for alice"),
        ("broken", OUTPUT, r"does not know the token in HF_TOKEN \(401\)"),
        ("none", OUTPUT, "HF_TOKEN is not set"),
        ("alice", "nobody/codes", r"\(403\).*nobody"),
    ],
)
def test_a_token_that_cannot_write_ends_the_job_at_once(
    hub_runs: HubRuns, run_folder: Path, token: str, repo: str, words: str
) -> None:
    message = refusal(hub_runs, run_folder, token=token, changes={"output_repo": repo})
    assert re.search(words, message), message
    assert repo not in hub_runs.hub.repo_ids()


def test_a_token_that_can_only_read_is_found_out_where_the_repository_exists(
    hub_runs: HubRuns, run_folder: Path
) -> None:
    hub_runs.hub.add_repo(OUTPUT, {"trl-mcp.json": json.dumps({"run_key": RUN_KEY})})
    assert "may not write to alice/codes (403)" in refusal(hub_runs, run_folder, token="alice-read")


@pytest.mark.parametrize("files", [FOREIGN, {"model.safetensors": "x"}, {"trl-mcp.json": "no json"}])
def test_the_repository_of_another_run_is_left_alone(
    hub_runs: HubRuns, run_folder: Path, files: dict[str, str]
) -> None:
    commit = hub_runs.hub.add_repo(OUTPUT, files)
    assert f"alice/codes holds files that are not of this run ({RUN_KEY})" in refusal(hub_runs, run_folder)
    assert {name: hub_runs.hub.read_file(OUTPUT, name, revision=commit).decode() for name in files} == files
    assert set(hub_runs.hub.list_files(OUTPUT)) == {".gitattributes", *files}


def test_with_consent_the_repository_of_another_run_is_overwritten(hub_runs: HubRuns, run_folder: Path) -> None:
    kept = {"images/curve.png": "png", "LICENSE": "text"}
    hub_runs.hub.add_repo(OUTPUT, FOREIGN | kept)
    job = push_only(hub_runs, run_folder, changes={"overwrite": True})
    assert job.process.returncode == 0, job.errors()
    expected = {".gitattributes", "model.safetensors", "train.py", "trl-mcp.json", *kept}
    assert set(hub_runs.hub.list_files(OUTPUT)) == expected
    assert hub_runs.read_json("trl-mcp.json")["run_key"] == RUN_KEY


@pytest.mark.parametrize("private", [True, False])
def test_the_repository_is_made_private_or_public_and_says_what_runs(
    hub_runs: HubRuns, run_folder: Path, private: bool
) -> None:
    job = push_only(hub_runs, run_folder, changes={"private": private, "system_prompt": "Be brief."})
    assert job.process.returncode == 0, job.errors()
    code = "import json, sys, huggingface_hub as h; print(json.dumps(h.model_info(sys.argv[1]).private))"
    assert hub_runs.python(code, run_folder, OUTPUT) is private
    script = hub_runs.hub.read_file(OUTPUT, "train.py").decode()
    assert "'system_prompt': 'Be brief.'" in script
    assert script.startswith("# /// script\n")


FAULTS = {
    "answers lost": [Fault("POST", COMMITS, "drop_after", times=3, skip=1)],
    "requests lost": [Fault("POST", COMMITS, "drop_before", times=4)],
    "server errors": [Fault("POST", COMMITS, status=500, times=4, skip=1)],
    "too many requests": [Fault("POST", COMMITS, status=429, times=1, skip=1, retry_after=1)],
    "a commit in between": [Fault("POST", COMMITS, status=412, times=2, skip=1)],
    "storage": [Fault("POST", "/v1/xorbs/*", "drop_before"), Fault("GET", "*/xet-write-token/*", status=503)],
    "all over": [Fault("*", "/api/*", "drop_after", skip=skip) for skip in range(4)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_that_pass_do_not_lose_the_model(hub_runs: HubRuns, run_folder: Path, name: str) -> None:
    for fault in FAULTS[name]:
        hub_runs.hub.faults.add(Fault(**vars(fault)))
    job = push_only(hub_runs, run_folder)
    assert job.process.returncode == 0, job.errors()
    assert [line["kind"] for line in job.lines] == ["start", "push", "end"]
    assert job.lines[2] == {"kind": "end", "steps": 7, "train_loss": 0.5, "rows": 3, "output": str(job.output)}
    assert hub_runs.hub.read_file(OUTPUT, "model.safetensors", revision=job.lines[1]["commit"]) == WEIGHTS
    assert not (run_folder / "final").exists()
    assert job.errors() == ""


@pytest.mark.parametrize(
    ("status", "times", "requests"), [(500, 9, 6), (403, 1, 2)], ids=["an outage", "a right that was withdrawn"]
)
def test_a_push_that_fails_for_good_keeps_the_model(
    hub_runs: HubRuns, run_folder: Path, status: int, times: int, requests: int
) -> None:
    hub_runs.hub.faults.add(Fault("POST", COMMITS, status=status, times=times, skip=1))
    job = push_only(hub_runs, run_folder)
    assert job.process.returncode == 1
    assert job.lines[-1]["where"] == "push"
    assert "A continuation of the run only pushes" in job.lines[-1]["message"]
    assert len(hub_runs.hub.requests(COMMITS, "POST")) == requests
    assert (run_folder / "final" / "model.safetensors").read_bytes() == WEIGHTS
    assert (job.output / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_of_a_private_data_set_is_read_like_one_on_this_machine(hub_runs: HubRuns, tmp_path: Path) -> None:
    name = f"{'0' * 64}/questions.csv"
    rows = "\n".join(["question,answer", *(f"What is {n}?,It is {n}." for n in range(20))])
    hub_runs.hub.add_repo("alice/trl-mcp-data", {name: rows}, repo_type="dataset", private=True)
    hub_runs.hub.faults.add(Fault("*", f"*/resolve/*{name}", status=503))
    code = """
        import json, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from _job.source import load_training_data
        run = {"method": "sft", "columns": {"prompt": "question", "completion": "answer"}, "system_prompt": None}
        run |= {"dataset": "alice/trl-mcp-data", "dataset_file": sys.argv[2], "dataset_revision": None}
        run |= {"dataset_split": "train[:50%]", "eval_split": 0.2, "config": {}}
        data = load_training_data(run, False, Path(sys.argv[3]))
        first = [row for part in (data.train, data.evaluation) for row in part["prompt"]]
        try:
            load_training_data(run | {"dataset_split": "test"}, False, Path(sys.argv[3]))
        except ValueError as refusal:
            print(json.dumps([len(data.train), len(data.evaluation), sorted(first), str(refusal)]))
    """
    counts = hub_runs.python(code, tmp_path, str(TEMPLATES), name, str(tmp_path / "rows"))
    assert counts[:3] == [8, 2, sorted(f"What is {n}?" for n in range(10))]
    assert "has no split test; it has: train" in counts[3]


PROBE = """
    import json, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from _job.folders import JobFolders
    from _job.keeping import find_checkpoint, upload_checkpoint
    from _job.output_repo import OutputRepo, open_output_repo
    assert open_output_repo({"output_repo": None}) is None
    assert "huggingface_hub" not in sys.modules
    first, work = Path(sys.argv[2]), Path(sys.argv[3])
    repo = OutputRepo(sys.argv[4], has_checkpoint=True)
    upload_checkpoint(repo.name, first / "checkpoint-3", None)
    upload_checkpoint(repo.name, first / "checkpoint-9", first / "checkpoint-6")
    found = find_checkpoint(JobFolders(output=work / "output", work=work, kept=None), repo)
    print(json.dumps([str(found), json.loads((found / "trainer_state.json").read_text())["best_model_checkpoint"]]))
"""


def test_the_newest_and_the_best_checkpoint_go_to_the_repository_and_back(hub_runs: HubRuns, tmp_path: Path) -> None:
    hub_runs.hub.add_repo(OUTPUT, {"last-checkpoint/left.bin": "of an older one"}, private=True)
    for step in (3, 6, 9):
        write_checkpoint(tmp_path / "first", step)
    state = {"global_step": 9, "best_model_checkpoint": "/elsewhere/checkpoint-6"}
    (tmp_path / "first" / "checkpoint-9" / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    work = tmp_path / "work"
    found = hub_runs.python(PROBE, tmp_path, str(TEMPLATES), str(tmp_path / "first"), str(work), OUTPUT)
    assert found == [str(work / "checkpoints" / "checkpoint-9"), str(work / "checkpoints" / "checkpoint-6")]
    assert "last-checkpoint/left.bin" not in hub_runs.hub.list_files(OUTPUT)
    assert hub_runs.read_json("best-checkpoint/trainer_state.json")["global_step"] == 6
    assert [path.name for path in work.iterdir()] == ["checkpoints"]
