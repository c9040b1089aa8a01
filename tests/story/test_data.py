"""What validate_dataset promises of data is what a job then trains on."""

import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import write_parquet
from tests.hub import EmulatedHub
from tests.story.agent import Agent, Answers, connected

pytestmark = [pytest.mark.anyio, pytest.mark.training, pytest.mark.timeout(400)]
DATA = Path(__file__).resolve().parents[3] / "shared/data/datasets"
REAL = [
    ("gsm8k_train.jsonl", "sft", 7473),
    ("gsm8k_test.jsonl", "sft", 1319),
    ("alpaca_en_demo.json", "sft", 999),
    ("sharegpt_dummy_conversation.json", "sft", 500),
    ("kto_en_demo.json", "sft", 300),
    ("kto_en_demo.json", "kto", 300),
    ("dpo_en_demo.json", "dpo", 300),
]
TRAINING = {"tuning": "full", "learning_rate": 5e-3, "batch_size": 8}
STEPS = ["max_steps=16", "warmup_steps=2", "logging_steps=1", "save_steps=1000"]
LONG = "box " * 200


@pytest.fixture(scope="module")
def data_environ(
    story_environ: Mapping[str, str], tokens_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """The environment of a server that can train and count tokens."""
    home = tmp_path_factory.mktemp("data_story")
    (home / "envs").mkdir()
    for envs in (Path(story_environ["TRL_MCP_HOME"]) / "envs", tokens_home / "envs"):
        for environment in envs.iterdir():
            if environment.is_dir() and not (home / "envs" / environment.name).exists():
                (home / "envs" / environment.name).symlink_to(environment)
    return {**story_environ, "TRL_MCP_HOME": str(home)}


async def trained(agent: Agent, environ: Mapping[str, str], arguments: Answers) -> tuple[Answers, list[float]]:
    """Run a training to its end; return what the job itself says of it when it starts and ends, and its losses."""
    started = await agent.call("submit_training", **arguments)
    assert started["status"] == "submitted", started
    status = await agent.follow(started["job_id"], 300)
    assert status["stage"] == "COMPLETED", status
    losses = [float(text.split()[1]) for text in (await agent.losses(started["job_id"])).values()]
    log = Path(environ["TRL_MCP_HOME"], "jobs", started["job_id"], "log.txt").read_text(encoding="utf-8")
    said = [json.loads(line.split(" ", 2)[2]) for line in log.splitlines() if line.startswith("TRL_MCP ")]
    return {name: value for line in said if line["kind"] in ("start", "end") for name, value in line.items()}, losses


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets of ../shared/data/datasets are not here")
@pytest.mark.parametrize(("name", "method", "rows"), REAL)
async def test_real_data_train_without_a_word_about_columns_on_just_the_rows_that_were_promised(
    data_environ: Mapping[str, str], tiny_model: str, name: str, method: str, rows: int
) -> None:
    given: Answers = {"method": method, "model": tiny_model, "dataset": str(DATA / name), "max_length": 1024}
    async with connected(data_environ) as agent:
        report = await agent.call("validate_dataset", **given)
        job, losses = await trained(agent, data_environ, given | TRAINING | {"trainer_args": STEPS})
    assert (report["verdict"], report["rows_kept"], job["rows"]) == ("ready", rows, rows)
    assert "\u00ab" in report["example"]
    if report["tokens"]["rows_measured"] == rows:
        assert job["sequences"] == rows - report["untrained_rows"]
    # Sixteen steps of kto on answers of others show that it moves, not yet where to.
    learned = len(set(losses)) > 8 if method == "kto" else sum(losses[-4:]) < sum(losses[:4])
    assert learned, losses


def sharegpt(question: str, answer: str, speaker: str = "gpt") -> Answers:
    return {"conversations": [{"from": "human", "value": question}, {"from": speaker, "value": answer}]}


def as_json(question: str, answer: str) -> Answers:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": json.dumps(turns)}


def as_pair(question: str, answer: str) -> Answers:
    return {"prompt": question, "completion": answer}


@pytest.mark.parametrize(
    ("make", "extra", "fields"),
    [
        (sharegpt, [sharegpt("Hi", "Ho", speaker="narrator")] * 2, ["assistant_only_loss=true"]),
        (as_json, [{"messages": None}], []),
        (as_pair, [as_pair("What?", "")], []),
    ],
)
async def test_what_trl_would_drop_in_silence_is_converted_or_counted_before_the_run(
    data_environ: Mapping[str, str],
    tiny_model: str,
    tmp_path: Path,
    make: Callable[[str, str], Answers],
    extra: list[Answers],
    fields: list[str],
) -> None:
    usual = [make(f"What is the code of box {n}?", f"The code is {n}.") for n in range(40)]
    rows = [*usual, *(make(f"{LONG}{n}?", "Yes.") for n in range(5)), *extra]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    given: Answers = {"method": "sft", "model": tiny_model, "dataset": str(path), "max_length": 100}
    async with connected(data_environ) as agent:
        report = await agent.call("validate_dataset", **given, trainer_args=fields)
        job, losses = await trained(agent, data_environ, given | TRAINING | {"trainer_args": [*STEPS, *fields]})
    kept = len(rows) - len(extra)
    assert (report["rows_kept"], job["rows"], job["rows_dropped"]) == (kept, kept, len(extra))
    # Whole conversations are trained on from their first word: what is cut off is their end.
    lost = 0 if make is as_json else 5
    assert (report["untrained_rows"], job["sequences"]) == (lost, kept - lost)
    assert "data.len" in [problem["code"] for problem in report["problems"]]
    assert sum(losses[-4:]) < sum(losses[:4]) - 2, losses


@pytest.fixture
def hub(tmp_path: Path) -> Generator[EmulatedHub]:
    with EmulatedHub.start(tmp_path / "hub") as running:
        yield running


async def test_a_job_trains_on_the_hubs_conversion_where_a_data_sets_own_files_cannot_be_read(
    hub: EmulatedHub, data_environ: Mapping[str, str], tiny_model: str, tmp_path: Path
) -> None:
    numbers: dict[str, Any] = {"train-a": range(30), "train-b": range(30, 50), "test": range(50, 57)}
    parts = {
        name: write_parquet(
            tmp_path / f"{name}.parquet",
            [{"question": f"What is the code of box {n}?", "answer": f"The code is {n}."} for n in those],
        ).read_bytes()
        for name, those in numbers.items()
    }
    hub.add_repo("acme/codes", {"codes.py": "", "codes.tsv": "a\tb\n"}, repo_type="dataset")
    hub.set_conversion(
        "acme/codes",
        {
            "default/train/0000.parquet": parts["train-a"],
            "default/train/0001.parquet": parts["train-b"],
            "default/test/0000.parquet": parts["test"],
            "other/train/0000.parquet": parts["test"],
        },
    )
    online = {name: value for name, value in data_environ.items() if name != "HF_HUB_OFFLINE"}
    online |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.tokens["alice"], "HF_HOME": str(tmp_path / "hf")}
    given: Answers = {"method": "sft", "model": tiny_model, "dataset": "acme/codes:default"}
    given |= {"dataset_split": "train[5:45]", "eval_split": "test", "hardware": "local", "tuning": "full"}
    given |= {
        "learning_rate": 5e-3,
        "batch_size": 8,
        "max_length": 128,
        "trainer_args": ["max_steps=16", "logging_steps=1"],
    }
    async with connected(online) as agent:
        job, losses = await trained(agent, online, given)
    assert job["rows"] == 40
    assert sum(losses[-4:]) < sum(losses[:4]) - 2
    read = {request.path.rpartition("/resolve/")[2] for request in hub.requests("*/resolve/*.parquet")}
    assert {path.partition("/")[2] for path in read} == {
        "default/train/0000.parquet",
        "default/train/0001.parquet",
        "default/test/0000.parquet",
    }
