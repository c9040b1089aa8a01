"""Runs in a training environment: prints, for each case of a file, the tokens that TRL itself makes of the rows.

A case is a method, a tokenizer's folder, a trainer's config and rows. `real` cases go through a whole trainer with a
tiny model, the others through the trainer's own preparation alone. Each line holds, by row number, the sequences as
[ids, flags of those trained on]; rows that TRL drops are missing; an error of TRL stands as a text.
"""

import importlib
import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

Found = dict[int, list[list[list[int]]]]
CONFIGS = {"sft": "SFTConfig", "dpo": "DPOConfig", "kto": "KTOConfig", "reward": "RewardConfig"}
TRAINERS = {"sft": "SFTTrainer", "dpo": "DPOTrainer", "kto": "KTOTrainer", "reward": "RewardTrainer"}
MODULES = {
    "grpo": "trl.trainer.grpo_trainer GRPOTrainer",
    "rloo": "trl.trainer.rloo_trainer RLOOTrainer",
    "distillation": "trl.trainer.distillation_trainer DistillationTrainer",
    "orpo": "trl.experimental.orpo ORPOTrainer",
    "cpo": "trl.experimental.cpo CPOTrainer",
}
EXTRAS = ("tools", "chat_template_kwargs")


def load(name: str) -> Any:
    """Return a module of the training environment."""
    return importlib.import_module(name)


def make_dataset(rows: list[dict[str, Any]]) -> Any:
    """Return the rows as the job keeps them: turns as JSON, since each may have fields of its own; and numbered."""
    kinds = load("datasets")

    def feature(name: str, value: Any) -> Any:
        if name in EXTRAS:
            return kinds.Json()
        types = {bool: "bool", int: "int64", str: "string"}
        return kinds.List(kinds.Json()) if isinstance(value, list) else kinds.Value(types[type(value)])

    numbered = [{**row, "number": number} for number, row in enumerate(rows)]
    features = kinds.Features({name: feature(name, value) for name, value in numbered[0].items()})
    return kinds.Dataset.from_list(numbered, features=features)


def tiny_model(method: str, vocabulary: int) -> Any:
    """Return a random model of the smallest size."""
    transformers = load("transformers")
    config = transformers.Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        num_labels=1,
        pad_token_id=2,
    )
    kind = "Qwen3ForSequenceClassification" if method == "reward" else "Qwen3ForCausalLM"
    return getattr(transformers, kind)(config)


def make_config(case: dict[str, Any]) -> Any:
    """Return the trainer's config."""
    fixed = {"output_dir": "trainer", "report_to": "none", "bf16": False, "use_cpu": True}
    return getattr(load("trl"), CONFIGS[case["method"]])(**fixed, **case["config"])


def prepared(case: dict[str, Any], tokenizer: Any) -> Any:
    """Return the data set that TRL's trainer of the method makes of the rows."""
    method, args = case["method"], make_config(case)
    kind: Any = getattr(load("trl"), TRAINERS[method])
    rows = make_dataset(case["rows"])
    if case["real"]:
        models = [tiny_model(method, len(tokenizer)) for _ in range(2 if method in ("dpo", "kto") else 1)]
        return kind(*models, args=args, train_dataset=rows, processing_class=tokenizer).train_dataset
    own = SimpleNamespace(_tokenizer=tokenizer, calculate_KL=False, desirable_weight=1, undesirable_weight=1)
    if method == "sft":
        own.chat_template = training_template(tokenizer, args)
        pairs = "prompt" in case["rows"][0]
        own.completion_only_loss = pairs if args.completion_only_loss is None else args.completion_only_loss
        return kind._prepare_dataset(own, rows, tokenizer, args, args.packing, None, "train")
    return kind._prepare_dataset(own, rows, tokenizer, args, "train")


def training_template(tokenizer: Any, args: Any) -> str | None:
    """Return what SFTTrainer replaces the chat template with."""
    templates = load("trl.chat_template_utils")
    if not args.assistant_only_loss or templates.has_generation_markers(tokenizer.chat_template):
        return None
    return templates.get_training_chat_template(tokenizer)


