# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.16.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
#     "trackio[gpu]==0.43.0",
# ]
# ///
"""Fine-tune a sequence-to-sequence model such as T5 on prompts with completions, by transformers' own trainer.

What RUN says can be said on the command line too: --model, --dataset, --learning_rate, ...; --help lists it all.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

RUN = {
    "recipe_version": 1,
    "method": "sft",
    "sequence_to_sequence": True,
    "run_key": "example",
    "model": "google-t5/t5-small",
    "model_revision": None,
    "dataset": "trl-lib/tldr",
    "dataset_file": None,
    "dataset_config": None,
    "dataset_revision": None,
    "dataset_split": "train[:200]",
    "eval_split": None,
    "columns": {},
    "system_prompt": None,
    "source_prefix": "",
    "max_source_length": 512,
    "max_target_length": 128,
    "tuning": "full",
    "config": {"max_steps": -1, "num_train_epochs": 1.0, "per_device_train_batch_size": 8, "learning_rate": 3e-4},
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"},
    "output_repo": None,
    "private": True,
    "overwrite": False,
    "merge": False,
    "save_minutes": 10,
    "strategy": None,
}

from _job.arguments import lora_config, trainer_arguments
from _job.device import TrainingDevice
from _job.job import TrainingSetup, run_job
from _job.models import find_adapter, loading_arguments, trainable_model
from _job.progress import report
from _job.samples import SAMPLE_NEW_TOKENS, SamplePrompt, evaluated, padded_batch
from _job.source import TrainingData

NOT_ON_THE_COMMAND_LINE = {"recipe_version", "method", "sequence_to_sequence", "run_key", "system_prompt"}
TUNINGS = ("full", "lora")
IGNORED_LABEL = -100


def command_line() -> argparse.ArgumentParser:
    """Return a parser of RUN's keys and of the fields of its config; each keeps RUN's value where it is not given."""
    parser = argparse.ArgumentParser(
        description="Fine-tune a sequence-to-sequence model on prompts with completions.", allow_abbrev=False
    )
    parser.add_argument("--output_dir", help="folder for the model. Default: output")
    for name, value in RUN.items():
        if name in NOT_ON_THE_COMMAND_LINE:
            continue
        shown = f"Default: {value!r}".replace("%", "%%")
        if isinstance(value, dict):
            parser.add_argument(f"--{name}", nargs="*", default=[], metavar="NAME=VALUE", help=shown)
        elif isinstance(value, bool):
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=value, help=shown)
        else:
            choices = TUNINGS if name == "tuning" else None
            kind = str if value is None else type(value)
            parser.add_argument(f"--{name}", type=kind, default=value, choices=choices, help=shown)
    for name, value in config_fields().items():
        parser.add_argument(f"--{name}", type=type(value), help=f"Default: {value}; others by --config NAME=VALUE")
    return parser


def config_fields() -> dict[str, Any]:
    """Return the fields of the trainer's config that have an argument of their own."""
    return dict(RUN["config"])


def read_command_line(arguments: list[str] | None = None) -> dict[str, Any]:
    """Return RUN with what the command line says, under a key that is the same for the same arguments."""
    parser = command_line()
    given = vars(parser.parse_args(arguments))
    run = RUN | {name: given[name] for name in RUN.keys() & given.keys()}
    for name, value in RUN.items():
        if isinstance(value, dict) and name in given:
            run[name] = value | dict(named_value(parser, name, text) for text in given[name])
    run["config"] |= {name: given[name] for name in config_fields() if given[name] is not None}
    for name in ("model", "dataset"):
        run[name] = str(Path(run[name]).absolute()) if Path(run[name]).exists() else run[name]
    if isinstance(run["eval_split"], str):
        share = json_or_text(run["eval_split"])
        run["eval_split"] = share if isinstance(share, float) else run["eval_split"]
    if run != RUN:
        run["run_key"] = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:12]
    name_folders(given["output_dir"], run["run_key"])
    return run


def named_value(parser: argparse.ArgumentParser, name: str, text: str) -> tuple[str, Any]:
    """Return the name and the value that NAME=VALUE gives; end the program where it gives none."""
    key, sign, value = text.partition("=")
    if not key or not sign:
        parser.error(f'--{name} takes NAME=VALUE, not "{text}"')
    return key, value if name == "columns" else json_or_text(value)


