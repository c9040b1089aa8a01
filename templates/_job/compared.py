"""Two answers side by side, and in a column of its own which of them is the better one."""

from typing import Any

from _job.naming import find_twins, name_words, plain_name
from _job.texts import UnusableRowError

# How a column of such a name says it: by the number of the answer, from 0; by a number below or above zero; by a text
# with the mark that the answer's name bears.
BY_NUMBER = ("better_response_id", "choice")
BY_SIGN = ("preference_strength", "overall_preference")
BY_MARK = (
    *("winner", "best", "better", "better_answer", "better_response"),
    *("preference", "preferred", "preferred_answer", "preferred_response"),
)


def first_is_better(name: str, verdict: Any, other: Any, twins: tuple[str, str]) -> bool:
    """Tell whether the first of two answers is the better one, by a verdict or by the scores of both.

    `name` is the verdict's column, `twins` those of the answers; `other` is the second one's score, if there are scores.
    """
    if plain_name(name) in BY_MARK:
        marks = [set(name_words(twin)) - set(name_words(twins[1 - place])) for place, twin in enumerate(twins)]
        word = set(name_words(verdict)[-1:]) if isinstance(verdict, str) else set[str]()
        found = [bool(word) and word == mark for mark in marks]
        return decided(found[0], found[1])
    if not isinstance(verdict, int | float):
        raise UnusableRowError("null_value" if verdict is None else "wrong_type")
    if name in BY_NUMBER:
        return decided(verdict == 0, verdict == 1)
    if name in BY_SIGN:
        return decided(verdict < 0, verdict > 0)
    if not isinstance(other, int | float):
        raise UnusableRowError("null_value" if other is None else "wrong_type")
    return decided(verdict > other, verdict < other)


def decided(is_first: bool, is_second: bool) -> bool:
    """Return whether it is the first one; refuse a tie."""
    if is_first == is_second:
        raise UnusableRowError("no_winner")
    return is_first


def find_scores(names: list[str], twins: tuple[str, str]) -> tuple[str, str] | None:
    """Return the columns of both answers' scores, marked as the answers are."""
    scores = find_twins(name for name in names if "score" in name_words(name))
    marks = [set(name_words(one)) - set(name_words(other)) for one, other in (twins, scores or twins)]
    return scores if scores and marks[0] == marks[1] else None