def sft(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return each row's labels as flags; a packed sequence counts as a row of its own."""
    found = prepared(case, tokenizer)
    numbers = found["number"] if "number" in found.column_names else range(len(found))
    rows = zip(numbers, found["input_ids"], found["labels"], strict=True)
    return {number: [[list(ids), [int(label != -100) for label in labels]]] for number, ids, labels in rows}


def collated(case: dict[str, Any], tokenizer: Any, collator: Any, side_count: int) -> Found:
    """Return what the trainer's own collator makes of each row alone."""
    found: Found = {}
    for row in prepared(case, tokenizer):
        batch = collator([row])
        found[row["number"]] = [
            [ids[: sum(mask)], flags[: sum(mask)]]
            for ids, mask, flags in zip(
                batch["input_ids"].tolist(),
                batch["attention_mask"].tolist(),
                (batch["completion_mask"] if "completion_mask" in batch else batch["attention_mask"]).tolist(),
                strict=True,
            )
        ][:side_count]
    return found


def dpo(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return both sides of each pair."""
    args = make_config(case)
    kind = load("trl.trainer.dpo_trainer").DataCollatorForPreference
    collate = kind(pad_token_id=0, max_length=args.max_length, truncation_mode=args.truncation_mode)
    return collated(case, tokenizer, collate, 2)


def kto(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return each prompt with its completion."""
    kind = load("trl.trainer.kto_trainer").DataCollatorForUnpairedPreference
    collate = kind(pad_token_id=0, max_length=make_config(case).max_length)
    return collated(case, tokenizer, collate, 1)


def reward(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return both sides of each pair."""
    collate = load("trl.trainer.reward_trainer").DataCollatorForPreference(pad_token_id=0)
    return collated(case, tokenizer, collate, 2)


def prompts(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return the prompts as GRPO, RLOO and distillation give them to the model."""
    module, name = MODULES[case["method"]].split()
    own = SimpleNamespace(
        processing_class=tokenizer,
        chat_template=None,
        chat_template_kwargs=case["config"].get("chat_template_kwargs") or {},
        tools=None,
        environment_factories=None,
        _is_vlm=False,
    )
    ids = getattr(load(module), name)._tokenize_prompts(own, [row["prompt"] for row in case["rows"]])[0]
    return {number: [[list(each), [0] * len(each)]] for number, each in enumerate(ids)}


def online_dpo(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return the prompts as OnlineDPOTrainer gives them to the model."""
    template = load("trl.data_utils").maybe_apply_chat_template
    texts = [template({"prompt": row["prompt"]}, tokenizer)["prompt"] for row in case["rows"]]
    coded = [tokenizer(text=text, add_special_tokens=False)["input_ids"] for text in texts]
    return {number: [[ids, [0] * len(ids)]] for number, ids in enumerate(coded)}


def orpo(case: dict[str, Any], tokenizer: Any) -> Found:
    """Return both sides of each pair, as ORPO and CPO tokenise a row."""
    module, name = MODULES[case["method"]].split()
    kind, data = getattr(load(module), name), load("trl.data_utils")
    own = SimpleNamespace(
        processing_class=tokenizer, is_encoder_decoder=False, max_length=case["config"].get("max_length") or 512
    )
    own.build_tokenized_answer = partial(kind.build_tokenized_answer, own)
    found: Found = {}
    for number, row in enumerate(case["rows"]):
        text = data.maybe_apply_chat_template(data.maybe_extract_prompt(row), processing_class=tokenizer)
        coded = kind.tokenize_row(own, text)
        sides = [(coded[f"{side}_input_ids"], coded[f"{side}_labels"]) for side in ("chosen", "rejected")]
        found[number] = [[ids, [int(label != -100) for label in labels]] for ids, labels in sides]
    return found


READERS: dict[str, Any] = {
    "sft": sft,
    "dpo": dpo,
    "kto": kto,
    "reward": reward,
    "grpo": prompts,
    "rloo": prompts,
    "distillation": prompts,
    "online_dpo": online_dpo,
    "orpo": orpo,
    "cpo": orpo,
}


def main() -> None:
    """Print a line for each case."""
    transformers, jinja = load("transformers"), load("jinja2")
    load("datasets").disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    for case in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        tokenizer = transformers.AutoTokenizer.from_pretrained(case["folder"])
        try:
            print(json.dumps(READERS[case["method"]](case, tokenizer)), flush=True)
        except (jinja.TemplateError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)


if __name__ == "__main__":
    main()