def json_or_text(value: str) -> Any:
    """Return what a value is in JSON, or else the text that it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def name_folders(output: str | None, run_key: str) -> None:
    """Set where the model goes, and where runs that differ keep checkpoints apart, unless the environment says so."""
    if output:
        os.environ["TRL_MCP_OUTPUT"] = output
    if not os.environ.get("TRL_MCP_RUN_FOLDER"):
        place = Path(os.environ.get("TRL_MCP_OUTPUT") or "output")
        os.environ.setdefault("TRL_MCP_WORK_FOLDER", str(place.with_name(f"{place.name}-work") / run_key))


def check_pairs(data: TrainingData) -> None:
    """End the job where the rows are no texts that come in pairs: this model reads one and writes the other."""
    first = data.train[0]
    if not all(isinstance(first.get(name), str) for name in ("prompt", "completion")):
        raise SystemExit(
            f"a sequence-to-sequence model learns from prompts with completions, and the rows have {', '.join(first)}: "
            "name the columns, as in --columns prompt=question completion=answer"
        )


class PairEncoder:
    """Makes token ids of texts: of a prompt as the encoder reads it, of a completion as the decoder writes it."""

    def __init__(self, tokenizer: Any, run: dict[str, Any]) -> None:
        """Take the tokenizer and the run's lengths in tokens."""
        self.tokenizer = tokenizer
        self.prefix: str = run["source_prefix"]
        self.source_length: int = run["max_source_length"]
        self.target_length: int = run["max_target_length"]

    def source(self, prompt: str) -> list[int]:
        """Return the ids of a prompt, cut at its end."""
        text = self.prefix + prompt.strip()
        return self.tokenizer(text, truncation=True, max_length=self.source_length)["input_ids"]

    def target(self, completion: str) -> list[int]:
        """Return the ids of a completion; one that is too long is cut, and has no end then."""
        ids: list[int] = self.tokenizer(text_target=completion.strip())["input_ids"]
        end = self.tokenizer.eos_token_id
        whole = ids if end is None or ids[-1:] == [end] else [*ids, end]
        return whole[: self.target_length]

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row of the data as the trainer reads it."""
        return {"input_ids": self.source(row["prompt"]), "labels": self.target(row["completion"])}

    def rows(self, data: Any) -> Any:
        """Return a data set as the trainer reads it, and say how many of its completions are cut."""
        encoded = data.map(self.row, remove_columns=data.column_names)
        end = self.tokenizer.eos_token_id
        cut = sum(ids[-1:] != [end] for ids in encoded["labels"]) if end is not None else 0
        if cut:
            limit = f"max_target_length {self.target_length}"
            report(
                "warning", message=f"{cut} of {len(encoded)} completions are longer than {limit} tokens: they are cut"
            )
        return encoded


def load_model(run: dict[str, Any], device: TrainingDevice) -> Any:
    """Return the model, with a new adapter or with the one that the run's model is, where it is to be trained so."""
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, set_seed

    if find_adapter(run) is not None:
        return trainable_model(run, device, "AutoModelForSeq2SeqLM")
    config = AutoConfig.from_pretrained(run["model"], revision=run["model_revision"])
    if not config.is_encoder_decoder:
        raise SystemExit(
            f"{run['model']} ({config.model_type}) is no sequence-to-sequence model: train it with submit_training, "
            "method sft, or with sft.py"
        )
    set_seed(run["config"].get("seed", 42))
    model = AutoModelForSeq2SeqLM.from_pretrained(run["model"], **loading_arguments(run, device))
    adapter = lora_config(run, "SEQ_2_SEQ_LM")
    return model if adapter is None else get_peft_model(model, adapter)


def make_trainer(run: dict[str, Any], setup: TrainingSetup) -> Any:
    """Return transformers' trainer for sequence-to-sequence models, with the model loaded."""
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

    fields = trainer_arguments(run, setup.device, setup.checkpoints)
    del fields["model_init_kwargs"]
    evaluation = setup.data.evaluation
    defaults = {
        "label_names": ["labels"],
        "prediction_loss_only": True,
        "eval_strategy": "epoch" if evaluation else "no",
    }
    tokenizer = setup.processing
    model = load_model(run, setup.device)
    encoder = PairEncoder(tokenizer, run)
    return Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(**(defaults | fields)),
        train_dataset=encoder.rows(setup.data.train),
        eval_dataset=encoder.rows(evaluation) if evaluation else None,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=IGNORED_LABEL),
        processing_class=tokenizer,
    )


def write_answers(run: dict[str, Any], trainer: Any, samples: list[SamplePrompt]) -> list[str]:
    """Generate greedily for all prompts in one batch."""
    tokenizer, encoder = trainer.processing_class, PairEncoder(trainer.processing_class, run)
    sources = [encoder.source(sample.prompt) for sample in samples]
    batch = padded_batch(tokenizer, sources, trainer.model.device, side="right")
    with evaluated(trainer.model):
        output = trainer.model.generate(**batch, do_sample=False, num_beams=1, max_new_tokens=SAMPLE_NEW_TOKENS)
    return [answer.strip() for answer in tokenizer.batch_decode(output, skip_special_tokens=True)]


def main() -> None:
    """Train as RUN and the command line say."""
    run = read_command_line()
    run_job(
        run,
        lambda setup: make_trainer(run, setup),
        check_pairs,
        lambda trainer, samples: write_answers(run, trainer, samples),
    )


if __name__ == "__main__":
    main()
