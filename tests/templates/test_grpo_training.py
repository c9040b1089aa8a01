"""The templates that learn by rewards (grpo, rloo, online_dpo), run for real on tiny models."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uv

from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, lesson, pairs, without_samples, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

DIGITS = """
def digits(completions):
    return [sum(letter.isdigit() for letter in text) / max(1, len(text)) for text in completions]
"""
GROUPS = {"per_device_train_batch_size": 32, "num_generations": 8, "max_completion_length": 8, "logging_steps": 1}
TWINS = {"per_device_train_batch_size": 32, "max_new_tokens": 8, "max_length": 128, "logging_steps": 1}
METHODS: dict[str, dict[str, Any]] = {"grpo": GROUPS, "rloo": GROUPS, "online_dpo": TWINS}
SCORE = {"grpo": "reward", "rloo": "reward", "online_dpo": "objective/scores"}
ENOUGH = {"grpo": 0.5, "rloo": 0.15, "online_dpo": 0.5}


def reward(name: str, kind: str = "code", weight: float | None = None) -> dict[str, Any]:
    """Return an entry of a run's rewards."""
    return {"name": str(name), "kind": kind, "weight": weight, "revision": None}


def rewarded(
    model: Path, dataset: Path, config: dict[str, Any], code: str | None = DIGITS, **changes: Any
) -> dict[str, Any]:
    """Return the changes that make a template train this model by the share of digits, or as `changes` say."""
    source: dict[str, Any] = {"dataset_config": None, "columns": {}, "rewards": [reward("digits")], "reward_code": code}
    return lesson(model, dataset, config, **source) | changes


def tuned(tuning: str) -> dict[str, Any]:
    """Return the changes for a tuning."""
    return {"tuning": tuning, "lora": None if tuning == "full" else LORA}


def finished(job: Job) -> Job:
    """Return the job once it has ended well."""
    assert job.finish() == 0, job.errors()
    return job


def scores(job: Job, name: str) -> dict[int, float]:
    """Return a measure at each step that was logged."""
    return {line["step"]: line[name] for line in job.of_kind("log") if name in line}


