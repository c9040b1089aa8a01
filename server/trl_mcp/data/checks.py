"""What is remarkable about one converted row, by the names of problems.PROBLEMS. Pure functions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

Turn = Mapping[str, Any]
# One letter for each speaker, so that the order of turns is a short text.
SPEAKERS = {"system": "s", "developer": "s", "user": "u", "assistant": "a"}
OTHER_SPEAKER = "t"
NEAR_CHARACTERS = 3
NEAR_EDGE = 64
# Two texts that are nearly the same share this many characters at their start or at their end: see are_near.
_SURE_CHARACTERS = 5

SECRET = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30}|sk-[A-Za-z0-9_-]{20}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30}|github_pat_\w{30})"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
)
PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w.\-]{0,40}\s*\}\}|<(?:your|insert)[ _-][\w -]{1,40}>", re.IGNORECASE)
# What every text with a secret or a placeholder matches, in RE2's language as well as in Python's.
SUSPECT_TEXT = r"\{\{|<[YyIi][OoNn][UuSs]|hf_[A-Za-z0-9]{8}|sk-[A-Za-z0-9_-]{20}|AKIA[0-9A-Z]{8}|gh[pousr]_[A-Za-z0-9]{8}|github_pat_|-----BEGIN "
_SUSPECT = re.compile(SUSPECT_TEXT)


def row_notes(row: Mapping[str, Any], targets: Sequence[str]) -> Iterator[str]:
    """Yield the name of everything remarkable in a converted row; `targets` are the columns that make its layout."""
    if "messages" in targets:
        yield from _turn_notes(row["messages"], ends_open=False)
    elif isinstance(row.get("prompt"), list):
        answer: Sequence[Turn] = row.get("completion") or row.get("chosen") or ()
        yield from _turn_notes((*row["prompt"], *answer), ends_open=True)
    elif isinstance(row.get("chosen"), list):
        yield from _turn_notes(row["chosen"], ends_open=True)
    if "chosen" in targets and "rejected" in targets:
        yield from _pair_notes("".join(cell_texts(row["chosen"])), "".join(cell_texts(row["rejected"])))
    yield from text_notes(text for target in targets for text in cell_texts(row.get(target)))


def cell_texts(cell: Any) -> Iterator[str]:
    """Yield the texts of a cell in their order: the text itself, the contents of turns, the items of a list."""
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, Mapping):
        turn = cast(Turn, cell)
        yield from cell_texts(next((turn[name] for name in ("content", "value", "text") if turn.get(name)), None))
    elif isinstance(cell, list | tuple):
        for item in cast(Sequence[Any], cell):
            yield from cell_texts(item)


def text_notes(texts: Iterable[str]) -> set[str]:
    """Return whether texts hold a secret or a placeholder that nobody has filled in."""
    suspects = [text for text in texts if _SUSPECT.search(text)]
    found = {"secret"} if any(SECRET.search(text) for text in suspects) else set[str]()
    return found | ({"placeholder"} if any(PLACEHOLDER.search(text) for text in suspects) else set[str]())


@lru_cache(4096)
def role_notes(order: str, *, ends_open: bool) -> tuple[str, ...]:
    """Return what is remarkable about the order of speakers, one letter each; `ends_open` where anyone may be last."""
    spoken = order.replace("s", "")
    notes = {
        "repeated_role": "uu" in spoken or "aa" in spoken,
        "late_system": "s" in order.lstrip("s"),
        "assistant_first": spoken.startswith("a"),
        "last_turn": not ends_open and not spoken.endswith("a"),
    }
    return tuple(name for name, is_so in notes.items() if is_so)


def are_edges_far(chosen_head: str, rejected_head: str, chosen_tail: str, rejected_tail: str) -> bool:
    """Tell from the first and last NEAR_EDGE characters alone that two texts are surely not nearly the same."""
    heads = [_plain(text)[:_SURE_CHARACTERS] for text in (chosen_head, rejected_head)]
    tails = [_plain(text)[-_SURE_CHARACTERS:] for text in (chosen_tail, rejected_tail)]
    if any(len(edge) < _SURE_CHARACTERS for edge in (*heads, *tails)):
        return False
    return heads[0] != heads[1] and tails[0] != tails[1]


def _turn_notes(turns: Sequence[Turn], *, ends_open: bool) -> Iterator[str]:
    order = "".join([SPEAKERS.get(turn["role"], OTHER_SPEAKER) for turn in turns])
    yield from role_notes(order, ends_open=ends_open)
    if any(not turn.get("tool_calls") and not _has_text(turn.get("content")) for turn in turns):
        yield "empty_turn"


def _has_text(content: Any) -> bool:
    return bool(content.strip()) if isinstance(content, str) else bool(content)


def _pair_notes(chosen: str, rejected: str) -> Iterator[str]:
    if chosen == rejected:
        yield "identical_pair"
    elif are_near(chosen, rejected):
        yield "near_pair"


def are_near(one: str, two: str) -> bool:
    """Tell whether two texts differ in case and spaces only, or in one place by NEAR_CHARACTERS characters or fewer.

    Of a short text no more than a tenth may differ: other answers than yes and no are short, too.
    """
    one, two = _plain(one), _plain(two)
    shorter, longer = sorted((len(one), len(two)))
    allowed = min(NEAR_CHARACTERS, longer // 10)
    if longer - shorter > allowed:
        return False
    start = _common(one, two, shorter)
    end = _common(one[::-1], two[::-1], shorter - start)
    return longer - start - end <= allowed


def _common(one: str, two: str, most: int) -> int:
    """Return how many characters two texts begin with in common, `most` at most."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == two[low:middle] else (low, middle - 1)
    return low


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
