"""What to tell a person whose columns do not say what they are for."""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import permutations

from _job.cells import CONVERSATION_KINDS, SPOKEN_KINDS
from _job.columns import SeveralColumnsError, UnclearColumnsError
from _job.layouts import LABEL_KINDS, PAIR_METHODS, PROMPT_METHODS, LayoutFinder, pick_pair
from _job.naming import KIN, find_twins, has_thoughts, name_words, place_in_talk, talk_rank

# What makes a choice of columns complete, or finds that no row can be trained on with it.
Complete = Callable[[dict[str, str]], dict[str, str] | None]
TRIAL_LIMIT = 12
LENGTH_RATIO = 4
VERDICT_WORDS = frozenset(("better", "winner", "choice", "preference", "preferred", "best"))
JUDGE_WORDS = VERDICT_WORDS | {"label", "labels", "score", "rank"}
MEND = "`columns` cannot say that; save the rows with the better one as chosen and the other as rejected"
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
    "exchanges": "conversations",
    "message": "single turns",
    "from_value_message": "single turns",
    "parts": "content parts",
    "strings": "lists of texts",
    "json_strings": "lists of texts as JSON text",
    "labels": "lists of numbers",
    "label": "true or false",
    "number": "numbers",
    "empty": "empty lists",
    "other": "objects",
}


def several_columns(
    error: SeveralColumnsError, finder: LayoutFinder, names: Sequence[str], complete: Complete
) -> UnclearColumnsError:
    """Return the error for a part that more than one column could play."""
    choices = proven(error.choices, complete)
    if not choices:
        return no_layout(finder, names, complete)
    message = f"{finder.method}: {error.why}: {' or '.join(written(choice) for choice in choices)}"
    return UnclearColumnsError(message, "needs_columns", choices, names)


def no_layout(finder: LayoutFinder, names: Sequence[str], complete: Complete) -> UnclearColumnsError:
    """Return the error for rows that have none of the method's layouts as far as one can see."""
    suggestions = proven(suggest_columns(finder), complete)
    there = ", ".join(f"{name} ({KIND_NAMES[finder.facts[name].kind]})" for name in finder.facts) or ", ".join(names)
    needed = f"{finder.method} needs {NEEDED_PARTS[finder.method]}; the data has: {there}"
    if suggestions:
        listed = "; or ".join(written(choice) for choice in suggestions)
        return UnclearColumnsError(
            f"{needed}. Say what is what with `columns`: {listed}", "needs_columns", suggestions, names
        )
    return UnclearColumnsError(f"{needed}{hint(finder)}", "invalid", names=names)


def proven(choices: Iterable[dict[str, str]], complete: Complete) -> list[dict[str, str]]:
    """Return the first of the choices that rows can be trained on with, made complete where they leave others open."""
    tried: list[dict[str, str]] = []
    for choice in itertools.islice(choices, TRIAL_LIMIT):
        found = complete(choice)
        if found and found not in tried:
            tried.append(found)
    return tried[:SUGGESTION_LIMIT]


def hint(finder: LayoutFinder) -> str:
    """Say what is missing, or how lists of texts can be read."""
    if finder.method in (*PAIR_METHODS, "kto"):
        judge = judge_of(finder)
        if judge:
            return f". Which of {' and '.join(judge[0])} is the better one differs from row to row ({judge[1]}): {MEND}"
    lists = [name for name, facts in finder.facts.items() if facts.kind in ("strings", "json_strings")]
    if lists and finder.method in ("sft", "gkd", *PROMPT_METHODS):
        completion = f", completion={lists[-1]}.{int(len(lists) == 1)}" if finder.method in ("sft", "gkd") else ""
        return (
            f". {', '.join(lists)} holds lists of texts; which of them is what is never guessed, but `columns` can say "
            f"it by place: prompt={lists[0]}.0{completion}"
        )
    if finder.method in PAIR_METHODS:
        return ". There are no two answers to one prompt to compare, a better and a worse one"
    return ""