def mean(values: list[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of prompts, each with its answer in another column."""
    rows = [{"prompt": ask, "answer": say} for ask, say in CODES.items()]
    return write_rows(tmp_path_factory.mktemp("data") / "questions.jsonl", rows)


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of pairs in which one wording is preferred to the other."""
    return write_rows(tmp_path_factory.mktemp("data") / "pairs.jsonl", pairs(OTHER_CODES, CODES))


@pytest.fixture(scope="module", params=["full", "lora"])
def reward_model(request: pytest.FixtureRequest, job_runs: JobRuns, taught_model: Path, preferences: Path) -> Path:
    """Return the folder of a reward model: a whole one, or an adapter with its head."""
    config = QUICK | {"max_steps": 30, "learning_rate": 1e-3 if request.param == "full" else 5e-3}
    changes = lesson(taught_model, preferences, config, **tuned(request.param))
    if request.param == "lora":
        changes["lora"] = LORA | {"task_type": "SEQ_CLS"}
    return finished(job_runs.start("reward", changes, edit=without_samples)).output


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_learns_what_is_rewarded(
    job_runs: JobRuns, tiny_model: Path, taught_model: Path, questions: Path, method: str, tuning: str
) -> None:
    # A random model's frozen embeddings leave an adapter nothing to turn.
    model = tiny_model if tuning == "full" else taught_model
    config = METHODS[method] | {"learning_rate": 5e-3, "max_steps": 60}
    job = finished(job_runs.start(method, rewarded(model, questions, config, **tuned(tuning))))
    course = list(scores(job, SCORE[method]).values())
    assert len(course) == 60
    assert mean(course[-5:]) > mean(course[:5]) + ENOUGH[method]
    samples = job.of_kind("sample")
    assert {sample["prompt"] for sample in samples} == CODES.keys()
    assert all(sample["before"].startswith("[reward 0") for sample in samples)
    assert sum(shown_reward(sample["after"]) > 0.5 for sample in samples) >= 9
    weights = "model.safetensors" if tuning == "full" else "adapter_model.safetensors"
    assert (job.output / weights).is_file()
    assert answer_of(job_runs, job.output) == samples[0]["after"].partition("] ")[2]
    assert "TRLExperimentalWarning" not in job.errors()


def shown_reward(text: str) -> float:
    """Return the reward that a sample's answer is shown with."""
    return float(text.removeprefix("[reward ").partition("]")[0])


def answer_of(job_runs: JobRuns, model: Path) -> str:
    """Return what a saved model says to the first question."""
    code = """
        import json, sys
        from transformers import AutoModelForCausalLM, AutoTokenizer
        tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
        turns = [{"role": "user", "content": sys.argv[2]}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        answer = model.generate(**prompt, do_sample=False, max_new_tokens=64)[0, prompt["input_ids"].shape[1]:]
        print(json.dumps(tokenizer.decode(answer, skip_special_tokens=True).strip()))
    """
    return job_runs.program(code, model, str(model), next(iter(CODES)))


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_with_equal_rewards_and_losses(
    job_runs: JobRuns, taught_model: Path, questions: Path, tmp_path: Path, method: str
) -> None:
    config = METHODS[method] | {"learning_rate": 5e-3, "max_steps": 40, "save_steps": 5}
    changes = rewarded(taught_model, questions, config, **tuned("lora"))
    unbroken = finished(job_runs.start(method, changes, edit=without_samples))
    killed = job_runs.start(method, changes, tmp_path, without_samples)
    killed.read_until(lambda line: line["kind"] == "checkpoint" and line["step"] >= 10)
    killed.kill(signal.SIGKILL)
    resumed = finished(job_runs.start(method, changes, tmp_path, without_samples))
    reached = resumed.of_kind("start")[1]["resume_step"]
    assert reached >= 10
    for name in (SCORE[method], "loss"):
        assert scores(resumed, name) == {step: one for step, one in scores(unbroken, name).items() if step > reached}


@pytest.mark.parametrize("method", METHODS)
def test_rewards_of_all_kinds_are_weighed_and_added_up(
    job_runs: JobRuns, taught_model: Path, reward_model: Path, questions: Path, method: str
) -> None:
    rewards = [
        reward("digits", weight=2.0),
        reward("get_repetition_penalty_reward", "trl", 0.5),
        reward(str(reward_model), "model"),
    ]
    config = METHODS[method] | {"learning_rate": 1e-3, "max_steps": 2}
    job = finished(job_runs.start(method, rewarded(taught_model, questions, config, rewards=rewards)))
    first = job.of_kind("log")[0]
    if method != "online_dpo":
        parts = [first[f"rewards/{name}/mean"] for name in ("digits", "repetition_penalty_reward", reward_model.name)]
        assert first["reward"] == pytest.approx(2.0 * parts[0] + 0.5 * parts[1] + parts[2], abs=1e-5)
    # What is shown is what the reward model itself gives, and the functions' share of it.
    sample = job.of_kind("sample")[0]
    answer = sample["before"].partition("] ")[2]
    assert answer == CODES[sample["prompt"]]
    digits = sum(letter.isdigit() for letter in answer) / len(answer)
    expected = score_of(job_runs, reward_model, sample["prompt"], answer) + 2.0 * digits
    assert shown_reward(sample["before"]) == pytest.approx(expected, rel=0.01, abs=0.01)


def score_of(job_runs: JobRuns, model: Path, prompt: str, answer: str) -> float:
    """Return the score of a saved reward model, loaded as anyone would."""
    code = """
        import json, sys
        from pathlib import Path
        from peft import AutoPeftModelForSequenceClassification
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        path, prompt, answer = sys.argv[1:]
        adapter = Path(path, "adapter_config.json").is_file()
        loader = AutoPeftModelForSequenceClassification if adapter else AutoModelForSequenceClassification
        model = loader.from_pretrained(path, num_labels=1).eval()
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        text = AutoTokenizer.from_pretrained(path).apply_chat_template(turns, return_tensors="pt", return_dict=True)
        print(json.dumps(model(**text).logits[0, 0].item()))
    """
    return job_runs.program(code, model, str(model), prompt, answer)


def test_a_loop_without_end_stops_the_job_in_seconds(job_runs: JobRuns, tiny_model: Path, questions: Path) -> None:
    code = "def digits(completions):\n    while True:\n        pass"
    job = job_runs.start("grpo", rewarded(tiny_model, questions, GROUPS, code))
    assert job.finish() == 1
    assert (job.lines[-1]["kind"], job.lines[-1]["where"]) == ("error", "rewards")
    assert "reward function digits did not come to an end within 10 s" in job.lines[-1]["message"]
    assert len(job.of_kind("start")) == 1, "no model was loaded"


def test_a_reward_that_raises_in_training_is_named_with_its_line(
    job_runs: JobRuns, tiny_model: Path, questions: Path
) -> None:
    code = """
def digits(completions, trainer_state):
    share = len(set(completions[0])) / 50
    if trainer_state.global_step == 2:
        share = share / 0
    return [share - place / 100 for place, _ in enumerate(completions)]
"""
    job = job_runs.start("grpo", rewarded(tiny_model, questions, GROUPS | {"max_steps": 5}, code))
    assert job.finish() == 1
    assert [line["step"] for line in job.of_kind("log")] == [1, 2]
    error = job.lines[-1]
    assert (error["kind"], error["where"]) == ("error", "training")
    assert "reward function digits failed: ZeroDivisionError: " in error["message"]
    assert "line 5: share = share / 0" in error["message"]


def test_a_constant_reward_is_warned_of_and_trains(job_runs: JobRuns, tiny_model: Path, questions: Path) -> None:
    code = "def digits(completions):\n    return [1.0] * len(completions)"
    config = GROUPS | {"max_steps": 1}
    job = finished(job_runs.start("grpo", rewarded(tiny_model, questions, config, code), edit=without_samples))
    warning = job.of_kind("warning")[0]
    assert (warning["code"], warning["where"]) == ("reward_constant", "rewards")
    assert "digits gave 1.0 to each of" in warning["message"]
    assert job.of_kind("log")[0]["frac_reward_zero_std"] == 1


def test_a_model_that_gives_no_score_is_refused_before_training(
    job_runs: JobRuns, tiny_model: Path, questions: Path
) -> None:
    changes = rewarded(tiny_model, questions, GROUPS, None, rewards=[reward(str(tiny_model), "model")])
    job = job_runs.start("grpo", changes)
    assert job.finish() == 1
    assert "is no reward model: it is Qwen3ForCausalLM" in job.lines[-1]["message"]
    assert job.lines[-1]["where"] == "rewards"


@pytest.fixture(scope="module")
def math_packages(training_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what TRL's accuracy rewards need beside the templates' own packages."""
    folder = tmp_path_factory.mktemp("packages")
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", training_python, "--target", str(folder)]
    subprocess.run([*command, "math-verify==0.9.0"], check=True, stdout=sys.stderr)
    return folder


@pytest.mark.parametrize("template", ["conversations", "texts"])
def test_accuracy_is_rewarded_by_name(
    job_runs: JobRuns, tiny_model: Path, math_packages: Path, tmp_path: Path, template: str
) -> None:
    prompt: Any = "What is 1 + 1?"
    model = tiny_model if template == "conversations" else without_template(tiny_model, tmp_path / "model")
    data = write_rows(tmp_path / "sums.jsonl", [{"prompt": prompt, "solution": "$2$"}])
    names = ("accuracy_reward", "think_format_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward")
    rewards = [reward(name, "trl") for name in (*names, "get_soft_overlong_punishment")]
    changes = rewarded(model, data, GROUPS | {"max_steps": 1}, None, rewards=rewards)
    job = finished(job_runs.start("grpo", changes, variables={"PYTHONPATH": str(math_packages)}))
    # The soft punishment reads lengths: the trial's texts are all short or all long to it, so nothing is warned of.
    assert [line["message"] for line in job.of_kind("warning")] == []
    assert {f"rewards/{name.removeprefix('get_')}/mean" for name in names} <= job.of_kind("log")[0].keys()


def without_template(model: Path, folder: Path) -> Path:
    """Copy a model without its chat template."""
    folder.mkdir()
    for path in model.iterdir():
        if path.name != "chat_template.jinja" and path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "chat_template" not in config
    return folder


def test_a_package_that_a_reward_needs_is_named_before_the_model_is_loaded(
    job_runs: JobRuns, tiny_model: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "sums.jsonl", [{"prompt": "What is 1 + 1?", "solution": "$2$"}])
    changes = rewarded(tiny_model, data, GROUPS, None, rewards=[reward("accuracy_reward", "trl")])
    job = job_runs.start("grpo", changes)
    assert job.finish() == 1
    assert (
        "TRL's reward accuracy_reward failed: ImportError: Please install the `math_verify`" in job.lines[-1]["message"]
    )
