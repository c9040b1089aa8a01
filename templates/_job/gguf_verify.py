"""Whether a GGUF file does what the original does."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _job.gguf_library import GgufError, LlamaFile, LlamaLibrary
from _job.gguf_probe import ANSWER_TOKENS, SourceProbe

# Types that come so close to the original that what differs much is a fault.
FAITHFUL = ("F16", "BF16", "Q8_0")
MOST_DIVERGENCE = 1.0


@dataclass
class Verdict:
    """What was measured of a file, and what is wrong with it."""

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def verify_file(library: LlamaLibrary, path: Path, quantization: str, probe: SourceProbe) -> Verdict:
    """Load a file, run it, and compare it with the original."""
    verdict = Verdict()
    begin = time.monotonic()
    try:
        with library.open_file(path, probe.longest) as file:
            check_words(file, probe, verdict)
            check_logits(file, probe, quantization in FAITHFUL, verdict)
            check_answers(file, probe, quantization in FAITHFUL, verdict)
            bits = 8 * path.stat().st_size / file.parameters
            verdict.figures |= {"parameters": file.parameters, "bits_per_weight": round(bits, 2)}
    except GgufError as error:
        verdict.faults.append(str(error))
    verdict.figures["verified_s"] = round(time.monotonic() - begin, 1)
    return verdict


def check_words(file: LlamaFile, probe: SourceProbe, verdict: Verdict) -> None:
    """Compare the ids of texts, the chat template, and the token that ends a text."""
    for text, around, expected in probe.tokens:
        found = file.token_ids(text, around)
        if found != expected:
            verdict.faults.append(f"tokens differ: {text[:60]!r} is {found[:12]}, in the original {expected[:12]}")
            break
    verdict.figures["texts_tokenized"] = len(probe.tokens)
    if file.chat_template != probe.chat_template:
        lost = "is lost" if file.chat_template is None else "is another one"
        verdict.faults.append(f"the chat template {lost}")
    if probe.end_token is not None and file.end_token != probe.end_token:
        verdict.faults.append(f"the token that ends a text is {file.end_token}, in the original {probe.end_token}")


def check_logits(file: LlamaFile, probe: SourceProbe, is_faithful: bool, verdict: Verdict) -> None:
    """Compare what comes after each token of a text: the divergence, and how often the likeliest word is the same."""
    import numpy as np

    divergences: list[Any] = []
    same: list[Any] = []
    for ids, expected in zip(probe.sequences, probe.logits, strict=True):
        found = file.logits(ids)
        if not np.isfinite(found).all():
            verdict.faults.append("it computes values that are no numbers")
            return
        words = min(found.shape[1], expected.shape[1])
        divergences.append(row_divergences(expected[:, :words], found[:, :words]))
        same.append(expected[:, :words].argmax(1) == found[:, :words].argmax(1))
    mean = float(np.concatenate(divergences).mean())
    verdict.figures |= {"kl": float(f"{mean:.3g}"), "agreement": round(float(np.concatenate(same).mean()), 4)}
    if is_faithful and mean > MOST_DIVERGENCE:
        verdict.faults.append(f"it is too far from the original: KL {mean:.3g}, at most {MOST_DIVERGENCE:g}")


def row_divergences(expected: Any, found: Any) -> Any:
    """Return the KL divergence of each row of logits from the expected one."""
    import numpy as np

    def logs(rows: Any) -> Any:
        shifted = rows - rows.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    first, second = logs(expected), logs(found)
    return (np.exp(first) * (first - second)).sum(1)


def check_answers(file: LlamaFile, probe: SourceProbe, is_faithful: bool, verdict: Verdict) -> None:
    """Compare greedy answers, and whether they stop where the original stops."""
    same = stopped = 0
    expected = sum(question.end is not None for question in probe.questions)
    for question in probe.questions:
        answer, has_stopped = file.greedy_answer(question.prompt, 2 * ANSWER_TOKENS)
        same += answer[: len(question.answer)] == question.answer and has_stopped >= (question.end is not None)
        stopped += has_stopped and question.end is not None
    for token in sorted({question.end for question in probe.questions if question.end is not None}):
        if not file.ends_answer(token):
            verdict.faults.append(f"it does not stop at token {token}, which ends the original's answers")
    if stopped < expected and (is_faithful or not stopped):
        verdict.faults.append(f"it stops in {stopped} of the {expected} answers that the original ends")
    verdict.figures |= {
        "same_answers": same,
        "stops": stopped,
        "source_stops": expected,
        "questions": len(probe.questions),
    }
