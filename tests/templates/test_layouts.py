"""Every pair of method and layout: what a trainer takes is trained on, the rest is converted or refused with a mend."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.templates.job_modules import TEMPLATES, load_shared
from tests.templates.job_runs import JobRuns
from tests.templates.layout_rows import CONVERTED, COUNT, REFUSED, TAKEN, rows_of
from tests.templates.lessons import CODES, QUICK, lesson, write_rows
from trl_mcp.render.script import read_run
from trl_mcp.render.templates import template_source

columns, conversion = load_shared("columns"), load_shared("conversion")
Case = tuple[str, str]
Results = dict[Case, dict[str, Any]]

TRAINED = [(method, layout) for table in (TAKEN, CONVERTED) for method, found in table.items() for layout in found]
NOT_TRAINED = [(method, layout, word) for method, found in REFUSED.items() for layout, word in found.items()]
OLDER = {"ppo", "prm"}
ANSWERS = {"max_completion_length": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "grpo": ANSWERS | {"num_generations": 2},
    "rloo": ANSWERS | {"num_generations": 2},
    "distillation": ANSWERS,
    "gkd": {"max_new_tokens": 4, "max_length": 128},
    "online_dpo": {"max_new_tokens": 4, "max_length": 128},
    "ppo": {"response_length": 4, "num_sample_generations": 0},
}
LENGTH = "return [float(len(text)) for text in completions]"


@pytest.fixture(scope="module")
def reward_model(job_runs: JobRuns, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a reward model, hardly trained."""
    rows = [{"prompt": ask, "chosen": say, "rejected": "Who knows?"} for ask, say in CODES.items()]
    data = write_rows(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", rows, copies=1)
    job = job_runs.start("reward", lesson(tiny_model, data, QUICK | {"max_steps": 1}))
    assert job.finish() == 0, job.errors()
    return job.output


def recipe(method: str, model: Path, data: Path, reward_model: Path) -> dict[str, Any]:
    """Return a recipe of one step on a file."""
    config: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": 4, "report_to": "none"}
    config |= CONFIGS.get(method, {"max_length": 128})
    run = cast(dict[str, Any], read_run(template_source(method)))
    taught: dict[str, Any] = {}
    if "teacher_model_name_or_path" in run["config"]:
        config["teacher_model_name_or_path"] = str(model)
    if method == "ppo":
        taught["rewards"] = [{"name": str(reward_model), "kind": "model", "weight": None, "revision": None}]
    elif "rewards" in run:
        taught["rewards"] = [{"name": "length", "kind": "code", "weight": None, "revision": None}]
        taught["reward_code"] = f"def length(completions):\n    {LENGTH}\n"
    elsewhere: dict[str, Any] = {"dataset_config": None, "columns": {}}
    return run | lesson(model, data, config, **elsewhere) | taught


@pytest.fixture(scope="module")
def results(
    tiny_model: Path,
    reward_model: Path,
    pinned_python: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Results:
    """Return what came of every pair, each set of pins in a process of its own."""
    folder = tmp_path_factory.mktemp("layouts")

    def case(place: int, method: str, layout: str) -> dict[str, Any]:
        data = write_rows(folder / f"{place}.jsonl", rows_of(layout), copies=1)
        return {"method": method, "layout": layout, "run": recipe(method, tiny_model, data, reward_model)}

    cases = [case(place, *pair) for place, pair in enumerate(TRAINED)]
    found: Results = {}
    for template in ("sft", *sorted(OLDER)):
        own = [
            each for each in cases if each["method"] == template or (template == "sft" and each["method"] not in OLDER)
        ]
        file = folder / f"{template}.json"
        file.write_text(json.dumps(own), encoding="utf-8")
        for result in probe(pinned_python(template), folder / template, file):
            found[result["method"], result["layout"]] = result
    return found


def probe(python: str, work: Path, cases: Path) -> list[dict[str, Any]]:
    """Return what the probe prints in a training environment."""
    program = Path(__file__).with_name("layouts_probe.py")
    environment = JobRuns(python, pytest.TempPathFactory).environment(work)  # pyright: ignore[reportArgumentType] # makes no folders here
    quiet = environment | {"TRL_EXPERIMENTAL_SILENCE": "1", "TRL_MCP_OUTPUT": str(work / "output")}
    command = [python, str(program), str(TEMPLATES), str(work), str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.removeprefix("PROBE ") for line in done.stdout.splitlines() if line.startswith("PROBE ")]
    return [json.loads(line) for line in lines]


@pytest.mark.training
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("method", "layout"), TRAINED)
def test_rows_of_a_layout_are_trained_on(results: Results, method: str, layout: str) -> None:
    result = results[method, layout]
    assert "error" not in result, result["error"]
    # The two answers of a pair are judged one by one.
    assert result["rows"] == COUNT * (2 if method == "kto" and layout.startswith("pair") else 1)
    assert result["steps"] == 1


@pytest.mark.parametrize(("method", "layout", "word"), NOT_TRAINED)
def test_rows_that_cannot_be_trained_on_are_refused_with_the_reason(method: str, layout: str, word: str) -> None:
    with pytest.raises(columns.UnclearColumnsError) as refused:
        conversion.find_conversion(rows_of(layout), conversion.RowRules(method))
    assert word in str(refused.value)


@pytest.mark.parametrize("method", sorted(TAKEN))
@pytest.mark.parametrize("layout", sorted({layout for _, layout in TRAINED} | {layout for _, layout, _ in NOT_TRAINED}))
def test_no_pair_of_method_and_layout_is_left_open(method: str, layout: str) -> None:
    try:
        found = conversion.find_conversion(rows_of(layout), conversion.RowRules(method))
    except columns.UnclearColumnsError:
        assert (method, layout) not in TRAINED
        return
    assert (method, layout) not in [(name, kind) for name, kind, _ in NOT_TRAINED]
    converted = [shaped for row in rows_of(layout) for shaped in found.convert(row)]
    assert len(converted) >= COUNT
    assert all(set(found.targets) <= row.keys() for row in converted)
    assert len({tuple(row) for row in converted}) == 1
