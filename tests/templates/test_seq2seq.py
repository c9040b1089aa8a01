"""The template for sequence-to-sequence models, run for real on a tiny T5 that is made on the spot."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import TEMPLATES
from tests.templates.job_runs import TAG, Job, JobRuns
from tests.templates.lessons import CODES, LORA, chats, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

MAKE_T5 = """
    import json, sys
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, set_seed

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(json.loads(sys.argv[2]), trainer)
    bpe.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>", pad_token="<pad>")
    set_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(sys.argv[1])
    tokenizer.save_pretrained(sys.argv[1])
    print(json.dumps(len(tokenizer)))
"""
QUESTIONS = [{"question": ask, "answer": say} for ask, say in CODES.items()]
LESSON = {
    "per_device_train_batch_size": 10,
    "logging_steps": 10,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "constant",
}


@pytest.fixture(scope="module")
def tiny_t5(job_runs: JobRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random T5, 64 wide, whose tokenizer knows the words of the lesson."""
    folder = tmp_path_factory.mktemp("models") / "t5"
    job_runs.program(MAKE_T5, folder.parent, str(folder), json.dumps([*CODES, *CODES.values()]))
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Return a file of the ten questions with their answers, 20 times over."""
    return write_rows(tmp_path / "questions.jsonl", QUESTIONS)


def recipe(model: Path, dataset: Path, **changes: Any) -> dict[str, Any]:
    """Return the changes that make the template teach the model the answers."""
    base = {"model": str(model), "dataset": str(dataset), "dataset_split": "train"}
    return base | {"config": LESSON | {"max_steps": 150}} | changes


def last_error(job: Job) -> str:
    """Return why a job ended."""
    assert job.finish() == 1
    assert job.lines[-1]["kind"] == "error"
    return str(job.lines[-1]["message"])


def answers(job: Job) -> dict[str, str]:
    """Return what the model answers at the end."""
    return {sample["prompt"]: sample["after"] for sample in job.of_kind("sample")}


def test_a_tiny_t5_learns_ten_answers(job_runs: JobRuns, tiny_t5: Path, questions: Path) -> None:
    config = LESSON | {"max_steps": 150, "eval_strategy": "steps", "eval_steps": 50}
    job = job_runs.start("seq2seq", recipe(tiny_t5, questions, eval_split=0.1, config=config))
    assert job.finish() == 0, job.errors()
    losses = job.losses()
    assert losses[10] > 1
    assert losses[150] < 0.05
    # The samples are held-out rows, where one of the questions may be missing.
    assert len(answers(job)) >= 9
    assert answers(job).items() <= CODES.items()
    assert all(sample["before"] != sample["expected"] for sample in job.of_kind("sample"))
    evaluations = [line["eval_loss"] for line in job.of_kind("log") if "eval_loss" in line]
    assert len(evaluations) == 3
    assert evaluations[-1] < 0.05
    saved = json.loads((job.output / "config.json").read_text(encoding="utf-8"))
    assert saved["architectures"] == ["T5ForConditionalGeneration"]
    record = json.loads((job.output / "trl-mcp.json").read_text(encoding="utf-8"))
    assert record["result"]["steps"] == 150


def test_an_adapter_learns_too_and_is_merged(job_runs: JobRuns, tiny_t5: Path, questions: Path) -> None:
    lora = LORA | {"r": 32, "lora_alpha": 64, "task_type": "SEQ_2_SEQ_LM", "modules_to_save": ["shared"]}
    job = job_runs.start("seq2seq", recipe(tiny_t5, questions, tuning="lora", lora=lora, merge=True))
    assert job.finish() == 0, job.errors()
    assert job.losses()[150] < job.losses()[10] / 2
    adapter = json.loads((job.output / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["task_type"] == "SEQ_2_SEQ_LM"
    assert (job.output / "merged" / "model.safetensors").is_file()


def test_the_command_line_says_model_data_and_output(
    job_runs: JobRuns, tiny_t5: Path, questions: Path, tmp_path: Path
) -> None:
    shutil.copytree(TEMPLATES, tmp_path / "templates", ignore=shutil.ignore_patterns("__pycache__"))
    command = [job_runs.python, str(tmp_path / "templates" / "seq2seq.py"), "--model", str(tiny_t5)]
    command += ["--dataset", questions.name, "--dataset_split", "train[:40]", "--output_dir", "taught"]
    command += ["--columns", "prompt={question} Answer:", "completion=answer", "--max_steps", "3"]
    command += ["--config", "logging_steps=1", "save_steps=3", "lr_scheduler_type=constant"]

    def printed(command: list[str]) -> list[str]:
        environment = job_runs.environment(tmp_path)
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line.partition("{")[2] for line in done.stdout.splitlines() if line.startswith(f"TRL_MCP {TAG}")]

    first, again = printed(command), printed(command)
    (sample, *_) = [json.loads("{" + line) for line in first if line.startswith('"kind": "sample"')]
    assert sample["prompt"].endswith("? Answer:")
    # The same call goes on from its last checkpoint, another one begins anew.
    logs = '"kind": "log"'
    assert [sum(line.startswith(logs) for line in lines) > 0 for lines in (first, again)] == [True, False]
    command[command.index("3")] = "4"
    assert any(line.startswith(logs) and '"step": 1,' in line for line in printed(command))
    assert (tmp_path / "taught" / "model.safetensors").is_file()
    assert len([*(tmp_path / "taught-work").iterdir()]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", "prompt"], '--columns takes NAME=VALUE, not "prompt"'),
        (["--tuning", "qlora"], "invalid choice: 'qlora' (choose from 'full', 'lora')"),
        (["--modle", "a"], "unrecognized arguments: --modle a"),
        (["--max_steps", "ten"], "argument --max_steps: invalid int value: 'ten'"),
    ],
)
def test_an_argument_that_cannot_be_understood_ends_the_script_at_once(arguments: list[str], said: str) -> None:
    command = ["python3", str(TEMPLATES / "seq2seq.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_decoder_only_model_is_refused(job_runs: JobRuns, tiny_model: Path, questions: Path, tmp_path: Path) -> None:
    (shutil.copytree(tiny_model, tmp_path / "model") / "chat_template.jinja").unlink()
    message = last_error(job_runs.start("seq2seq", recipe(tmp_path / "model", questions)))
    assert "(qwen3) is no sequence-to-sequence model: train it with submit_training" in message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"text": "A text alone, long enough."}],
            "learns from prompts with completions, and the rows have text: name",
        ),
        (chats(CODES), "a conversation, but the model has no chat template"),
    ],
)
def test_rows_that_are_no_pairs_of_texts_are_refused(
    job_runs: JobRuns, tiny_t5: Path, tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    assert said in last_error(job_runs.start("seq2seq", recipe(tiny_t5, write_rows(tmp_path / "rows.jsonl", rows))))


def test_answers_that_are_cut_are_warned_of(job_runs: JobRuns, tiny_t5: Path, questions: Path) -> None:
    short = recipe(tiny_t5, questions, max_target_length=2, config={"max_steps": 1})
    job = job_runs.start("seq2seq", short)
    assert job.finish() == 0, job.errors()
    (warning,) = job.of_kind("warning")
    assert warning["message"] == "200 of 200 completions are longer than max_target_length 2 tokens: they are cut"
