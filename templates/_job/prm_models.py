"""What a process reward model is made of, and what is shown of it: the chance of each step to be right."""

from typing import Any

from _job.device import TrainingDevice
from _job.models import four_bits, loading_arguments, trainable_model
from _job.samples import SAMPLE_TOKENS, SamplePrompt, evaluated, padded_batch

STEP_CLASS = "AutoModelForTokenClassification"
STEP_LABELS = 2
# What transformers calls the layer that labels tokens.
HEADS = ("score", "classifier")
# The label of a token that ends no step.
NO_LABEL = -100


def load_step_model(run: dict[str, Any], device: TrainingDevice, tokenizer: Any) -> Any:
    """Return a model with two labels for each token, wrong and right: a whole one, or an adapter on its base."""
    import transformers

    head = step_head(run, device)
    model = trainable_model(run, device, STEP_CLASS, **head)
    if isinstance(model, str):
        # The new head must not depend on chance.
        transformers.set_seed(run["config"].get("seed", 42))
        model_class = getattr(transformers, STEP_CLASS)
        model = model_class.from_pretrained(model, **loading_arguments(run, device) | head)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def step_head(run: dict[str, Any], device: TrainingDevice) -> dict[str, Any]:
    """Return what loading needs for the new head: how many labels it has, and that it is never kept in 4 bits."""
    if run["tuning"] != "qlora":
        return {"num_labels": STEP_LABELS}
    quantization = four_bits(device)
    quantization.llm_int8_skip_modules = list(HEADS)
    return {"num_labels": STEP_LABELS, "quantization_config": quantization}


def spare_heads(adapter: Any) -> Any:
    """Return the adapter's config without the head among its targets: PEFT trains that one whole, beside them."""
    if adapter is not None and adapter.exclude_modules is None:
        adapter.exclude_modules = list(HEADS)
    return adapter


def keep_labelled(trainer: Any) -> Any:
    """Return the trainer without the rows that max_length has left no label: their loss would be no number."""
    trainer.train_dataset = labelled(trainer.train_dataset)
    if trainer.eval_dataset is not None:
        trainer.eval_dataset = labelled(trainer.eval_dataset)
    return trainer


def labelled(rows: Any) -> Any:
    """Return the rows that have a step to learn from."""
    return rows.filter(lambda row: any(label != NO_LABEL for label in row["labels"]))


def score_steps(trainer: Any, samples: list[SamplePrompt]) -> list[str]:
    """Return for each sample the chance that the model gives each of its steps to be right."""
    import torch

    rows = [trainer.tokenize_row(step_row(sample), **tokenize_settings(trainer)) for sample in samples]
    ends = [[at for at, label in enumerate(row["labels"]) if label != NO_LABEL] for row in rows]
    tokens = [row["input_ids"] for row in rows]
    with evaluated(trainer.model):
        batch = padded_batch(trainer.processing_class, tokens, trainer.model.device, side="right")
        chances = torch.softmax(trainer.model(**batch).logits.float(), dim=-1)[:, :, 1]
    return [step_text(chances[place, at].tolist()) for place, at in enumerate(ends)]


def step_row(sample: SamplePrompt) -> dict[str, Any]:
    """Return a sample as a row of the data."""
    return {"prompt": sample.prompt, "completions": list(sample.answers), "labels": [1] * len(sample.answers)}


def tokenize_settings(trainer: Any) -> dict[str, Any]:
    """Return how the trainer turns rows into tokens, within the length that samples may have."""
    limit = min(trainer.args.max_length or SAMPLE_TOKENS, SAMPLE_TOKENS)
    shared = {"tokenizer": trainer.processing_class, "step_separator": trainer.args.step_separator}
    lengths = {"max_length": limit, "max_completion_length": trainer.args.max_completion_length}
    return shared | lengths | {"train_on_last_step_only": False, "is_eval": True}


def step_text(chances: list[float]) -> str:
    """Write the chances of the steps, in their order."""
    return ", ".join(f"{chance:.2f}" for chance in chances)
