"""What to tell a person whose columns do not say what they are for."""

from collections.abc import Sequence
from itertools import permutations

from _job.cells import CONVERSATION_KINDS, SPOKEN_KINDS
from _job.columns import SeveralColumnsError, UnclearColumnsError
from _job.layouts import LABEL_KINDS, PAIR_METHODS, PROMPT_METHODS, LayoutFinder, pick_pair

SUGGESTION_LIMIT = 6
NEEDED_PARTS = {
    "sft": "messages, or prompt and completion, or text",
    "gkd": "messages, or prompt and completion",
    "kto": "a label, with messages or with prompt and completion; or chosen and rejected, better with a prompt",
    "prm": "prompt, completions (a list of steps) and labels (one for each step)",
    **dict.fromkeys(PAIR_METHODS, "chosen and rejected, better with a prompt"),
    **dict.fromkeys(PROMPT_METHODS, "prompt"),
}

KIND_NAMES = {
    "text": "text",
    "json": "turns as JSON text",
    "transcript": "transcripts",
    "messages": "conversations",
    "from_value": "conversations",
    "message": "single turns",
    "from_value_message": "single turns",
    "parts": "content parts",
    "strings": "lists of texts",
    "labels": "lists of numbers",
    "label": "true or false",
    "number": "numbers",
    "empty": "empty lists",
    "other": "objects",
}


def several_columns(error: SeveralColumnsError, method: str, names: Sequence[str]) -> UnclearColumnsError:
    """Return the error for a part that more than one column could play."""
    choices = " or ".join(written(choice) for choice in error.choices)
    message = f"{method}: more than one column could be the {error.part}; say which with `columns`: {choices}"
    return UnclearColumnsError(message, "needs_columns", error.choices, names)


def no_layout(finder: LayoutFinder, names: Sequence[str]) -> UnclearColumnsError:
    """Return the error for rows that have none of the method's layouts as far as one can see."""
    suggestions = suggest_columns(finder)[:SUGGESTION_LIMIT]
    there = ", ".join(f"{name} ({KIND_NAMES[finder.facts[name].kind]})" for name in finder.facts) or ", ".join(names)
    needed = f"{finder.method} needs {NEEDED_PARTS[finder.method]}; the data has: {there}"
    if suggestions:
        listed = "; or ".join(written(choice) for choice in suggestions)
        return UnclearColumnsError(
            f"{needed}. Say what is what with `columns`: {listed}", "needs_columns", suggestions, names
        )
    return UnclearColumnsError(f"{needed}{hint(finder)}", "invalid", names=names)


def hint(finder: LayoutFinder) -> str:
    """Say what is missing, or how lists of texts can be read."""
    lists = [name for name, facts in finder.facts.items() if facts.kind == "strings"]
    if lists:
        return (
            f". {', '.join(lists)} holds lists of texts; which of them is what is never guessed, but `columns` can say "
            f"it by place: prompt={lists[0]}.0, completion={lists[0]}.1"
        )
    if finder.method in PAIR_METHODS:
        return ". There are no two answers to one prompt to compare, a better and a worse one"
    return ""


def written(columns: dict[str, str]) -> str:
    """Return `columns` as they are passed."""
    return ", ".join(f"{target}={source}" for target, source in columns.items())


def suggest_columns(finder: LayoutFinder) -> list[dict[str, str]]:
    """Return sets of `columns` that the method could be trained with, the likeliest first; none if too few are there."""
    spoken = [name for name, facts in finder.facts.items() if facts.kind in SPOKEN_KINDS and name not in finder.pinned]
    conversations = [name for name in spoken if finder.facts[name].kind in CONVERSATION_KINDS]
    texts = [name for name in spoken if name in conversations or is_prose(finder, name)]
    texts.sort(key=lambda name: finder.facts[name].length)
    pair = pick_pair(finder)
    if pair and finder.method in (*PAIR_METHODS, "kto") and not known_prompt(finder):
        prompts = [{"prompt": name} for name in texts if name not in pair]
        return [*prompts, dict(zip(("chosen", "rejected"), pair, strict=True))]
    if finder.method in PAIR_METHODS:
        return suggest_pairs(finder, texts, conversations)
    if finder.method in PROMPT_METHODS:
        return [{"prompt": name} for name in texts]
    if finder.method == "kto":
        return suggest_labels(finder, texts)
    return suggest_answers(finder, texts, conversations) if finder.method in ("sft", "gkd") else []


def is_prose(finder: LayoutFinder, name: str) -> bool:
    """Tell whether a column holds texts rather than ids or categories."""
    facts = finder.facts[name]
    return facts.kind != "text" or facts.prose


def suggest_answers(finder: LayoutFinder, texts: Sequence[str], conversations: Sequence[str]) -> list[dict[str, str]]:
    """Return what could be conversations, prompts with completions, and text."""
    pair = pick_pair(finder)
    prompts = [name for name in texts if pair and name not in pair]
    found = [{"prompt": name, "completion": pair[0]} for name in prompts[:1] if pair]
    found += [{"messages": name} for name in conversations]
    found += assign(finder, ("prompt", "completion"), texts)
    return found + ([{"text": name} for name in reversed(texts)] if finder.method == "sft" else [])


def suggest_pairs(finder: LayoutFinder, texts: Sequence[str], conversations: Sequence[str]) -> list[dict[str, str]]:
    """Return what could be a prompt with a better and a worse answer; nothing where only one answer is left."""
    if len(conversations) >= 2:
        return assign(finder, ("chosen", "rejected"), conversations)
    prompt = known_prompt(finder)
    if not prompt:
        three = assign(finder, ("prompt", "chosen", "rejected"), texts)
        return three or assign(finder, ("chosen", "rejected"), texts)
    return assign(finder, ("chosen", "rejected"), [name for name in texts if name not in prompt.values()])


def known_prompt(finder: LayoutFinder) -> dict[str, str]:
    """Return the parts of the prompt where the names of columns tell them; empty where they do not."""
    try:
        return finder.pick_prompt()
    except SeveralColumnsError:
        return {}


def suggest_labels(finder: LayoutFinder, texts: Sequence[str]) -> list[dict[str, str]]:
    """Return what could be a label beside an answer that is found or could be one."""
    if "label" in finder.facts:
        return assign(finder, ("prompt", "completion"), texts)
    labels = [name for name, facts in finder.facts.items() if facts.kind in LABEL_KINDS and facts.is_choice]
    return [{"label": name} for name in labels] if texts else []


def assign(finder: LayoutFinder, parts: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the ways in which columns can play the parts that are still open."""
    still_open = [part for part in parts if part not in finder.pinned]
    free = [name for name in names if name not in finder.pinned]
    return [dict(zip(still_open, chosen, strict=True)) for chosen in permutations(free, len(still_open)) if still_open]