def judge_of(finder: LayoutFinder, words: frozenset[str] = JUDGE_WORDS) -> tuple[tuple[str, str], str] | None:
    """Return two answers of which another column says, row by row, which is the better one; and that column.

    One of the words is in that column's name.
    """
    lists = [name for name, facts in finder.facts.items() if facts.kind == "json_strings"]
    twins = find_twins([*answering(finder), *lists])
    known = {**finder.facts, **finder.places}
    judges = [name for name, facts in known.items() if facts.varies and facts.kind in LABEL_KINDS and not facts.prose]
    judges = [name for name in judges if not words.isdisjoint(name_words(name))]
    return (twins, judges[0]) if twins and judges else None


def written(columns: dict[str, str]) -> str:
    """Return `columns` as they are passed."""
    return ", ".join(f"{target}={source}" for target, source in columns.items())


def suggest_columns(finder: LayoutFinder) -> Iterable[dict[str, str]]:
    """Return sets of `columns` that the method could be trained with, the likeliest first; none if too few are there."""
    if finder.method in PROMPT_METHODS:
        pair = pick_pair(finder) or ()
        return [{"prompt": name} for name in [*asking(finder, pair), *pair[:1]]]
    if finder.method == "kto":
        return suggest_labels(finder) if not pick_pair(finder) else suggest_prompts(finder)
    if finder.method in PAIR_METHODS:
        return suggest_prompts(finder) if pick_pair(finder) else suggest_pairs(finder)
    return suggest_answers(finder) if finder.method in ("sft", "gkd") else []


def speaking(finder: LayoutFinder) -> list[str]:
    """Return the columns, and places in them, that hold conversations or prose; short ones first."""
    known = {**finder.facts, **finder.places}
    names = [name for name, facts in known.items() if facts.kind in SPOKEN_KINDS and name not in finder.pinned]
    names = [name for name in names if known[name].prose or known[name].kind not in ("text", "json_strings")]
    return sorted(names, key=lambda name: known[name].length)


def answering(finder: LayoutFinder) -> list[str]:
    """Return those that may be an answer by their names: neither what is asked or thought nor what stands aside."""
    others = {*known_prompt(finder).values(), *finder.named(KIN["text"])}
    names = [name for name in speaking(finder) if place_in_talk(name) in ("either", "answers") and name not in others]
    return [name for name in names if not has_thoughts(name)]


def asking(finder: LayoutFinder, taken: Collection[str] = ()) -> list[str]:
    """Return what may be a prompt, the likeliest first: columns, and texts of several that belong together."""
    names = [name for name in speaking(finder) if name not in taken]
    asked = [name for name in names if place_in_talk(name) == "asks"]
    asked = asked or sorted((name for name in names if place_in_talk(name) != "aside"), key=talk_rank)
    known = list(known_prompt(finder).values())[:1]
    found: list[str] = []
    for name in [*known, *sorted(asked, key=lambda name: name in finder.named(KIN["context"]))]:
        found += [choice["prompt"] for choice in finder.prompt_choices(name)] if name in finder.facts else [name]
    return list(dict.fromkeys(found))


def suggest_answers(finder: LayoutFinder) -> Iterable[dict[str, str]]:
    """Return what could be conversations, prompts with completions, and text."""
    names = speaking(finder)
    conversations = [name for name in names if kind_of_cells(finder, name) in CONVERSATION_KINDS]
    pair = pick_pair(finder) or ()
    yield from ({"messages": name} for name in conversations if name not in pair)
    told = list(pair[:1]) or answering(finder)
    if not any(place_in_talk(name) == "answers" for name in told):
        told = [*short_answers(finder), *told]
    exchanges = [(one, other) for other in told for one in asking(finder, pair) if one != other]
    exchanges.sort(key=lambda exchange: exchange_rank(finder, *exchange))
    is_joined = len(known_prompt(finder)) > 1 or not exchanges
    yield from open_parts(finder, ("prompt", "completion"), [] if is_joined else exchanges)
    yield from open_parts(finder, ("completion",), [(name,) for name in told] if is_joined else [])
    is_answer = any(kind_of_cells(finder, name) in CONVERSATION_KINDS for name in known_columns(finder))
    yield from ({"messages": name} for name in pair[:1] if name in conversations and not is_answer)
    if finder.method == "sft":
        whole = [name for name in names if name not in (*conversations, *pair) and place_in_talk(name) != "answers"]
        yield from ({"text": name} for name in reversed(whole) if name not in finder.named(KIN["prompt"]))


