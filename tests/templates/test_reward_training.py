"""The reward template, run for real: models that score answers."""

import json
import re
from pathlib import Path

import pytest

from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES, LORA, OTHER_CODES, QUICK, lesson, pairs, write_rows

pytestmark = [pytest.mark.training, pytest.mark.timeout(500)]

SCORES = re.compile(r"chosen (-?[\d.]+), rejected (-?[\d.]+)")
SCORE_HEAD = LORA | {"task_type": "SEQ_CLS"}
MAKE_BERT = """
    import json, sys
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted(set(json.loads(sys.argv[2])))]
    plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **names).save_pretrained(sys.argv[1])
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(sys.argv[1])
    print(json.dumps(len(words)))
"""


def margins(job: Job, when: str) -> list[float]:
    """Return by how much the chosen answer of each sample scores more than the rejected one."""
    found = [SCORES.fullmatch(sample[when]) for sample in job.of_kind("sample")]
    return [float(scores[1]) - float(scores[2]) for scores in found if scores]


def assert_learned(job: Job, steps: int) -> None:
    """See that a job ended well and that its model tells chosen from rejected answers."""
    assert job.finish() == 0, job.errors()
    losses = job.losses()
    assert losses[1] > 0.5
    assert losses[steps] < 0.3
    logs = [line for line in job.of_kind("log") if "accuracy" in line]
    assert logs[-1]["accuracy"] == 1
    before, after = margins(job, "before"), margins(job, "after")
    assert len(before) == len(after) == 10
    assert min(after) > max(0.5, *before)


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    """Return a file of pairs."""
    return write_rows(tmp_path / "pairs.jsonl", pairs(OTHER_CODES, CODES))


def test_a_whole_model_learns_to_score(job_runs: JobRuns, taught_model: Path, preferences: Path) -> None:
    config = QUICK | {"max_steps": 30, "learning_rate": 1e-3}
    job = job_runs.start("reward", lesson(taught_model, preferences, config))
    assert_learned(job, 30)
    saved = json.loads((job.output / "config.json").read_text(encoding="utf-8"))
    assert saved["architectures"] == ["Qwen3ForSequenceClassification"]
    assert list(saved["id2label"]) == ["0"]
    assert job.of_kind("sample")[0]["expected"] in OTHER_CODES.values()


def test_an_adapter_learns_to_score_and_goes_on_with_its_head(
    job_runs: JobRuns, taught_model: Path, preferences: Path
) -> None:
    config = QUICK | {"max_steps": 30, "learning_rate": 3e-3}
    first = job_runs.start("reward", lesson(taught_model, preferences, config, tuning="lora", lora=SCORE_HEAD))
    assert_learned(first, 30)
    on = config | {"max_steps": 2, "learning_rate": 1e-6}
    second = job_runs.start("reward", lesson(first.output, preferences, on, tuning="lora", lora=SCORE_HEAD))
    assert second.finish() == 0, second.errors()
    assert margins(second, "before") == pytest.approx(margins(first, "after"), abs=5e-3)


def words_of(*texts: str) -> list[str]:
    """Return the words of texts."""
    return re.findall(r"\w+|[^\w\s]+", " ".join(texts))


@pytest.mark.parametrize(("tuning", "lora", "rate"), [("full", None, 1e-3), ("lora", SCORE_HEAD, 1e-2)])
def test_an_encoder_learns_to_score(
    job_runs: JobRuns, tmp_path: Path, tuning: str, lora: dict[str, object] | None, rate: float
) -> None:
    words = words_of(*CODES, *CODES.values(), *OTHER_CODES.values())
    model = tmp_path / "bert"
    job_runs.program(MAKE_BERT, tmp_path, str(model), json.dumps(words))
    rows = [{"prompt": ask, "chosen": say, "rejected": CODES[ask]} for ask, say in OTHER_CODES.items()]
    data = write_rows(tmp_path / "texts.jsonl", rows)
    config = QUICK | {"max_steps": 40, "learning_rate": rate}
    job = job_runs.start("reward", lesson(model, data, config, tuning=tuning, lora=lora))
    assert_learned(job, 40)
