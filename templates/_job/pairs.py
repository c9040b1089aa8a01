"""Prompts and answers told apart: where a prompt ends, in conversations and in texts."""

import re
from typing import Any

from _job.texts import Row, UnusableRowError

SYSTEM_ROLES = ("system", "developer")
ANSWER_MARK = "\n\nAssistant:"


def split_pair(prompt: list[Row], chosen: list[Row], rejected: list[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """Return the prompt and the two answers to it, where an answer may be given as the whole conversation.

    The prompt of two whole conversations is the turns that both begin with, as far as an answer is left of each. A
    prompt that is given besides must occur in them, or it is another prompt (prompts_differ).
    """
    is_whole = [answer[0]["role"] != "assistant" for answer in (chosen, rejected)]
    if is_whole == [False, False] and prompt:
        return prompt, chosen, rejected
    if is_whole[0] != is_whole[1]:
        raise UnusableRowError("prompts_differ")
    shared = count_shared(chosen, rejected)
    if {chosen[shared]["role"], rejected[shared]["role"]} != {"assistant"} or not asks(chosen[:shared]):
        raise UnusableRowError("prompts_differ" if asks(chosen) and asks(rejected) else "no_question")
    opening = chosen[:shared]
    return merge_prompt(prompt, opening), chosen[shared:], rejected[shared:]


def count_shared(chosen: list[Row], rejected: list[Row]) -> int:
    """Count the turns that two conversations begin with alike, at most up to the last answer of the shorter one."""
    most = min(len(chosen), len(rejected)) - 1
    count = next((place for place in range(most) if chosen[place] != rejected[place]), most)
    while count and count == most and "assistant" not in (chosen[count]["role"], rejected[count]["role"]):
        count -= 1
        most = count
    return count


def merge_prompt(prompt: list[Row], opening: list[Row]) -> list[Row]:
    """Return the turns that come before both answers, with a system turn that only the separate prompt has."""
    said = " ".join(words_of(turn) for turn in opening)
    unsaid = [turn for turn in prompt if words_of(turn) not in said]
    if any(turn["role"] not in SYSTEM_ROLES for turn in unsaid):
        raise UnusableRowError("prompts_differ")
    return [*unsaid, *opening]


def words_of(turn: Row) -> str:
    """Return what a turn says with single spaces."""
    return " ".join(str(turn.get("content") or "").split())


def asks(turns: list[Row]) -> bool:
    """Tell whether anybody but the system says something before an answer."""
    return any(turn["role"] not in SYSTEM_ROLES for turn in turns)


def split_answer(turns: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return a conversation without its last turn, and that turn, which must be an answer to something."""
    if turns[-1]["role"] != "assistant":
        raise UnusableRowError("last_turn")
    if not asks(turns[:-1]):
        raise UnusableRowError("no_question")
    return turns[:-1], turns[-1:]


def without_answer(turns: list[Row]) -> list[Row]:
    """Return a conversation up to where the assistant is to answer."""
    end = len(turns)
    while end and turns[end - 1]["role"] == "assistant":
        end -= 1
    if not asks(turns[:end]):
        raise UnusableRowError("no_question")
    return turns[:end]


def join_answer(prompt: str, answer: str) -> tuple[str, str]:
    """Return two texts that can be glued together: white space between them stands at the answer's start.

    A tokenizer may merge a space at the prompt's end with the word after it, and the boundary would be lost.
    """
    body = prompt.rstrip()
    gap = prompt[len(body) :]
    if body and not gap and not answer[:1].isspace():
        gap = "\n"
    return body, gap + answer


def split_texts(prompt: str | None, chosen: str, rejected: str) -> Row:
    """Return a pair of texts and the prompt that comes before both: the one given, else what both begin with."""
    if prompt is None:
        prompt = shared_opening(chosen, rejected)
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    body, chosen = join_answer(prompt, chosen)
    return {"prompt": body, "chosen": chosen, "rejected": join_answer(prompt, rejected)[1]}


def shared_opening(chosen: str, rejected: str) -> str:
    """Return the words that two texts begin with alike, as far as a word is left of each; it may be empty.

    The white space after them stays with the rest, and no word is cut.
    """
    pairs = zip(chosen, rejected, strict=False)
    shared = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(chosen), len(rejected)))
    ends = [gap.start() for gap in re.finditer(r"\s+", chosen[:shared])]
    return next((chosen[:end] for end in reversed(ends) if chosen[end:].strip() and rejected[end:].strip()), "")


def transcript_opening(chosen: str, rejected: str) -> str:
    """Return what two transcripts begin with, up to the last place where the assistant answers in both."""
    end = len(chosen)
    while (place := chosen.rfind(ANSWER_MARK, 0, end)) >= 0:
        opening = chosen[: place + len(ANSWER_MARK)]
        if rejected.startswith(opening):
            return opening
        end = place
    raise UnusableRowError("prompts_differ")


def join_input(instruction: str, further: str) -> str:
    """Return an instruction with the input that it is about."""
    if not further.strip():
        return instruction
    return f"{instruction}\n\n{further}" if instruction.strip() else further


def history_turns(history: Any) -> list[Row]:
    """Return the turns of earlier questions and answers, given as pairs of texts."""
    turns: list[Row] = []
    for pair in history or []:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UnusableRowError("wrong_type")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns
