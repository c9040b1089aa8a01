"""A few prompts and the model's answers to them, before and after training."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from _job.progress import report

SAMPLE_LIMIT = 10
SAMPLE_ROWS = 500
SAMPLE_NEW_TOKENS = 64
SAMPLE_TOKENS = 1024
SAMPLE_CHARACTERS = 500
SAMPLE_FIRST_WORDS = 8


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt (a text, or turns), what a person reads of it, and the answer in the data."""

    prompt: Any
    shown: str
    expected: str
    template_arguments: dict[str, Any]


def choose_samples(data: Any) -> list[SamplePrompt]:
    """Return distinct prompts from the first rows of a data set as the conversion left it."""
    found: dict[str, SamplePrompt] = {}
    for row in data.select(range(min(SAMPLE_ROWS, len(data)))):
        if len(found) == SAMPLE_LIMIT:
            break
        sample = sample_of(row)
        if sample is not None:
            found.setdefault(sample.shown, sample)
    return list(found.values())


def sample_of(row: dict[str, Any]) -> SamplePrompt | None:
    """Make a prompt of a row: what comes before its first answer, or the first words of a text."""
    if "text" in row:
        return text_sample(row["text"])
    if isinstance(row.get("prompt"), str):
        return SamplePrompt(row["prompt"], row["prompt"], row["completion"].strip(), {})
    prompt, answer = (row["prompt"], row["completion"]) if "prompt" in row else first_exchange(row["messages"])
    if not prompt or not answer:
        return None
    expected = content_text(answer[0])
    arguments = {"tools": row["tools"], **(row["chat_template_kwargs"] or {})}
    return SamplePrompt(prompt, content_text(prompt[-1]), expected, arguments) if expected else None


def text_sample(text: str) -> SamplePrompt | None:
    """Make a prompt of a text's first words; None where no words come after them."""
    words = text.split(maxsplit=SAMPLE_FIRST_WORDS)
    if len(words) <= SAMPLE_FIRST_WORDS:
        return None
    prompt = text[: len(text.rstrip()) - len(words[-1].rstrip())].rstrip()
    return SamplePrompt(prompt, prompt, words[-1], {})


def first_exchange(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a conversation at its first answer to a user."""
    roles = [message["role"] for message in messages]
    asked = roles.index("user") if "user" in roles else len(roles)
    answered = next((at for at in range(asked, len(roles)) if roles[at] == "assistant"), 0)
    return messages[:answered], messages[answered:]


def content_text(message: dict[str, Any]) -> str:
    """Return what a turn says, be it a text or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


def sample_answers(trainer: Any, samples: list[SamplePrompt]) -> list[str] | None:
    """Return the model's answers as it is now; where that fails, say so and go on without: training matters more."""
    from jinja2 import TemplateError

    try:
        with kept_random_state():
            return generate_answers(trainer, samples)
    except (RuntimeError, ValueError, TemplateError) as error:  # out of memory is a RuntimeError
        report("sample", skipped=f"{type(error).__name__}: {error}"[:SAMPLE_CHARACTERS])
        return None


@contextmanager
def kept_random_state() -> Generator[None]:
    """Leave the random numbers of Python, NumPy and torch where they were, so that training does not change."""
    import torch
    from numpy.random import get_state, set_state

    python_state, numpy_state = random.getstate(), get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        set_state(numpy_state)


def generate_answers(trainer: Any, samples: list[SamplePrompt]) -> list[str]:
    """Generate greedily for all prompts in one batch, filled up on their left."""
    if not samples:
        return []
    model, tokenizer = trainer.model, getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    batch = padded_batch(
        tokenizer, prompt_tokens(tokenizer, samples, getattr(trainer.args, "max_length", None)), model.device
    )
    was_training = model.training
    model.eval()
    try:
        # Sampling fields that a model brings along would only cause warnings.
        plain = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        output = model.generate(**batch, **plain, max_new_tokens=SAMPLE_NEW_TOKENS, use_cache=True)
    finally:
        model.train(was_training)
    answers = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def prompt_tokens(tokenizer: Any, samples: list[SamplePrompt], max_length: int | None) -> list[list[int]]:
    """Return each prompt's last tokens, as many as leave room for the answer."""
    limit = min(max_length or SAMPLE_TOKENS, SAMPLE_TOKENS)
    room = max(limit - SAMPLE_NEW_TOKENS, limit // 2)
    return [tokenize_prompt(tokenizer, sample)[-room:] for sample in samples]


def tokenize_prompt(tokenizer: Any, sample: SamplePrompt) -> list[int]:
    """Return a prompt's tokens, with the opening of the assistant's turn where it is a conversation."""
    if isinstance(sample.prompt, str):
        return tokenizer(sample.prompt)["input_ids"]
    arguments = {"tokenize": True, "return_dict": True, "add_generation_prompt": True, **sample.template_arguments}
    return tokenizer.apply_chat_template(sample.prompt, **arguments)["input_ids"]


def padded_batch(tokenizer: Any, prompts: list[list[int]], device: Any) -> dict[str, Any]:
    """Return the prompts as one tensor, with the mask that hides the filling."""
    import torch

    width = max(len(tokens) for tokens in prompts)
    filled = [[tokenizer.pad_token_id] * (width - len(tokens)) + tokens for tokens in prompts]
    masks = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in prompts]
    return {
        "input_ids": torch.tensor(filled, device=device),
        "attention_mask": torch.tensor(masks, device=device),
    }


def report_samples(samples: list[SamplePrompt], before: list[str] | None, after: list[str] | None) -> None:
    """Print each prompt with the expected answer and the model's answers before and after."""
    for place, sample in enumerate(samples):
        texts = {"prompt": sample.shown, "expected": sample.expected}
        answers = {name: None if side is None else side[place] for name, side in (("before", before), ("after", after))}
        report("sample", **{name: text and text[:SAMPLE_CHARACTERS] for name, text in (texts | answers).items()})
