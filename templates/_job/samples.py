"""A few prompts and what the model makes of them, before and after training: its answers, or its scores."""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
    """A prompt (a text, or turns), what a person reads of it, and the answer in the data.

    `answers` are the chosen and the rejected one of a pair (texts, or turns), else none; `row` is what it was made of.
    """

    prompt: Any
    shown: str
    expected: str
    template_arguments: dict[str, Any]
    answers: tuple[Any, ...] = ()
    row: dict[str, Any] = field(default_factory=dict[str, Any])


# What is shown of the model for each sample: a text made by a trainer.
ShowSamples = Callable[[Any, list[SamplePrompt]], list[str]]


def choose_samples(data: Any) -> list[SamplePrompt]:
    """Return distinct prompts from the first rows of a data set as the conversion left it."""
    found: dict[str, SamplePrompt] = {}
    for row in data.select(range(min(SAMPLE_ROWS, len(data)))):
        if len(found) == SAMPLE_LIMIT:
            break
        sample = sample_of(row)
        if sample is not None:
            found.setdefault(sample.shown, replace(sample, row=row))
    return list(found.values())


def sample_of(row: dict[str, Any]) -> SamplePrompt | None:
    """Make a prompt of a row: what comes before its first answer, or the first words of a text."""
    if "text" in row:
        return text_sample(row["text"])
    if row.get("label") is False:
        return None  # an answer that is not wanted
    prompt, answer, pair = parts_of(row)
    if isinstance(prompt, str):
        return SamplePrompt(prompt, prompt, str(answer).strip(), {}, pair)
    if not prompt or answer == []:
        return None
    expected = content_text(answer[0]) if isinstance(answer, list) else str(answer)
    arguments = {"tools": row.get("tools"), **(row.get("chat_template_kwargs") or {})}
    is_shown = bool(expected) or isinstance(answer, str)
    return SamplePrompt(prompt, content_text(prompt[-1]), expected, arguments, pair) if is_shown else None


def parts_of(row: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return a row's prompt, the answer in the data (an empty text where it has none) and its answers, if several."""
    if "chosen" in row:
        pair = (row["chosen"], row["rejected"])
        prompt, answer = (row["prompt"], row["chosen"]) if "prompt" in row else first_exchange(row["chosen"])
        return prompt, answer, pair
    if "prompt" not in row:
        return *first_exchange(row["messages"]), ()
    if "completions" in row:
        verdicts = ", ".join("right" if label else "wrong" for label in row["labels"])
        return row["prompt"], verdicts, tuple(row["completions"])
    return row["prompt"], row.get("completion", ""), ()


def text_sample(text: str) -> SamplePrompt | None:
    """Make a prompt of a text's first words; None where no words come after them."""
    words = text.split(maxsplit=SAMPLE_FIRST_WORDS)
    if len(words) <= SAMPLE_FIRST_WORDS:
        return None
    prompt = text[: len(text.rstrip()) - len(words[-1].rstrip())].rstrip()
    return SamplePrompt(prompt, prompt, words[-1], {})


def first_exchange(messages: Any) -> tuple[Any, Any]:
    """Split a conversation at its first answer to a user; of a text all is answer."""
    if isinstance(messages, str):
        return "", messages
    roles = [message["role"] for message in messages]
    asked = roles.index("user") if "user" in roles else len(roles)
    answered = next((at for at in range(asked, len(roles)) if roles[at] == "assistant"), 0)
    return messages[:answered], messages[answered:]


def content_text(message: dict[str, Any]) -> str:
    """Return what a turn says, be it a text or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


def sample_texts(show: ShowSamples, trainer: Any, samples: list[SamplePrompt]) -> list[str] | None:
    """Return what is shown of the model as it is now; where that fails, say so and go on without it."""
    from jinja2 import TemplateError

    if not samples:
        return []
    try:
        with kept_random_state():
            return show(trainer, samples)
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
    model, tokenizer = trainer.model, getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    prompts = prompt_tokens(tokenizer, samples, getattr(trainer.args, "max_length", None))
    batch = padded_batch(tokenizer, prompts, model.device)
    # Sampling fields that a model brings along would only cause warnings.
    plain = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    with evaluated(model):
        output = model.generate(**batch, **plain, max_new_tokens=SAMPLE_NEW_TOKENS, use_cache=True)
    answers = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


@contextmanager
def evaluated(model: Any) -> Generator[None]:
    """Ask the model without dropout and gradients, then leave it as it was."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def score_pairs(trainer: Any, samples: list[SamplePrompt]) -> list[str]:
    """Return the scores that a reward model gives to the chosen and to the rejected answer of each sample."""
    tokenizer = trainer.processing_class
    limit = min(trainer.args.max_length or SAMPLE_TOKENS, SAMPLE_TOKENS)
    tokens = [pair_tokens(tokenizer, sample, answer)[:limit] for sample in samples for answer in sample.answers]
    with evaluated(trainer.model):
        output = trainer.model(**padded_batch(tokenizer, tokens, trainer.model.device, side="right"))
    scores = output.logits.squeeze(-1).float().tolist()
    pairs = zip(scores[::2], scores[1::2], strict=True)
    return [f"chosen {chosen:.3f}, rejected {rejected:.3f}" for chosen, rejected in pairs]


def pair_tokens(tokenizer: Any, sample: SamplePrompt, answer: Any) -> list[int]:
    """Return the tokens of a prompt with an answer, as a reward model was trained on them."""
    if isinstance(answer, str):
        return tokenizer(sample.prompt + answer + (tokenizer.eos_token or ""))["input_ids"]
    has_prompt = answer[: len(sample.prompt)] == sample.prompt
    turns = answer if has_prompt else sample.prompt + answer
    return tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **sample.template_arguments)[
        "input_ids"
    ]


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


def padded_batch(tokenizer: Any, prompts: list[list[int]], device: Any, side: str = "left") -> dict[str, Any]:
    """Return the prompts as one tensor, filled up on one side, with the mask that hides the filling."""
    import torch

    width = max(len(tokens) for tokens in prompts)

    def filled(tokens: list[int], filler: int) -> list[int]:
        filling = [filler] * (width - len(tokens))
        return filling + tokens if side == "left" else tokens + filling

    ids = [filled(tokens, tokenizer.pad_token_id) for tokens in prompts]
    masks = [filled([1] * len(tokens), 0) for tokens in prompts]
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(masks, device=device)}


def report_samples(samples: list[SamplePrompt], before: list[str] | None, after: list[str] | None) -> None:
    """Print each prompt with the expected answer and the model's answers before and after."""
    for place, sample in enumerate(samples):
        texts = {"prompt": sample.shown, "expected": sample.expected}
        answers = {name: None if side is None else side[place] for name, side in (("before", before), ("after", after))}
        report("sample", **{name: text and text[:SAMPLE_CHARACTERS] for name, text in (texts | answers).items()})
