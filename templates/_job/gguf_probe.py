"""What the original does with texts that it has not seen: the measure that each GGUF file is held to."""

from dataclasses import dataclass
from typing import Any

PROSE = (
    "The harbour was quiet when the first boats came in. Nobody had expected them before noon, and the women on the "
    "quay were still mending nets, talking about the price of salt and about the teacher who had left without a word. "
    "An old man counted the masts twice, then a third time, because one was missing. How far can a small boat drift in "
    "a single night? If the wind blows at twelve knots and the current runs against it, perhaps twenty miles, perhaps "
    "fewer. He wrote the number 1,847.50 into his book, closed it, and walked up the hill to light the lamp again. In "
    "the valley behind the town the trains had stopped running; a bridge had been closed for repairs since March, so "
    "letters arrived late and newspapers not at all. The doctor did not mind. She kept a list of everything that could "
    "be repaired with wire, tape and patience, and she added to it every evening before she slept."
)
# Scripts, spaces, digits, joined characters and code: what pre-tokenizers split differently.
SCRIPTS = (
    "It's 3.14, they'll say; I'D rather not. We've got 1000000 of 'em!",
    "Grüße aus Köln: die Straße, der Fluß, naïve façade, œuvre.",
    "Съешь ещё этих мягких французских булок, да выпей чаю.",
    "我能吞下玻璃而不伤身体。今天是2024年3月15日。",
    "いろはにほへと ちりぬるを、カタカナと漢字。",
    "다람쥐 헌 쳇바퀴에 타고파.",
    "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت",
    "זה כיף סתם לשמוע איך תנצח קרפד עץ טוב בגן.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण।",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "emoji: 🚀 👩‍👩‍👧 🇩🇪 ✅ 😶‍🌫️ e\u0301 a\u0308",
    "def f(x):\n\tif x >= 10:\n        return {'a': [x, -x]}  # ok\r\n\r\n\n\n",
    "   leading,  double   and trailing spaces   ",
    "\n\n \t\n words\tand\ttabs \n",
    '========------______ <a href="x">&amp;</a> $5 % ^ ~ ` | \\ /',
)
PROSE_TOKENS = 256
ANSWER_TOKENS = 48
MOST_MARKS = 200


@dataclass(frozen=True)
class Question:
    """A prompt as tokens, the original's greedy answer without the token that ends it, and that token if one came."""

    prompt: list[int]
    answer: list[int]
    end: int | None


@dataclass(frozen=True)
class SourceProbe:
    """What the original does: the ids of texts, the logits on sequences of ids, answers, and how it ends them."""

    tokens: list[tuple[str, bool, list[int]]]
    sequences: list[list[int]]
    logits: list[Any]
    questions: list[Question]
    chat_template: str | None
    end_token: int | None
    stops: list[str]

    @property
    def longest(self) -> int:
        """How many tokens a context must hold."""
        longest = max(len(question.prompt) + 3 * ANSWER_TOKENS for question in self.questions)
        return max(longest, *map(len, self.sequences))


def probe_source(model: Any, tokenizer: Any, questions: list[str]) -> SourceProbe:
    """Ask the original; end the job where it computes what is no number."""
    import numpy as np

    ends = end_tokens(model, tokenizer)
    asked = [ask_source(model, tokenizer, chat_prompt(tokenizer, each), ends) for each in questions]
    prose = tokenizer(PROSE).input_ids[:PROSE_TOKENS]
    sequences = [prose, *(each.prompt + each.answer for each in asked)]
    logits = [source_logits(model, ids) for ids in sequences]
    if not all(np.isfinite(rows).all() for rows in logits):
        raise SystemExit("the model itself computes values that are no numbers: its training has failed")
    return SourceProbe(
        tokens=token_cases(tokenizer, questions),
        sequences=sequences,
        logits=logits,
        questions=asked,
        chat_template=template_of(tokenizer),
        end_token=tokenizer.eos_token_id,
        stops=[tokenizer.decode([token]) for token in sorted(ends)],
    )


def template_of(tokenizer: Any) -> str | None:
    """Return the chat template that is used when none is named."""
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer of the original."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return {token for token in [*listed, tokenizer.eos_token_id] if token is not None}


def chat_prompt(tokenizer: Any, question: str) -> list[int]:
    """Return a question as the model is asked it: by its chat template where it has one."""
    if template_of(tokenizer) is None:
        return tokenizer(question).input_ids
    text = chat_text(tokenizer, question)
    return tokenizer(text, add_special_tokens=False).input_ids


def chat_text(tokenizer: Any, question: str) -> str:
    """Return a question as the chat template writes it."""
    turns = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def ask_source(model: Any, tokenizer: Any, prompt: list[int], ends: set[int]) -> Question:
    """Return the original's greedy answer."""
    import torch

    ids = torch.tensor([prompt])
    rules = {"do_sample": False, "max_new_tokens": ANSWER_TOKENS, "eos_token_id": sorted(ends) or None}
    # What else is configured, such as a penalty on repetition, is no property of the weights.
    plain = {"repetition_penalty": 1.0, "temperature": 1.0, "top_p": 1.0, "top_k": 50, "no_repeat_ngram_size": 0}
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=padding, **rules, **plain)
    answer = output[0, len(prompt) :].tolist()
    has_ended = bool(answer) and answer[-1] in ends
    return Question(prompt, answer[:-1] if has_ended else answer, answer[-1] if has_ended else None)


def source_logits(model: Any, ids: list[int]) -> Any:
    """Return the original's logits after each token, as an array of float32."""
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float().numpy()


def token_cases(tokenizer: Any, questions: list[str]) -> list[tuple[str, bool, list[int]]]:
    """Return texts, whether tokens are put around them, and the ids that the original's tokenizer gives them."""
    marks = [str(token) for token in tokenizer.added_tokens_decoder.values()][:MOST_MARKS]
    texts = [PROSE, *SCRIPTS, *(f"one {mark}two" for mark in marks), "".join(marks[:8])]
    cases = [
        (text, around, tokenizer(text, add_special_tokens=around).input_ids)
        for text in texts
        for around in (False, True)
    ]
    if template_of(tokenizer) is not None:
        chats = [chat_text(tokenizer, question) for question in questions]
        cases += [(text, False, tokenizer(text, add_special_tokens=False).input_ids) for text in chats]
    return cases
