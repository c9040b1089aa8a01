"""Runs in a training environment: prints, for each case of a file, the tokens that a job's own trainer is fed.

A case is a method, a model's folder, a file of rows, and changes of the template's recipe. The template itself reads and
converts the rows and makes its trainer. What is printed are the kept rows in their order, each as its sequences
[ids, flags of those trained on]; of methods that answer prompts the prompts that reach the model, in any order.
"""

import importlib
import itertools
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[list[list[list[int]]]]
IGNORED = -100
CONTEXT = 400
GENERATING = ("grpo", "rloo", "distillation", "online_dpo", "ppo")
WITH_REWARDS = ("grpo", "rloo", "online_dpo")
REWARD = {"weight": None, "revision": None}


class PromptsSeenError(Exception):
    """The prompts have reached the model."""


def load(name: str) -> Any:
    """Return a module of the training environment, or of the templates."""
    return importlib.import_module(name)


def write_models(folder: Path) -> None:
    """Write a random model of the smallest size to a tokenizer's folder, and one that scores beside it."""
    transformers = load("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    fields = {
        "vocab_size": len(tokenizer),
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": tokenizer.pad_token_id,
    }
    scoring = reward_folder(folder)
    shutil.copytree(folder, scoring)
    transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**fields)).save_pretrained(folder)
    config = transformers.Qwen3Config(**fields, num_labels=1)
    transformers.Qwen3ForSequenceClassification(config).save_pretrained(scoring)


def reward_folder(folder: Path) -> Path:
    """Return where the model that scores lies."""
    return folder.with_name(f"{folder.name}-reward")


def make_trainer(case: dict[str, Any], work: Path) -> Any:
    """Return the trainer of the case's template, on the rows that the template reads."""
    method, folder = case["method"], Path(case["folder"])
    if not (folder / "model.safetensors").exists():
        write_models(folder)
    module, job = load(method), load("_job.job")
    run = module.RUN
    config = {"use_cpu": True, "report_to": "none", "max_steps": 1, "per_device_train_batch_size": 2, **case["config"]}
    changes = {"model": str(folder), "dataset": case["file"], "dataset_split": "train", "tuning": "full"}
    run |= {"columns": {}, "system_prompt": None, **changes, **case["run"], "config": config}
    if method in WITH_REWARDS:
        own = "def constant(completions, **_):\n    return [0.0] * len(completions)\n"
        run |= {"reward_code": own, "rewards": [{"name": "constant", "kind": "code", **REWARD}]}
    if method == "ppo":
        run["rewards"] = [{"name": str(reward_folder(folder)), "kind": "model", **REWARD}]
    if method in ("gkd", "distillation"):
        config["teacher_model_name_or_path"] = str(folder)
    processing = load("_job.arguments").load_processing(run)
    has_template = load("_job.arguments").has_chat_template(processing, config)
    data = load("_job.source").load_training_data(run, has_template, work / "rows")
    if method in GENERATING:
        config |= whole_batch(method, len(data.train))
    device = load("_job.device").find_device(config)
    return module.make_trainer(job.TrainingSetup(data, processing, device, work / "checkpoints"))


def whole_batch(method: str, count: int) -> dict[str, int]:
    """Return the fields with which the first step takes every row."""
    if method in ("grpo", "rloo"):
        return {"per_device_train_batch_size": 2 * count, "num_generations": 2}
    return {"per_device_train_batch_size": count}


def trained_rows(trainer: Any) -> Rows:
    """Return what the trainer's own collator makes of each row that is left."""
    return [batch_sequences(trainer.data_collator([row])) for row in trainer.train_dataset]


def batch_sequences(batch: Any) -> list[list[list[int]]]:
    """Return the sequences of a batch of one row: of a pair both sides."""
    if "chosen_labels" in batch:  # ORPO, CPO
        return [sequence(batch, f"{side}_") for side in ("chosen", "rejected")]
    if "completion_mask" in batch:  # DPO; of KTO's two the second belongs to another prompt
        sides = [(ids, mask, said) for ids, mask, said in each_row(batch, "completion_mask")]
        return [filled(*side) for side in sides[: 1 if "label" in batch else 2]]
    if "labels" in batch and batch["labels"].dim() == 2:
        return [sequence(batch)]
    return [filled(ids, mask, mask) for ids, mask, _ in each_row(batch, "attention_mask")]


def each_row(batch: Any, flags: str) -> Any:
    """Return the rows of a batch: ids, what is no filling, and the flags."""
    names = ("input_ids", "attention_mask", flags)
    return zip(*(batch[name].tolist() for name in names), strict=True)


def filled(ids: list[int], mask: list[int], flags: list[int]) -> list[list[int]]:
    """Return a sequence without its filling."""
    places = [place for place, here in enumerate(mask) if here]
    return [[ids[place] for place in places], [int(flags[place]) for place in places]]


def sequence(batch: Any, prefix: str = "") -> list[list[int]]:
    """Return the one sequence whose labels say what is trained on."""
    ids, mask, labels = (batch[f"{prefix}{name}"].tolist()[0] for name in ("input_ids", "attention_mask", "labels"))
    return filled(ids, mask, [int(label != IGNORED) for label in labels])


def prompts_prepared(trainer: Any) -> Rows:
    """Return the prompts of PPO as they are prepared: to the model it hides the token that fills up, wherever it is."""
    return [[[list(row["input_ids"]), [0] * len(row["input_ids"])]] for row in trainer.train_dataset]


def prompts_seen(trainer: Any) -> Rows:
    """Return the prompts with which the trainer's first step calls the model."""
    mixin, seen = load("transformers").GenerationMixin, Rows()

    def record(_: Any, input_ids: Any = None, attention_mask: Any = None, **__: Any) -> None:
        for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
            prompt, _ = filled(ids, mask, mask)
            if [[prompt, [0] * len(prompt)]] not in seen:
                seen.append([[prompt, [0] * len(prompt)]])
        raise PromptsSeenError

    own, mixin.generate = mixin.generate, record
    try:
        trainer.train()
    except PromptsSeenError:
        return seen
    finally:
        mixin.generate = own
    raise AssertionError("the trainer asked the model for nothing")


def reader(method: str) -> Callable[[Any], Rows]:
    """Return what reads the rows that a method's trainer is fed."""
    if method == "ppo":
        return prompts_prepared
    return prompts_seen if method in GENERATING else trained_rows


def without_digests() -> None:
    """Let data sets not compute what they would be kept under: nothing is kept here, and it takes a third of the time."""
    numbers = itertools.count()

    def number(_: Any) -> str:
        return f"{next(numbers):016x}"

    load("datasets.fingerprint").Hasher.hash = staticmethod(number)


def main() -> None:
    """Print a line for each case: its rows, or the last words of what it ended with."""
    load("_job.training").quiet_libraries()
    without_digests()
    load("transformers").utils.logging.set_verbosity_error()
    for case in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        with tempfile.TemporaryDirectory() as work:
            try:
                trainer = make_trainer(case, Path(work))
                found = reader(case["method"])(trainer)
            except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever ends a job)
                traceback.print_exc()
                found = f"{type(error).__name__}: {error}"
        print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