def exchange_rank(finder: LayoutFinder, asked: str, told: str) -> tuple[bool, int, bool]:
    """Rank a prompt with its completion: answers so named first, with few words, and those that stand behind it."""
    order = {name: place for place, name in enumerate([*finder.facts, *finder.places])}
    is_before = order.get(told, 0) < order.get(asked, -1)
    return place_in_talk(told) != "answers", len(name_words(told)), is_before


def short_answers(finder: LayoutFinder) -> list[str]:
    """Return columns of single words that are answers by their names, and numbers written out."""
    known = {**finder.facts, **finder.places}
    named = [name for name in known if place_in_talk(name) == "answers" and name not in finder.pinned]
    named = [name for name in named if not set(name.split(".")) & {"0", "1"}]
    words = [name for name in named if known[name].kind == "text" and not known[name].prose and known[name].varies]
    return words + [f"{{{name}}}" for name in named if known[name].kind in ("number", "label")]


def kind_of_cells(finder: LayoutFinder, name: str) -> str:
    """Return the kind of the cells of a column or of a place in one."""
    return (finder.facts.get(name) or finder.places[name]).kind


def suggest_prompts(finder: LayoutFinder) -> Iterable[dict[str, str]]:
    """Return what could be the prompt of a pair, and last that there is none."""
    pair = pick_pair(finder) or ("", "")
    found = [{"prompt": name} for name in asking(finder, pair)]
    return [*found, dict(zip(("chosen", "rejected"), pair, strict=True))]


def suggest_pairs(finder: LayoutFinder) -> Iterable[dict[str, str]]:
    """Return what could be a better and a worse answer, with a prompt; nothing where they are of different kinds."""
    if judge_of(finder):
        return
    names = answering(finder)
    twins = find_twins(names)
    if not twins and finder.named(["messages", "conversations", "conversation"], CONVERSATION_KINDS):
        return
    pairs = [twins, twins[::-1]] if twins else [pair for pair in permutations(names, 2) if are_alike(finder, *pair)]
    pairs.sort(key=lambda pair: -min(map(names.index, pair)))
    for chosen, rejected in pairs:
        others = [] if known_prompt(finder) else asking(finder, (chosen, rejected))
        prompts = [{"prompt": name} for name in others[:1]]
        is_whole = kind_of_cells(finder, chosen) in CONVERSATION_KINDS
        for prompt in prompts if prompts and not is_whole else [dict[str, str]()]:
            yield from open_parts(finder, (*prompt, "chosen", "rejected"), [(*prompt.values(), chosen, rejected)])


def are_alike(finder: LayoutFinder, one: str, other: str) -> bool:
    """Tell whether two columns may hold answers to one prompt: of one kind, and of lengths that can be compared."""
    known = {**finder.facts, **finder.places}
    short, long = sorted((known[one].length, known[other].length))
    return known[one].kind == known[other].kind and short * LENGTH_RATIO >= long


def known_prompt(finder: LayoutFinder) -> dict[str, str]:
    """Return the parts of the prompt where the names of columns tell them; empty where they do not."""
    try:
        return finder.pick_prompt()
    except SeveralColumnsError as error:
        return error.choices[0]


def known_columns(finder: LayoutFinder) -> list[str]:
    """Return the columns of the prompt that names tell, those of a text of several aside."""
    return [name for name in known_prompt(finder).values() if name in finder.facts]


def suggest_labels(finder: LayoutFinder) -> Iterable[dict[str, str]]:
    """Return what could be a label beside an answer that is found or could be one."""
    if judge_of(finder):
        return []
    if finder.named(["label"], LABEL_KINDS) or "label" in finder.pinned:
        return suggest_answers(finder)
    names = [name for name, facts in finder.facts.items() if facts.kind in LABEL_KINDS and facts.is_choice]
    return [{"label": name} for name in names if not finder.facts[name].prose]


def open_parts(
    finder: LayoutFinder, parts: Sequence[str], choices: Iterable[Sequence[str]]
) -> Iterable[dict[str, str]]:
    """Yield choices of columns for those of the parts that `columns` does not name yet."""
    for choice in choices:
        found = {part: name for part, name in zip(parts, choice, strict=True) if part not in finder.pinned}
        if found:
            yield found
