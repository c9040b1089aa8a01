"""Which column plays which part, told by the names that such columns have everywhere and by what their cells hold.

A part that two columns could play equally well is never guessed: `SeveralColumnsError` names both.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from _job.cells import CONVERSATION_KINDS, SPOKEN_KINDS, cell_kind
from _job.columns import ColumnSource, SeveralColumnsError
from _job.steps import STEP_MARK
from _job.texts import UnusableRowError

PROMPT_NAMES = ("prompt", "question", "query", "instruction", "problem", "input", "inputs", "user", "user_prompt")
ANSWER_NAMES = ("completion", "response", "answer", "output", "solution", "outputs", "target", "assistant", "summary")
TEXT_NAMES = ("text", "content")
INPUT_NAMES = ("input", "context")
SYSTEM_NAMES = ("system", "system_prompt")
LABEL_NAMES = ("label", "kto_tag", "desirable", "is_desirable", "thumbs_up")
PAIR_NAMES = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("better", "worse"),
)
STEP_NAMES = ("completions", "steps")
STEP_LABEL_NAMES = ("labels", "step_labels")
LABEL_KINDS = ("label", "number", "text")
PAIR_METHODS = ("dpo", "orpo", "cpo", "reward")
PROMPT_METHODS = ("grpo", "rloo", "online_dpo", "ppo", "distillation")
BESIDE_TURNS = ("tools", "chat_template_kwargs", "system")
METHOD_TARGETS = {
    "sft": ("messages", "prompt", "completion", "text", *BESIDE_TURNS),
    "gkd": ("messages", "prompt", "completion", *BESIDE_TURNS),
    "kto": ("messages", "prompt", "completion", "label", "chosen", "rejected", *BESIDE_TURNS),
    "prm": ("prompt", "completions", "labels"),
    **dict.fromkeys(PAIR_METHODS, ("prompt", "chosen", "rejected", *BESIDE_TURNS)),
    "reward": ("prompt", "chosen", "rejected", "margin", *BESIDE_TURNS),
    **dict.fromkeys(PROMPT_METHODS, ("prompt", "messages", "system")),
}
METHOD_FORMS = {
    "sft": ("conversation", "exchange", "text"),
    "gkd": ("answered",),
    "kto": ("judged", "both"),
    "prm": ("stepwise", "marked"),
    **dict.fromkeys(PAIR_METHODS, ("pair",)),
    "reward": ("scored",),
    **dict.fromkeys(PROMPT_METHODS, ("question",)),
}
NAMES_WITH_A_PART = frozenset(
    [*PROMPT_NAMES, *ANSWER_NAMES, *INPUT_NAMES, *SYSTEM_NAMES, *LABEL_NAMES, "history", "tools"]
) | {name for names in (*PAIR_NAMES, STEP_NAMES, STEP_LABEL_NAMES) for name in names}


@dataclass(frozen=True)
class ColumnFacts:
    """What the sample shows of a column: the kind of its cells, how long they are, whether they look like prose.

    `is_text`: whether all values are texts; `is_choice`: whether there are but two different ones; `marked`: whether
    texts hold the mark of a step's end.
    """

    kind: str
    length: float = 0.0
    prose: bool = False
    is_text: bool = False
    is_choice: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Layout:
    """A form that rows can take, and the name of the column (or target) for each of its parts."""

    form: str
    parts: Mapping[str, str] = field(default_factory=dict[str, str])


def survey_columns(sources: Mapping[str, ColumnSource], sample: Iterable[Mapping[str, Any]]) -> dict[str, ColumnFacts]:
    """Return what the sample shows of every column that holds anything, in the order of the columns."""
    rows = list(sample)
    found = {name: survey_column(source, rows) for name, source in sources.items()}
    return {name: facts for name, facts in found.items() if facts.kind != "null"}


def survey_column(source: ColumnSource, rows: Iterable[Mapping[str, Any]]) -> ColumnFacts:
    """Return what the sample shows of one column."""
    values = [value for row in rows if (value := reached(source, row)) is not None]
    is_text = all(isinstance(value, str) for value in values)
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    prose = sum(any(letter.isspace() for letter in text.strip()) for text in texts) * 2 > len(texts)
    shown = [str(value) for value in values]
    length = sum(map(len, shown)) / max(len(values), 1)
    is_marked = any(STEP_MARK in text for text in texts)
    return ColumnFacts(common_kind(values), length, prose, is_text, len(set(shown)) == 2, is_marked)


def reached(source: ColumnSource, row: Mapping[str, Any]) -> Any:
    """Return the value of a source in a row, None where it cannot be had."""
    try:
        return source.get(row)
    except UnusableRowError:
        return None


def common_kind(values: Iterable[Any]) -> str:
    """Return the kind of most cells; texts are JSON or transcripts only if all of them are."""
    counts = Counter(cell_kind(value) for value in values)
    is_blank = bool(counts.pop("blank", 0))
    empty = bool(counts.pop("empty", 0))
    if counts["text"]:
        counts["text"] += counts.pop("json", 0) + counts.pop("transcript", 0)
    if any(counts.values()):
        return counts.most_common(1)[0][0]
    return "text" if is_blank else "empty" if empty else "null"


@dataclass(frozen=True)
class LayoutFinder:
    """Finds the layouts that the columns of a data set make for a method."""

    facts: Mapping[str, ColumnFacts]
    pinned: frozenset[str] = frozenset()
    chat_template: bool = True
    method: str = "sft"

    def find(self) -> list[Layout]:
        """Return all layouts, the most telling first. Raises SeveralColumnsError where only a choice is missing."""
        layouts: list[Layout] = []
        several: SeveralColumnsError | None = None
        for form in METHOD_FORMS[self.method]:
            try:
                layouts += FORM_FINDERS[form](self)
            except SeveralColumnsError as error:
                several = several or error
        fitting = [layout for layout in layouts if self.pinned_parts() <= layout.parts.keys()]
        if several is not None and not fitting:
            raise several
        return fitting

    def pinned_parts(self) -> set[str]:
        """Return the targets named in `columns` that make a layout, rather than being passed on."""
        return set(self.pinned) & set(METHOD_TARGETS[self.method]) - set(BESIDE_TURNS)

    def holds(self, name: str, kinds: Sequence[str]) -> bool:
        """Tell whether a column is there and holds cells of one of the kinds."""
        return name in self.facts and self.facts[name].kind in kinds

    def pick(self, part: str, names: Sequence[str], kinds: Sequence[str] = SPOKEN_KINDS) -> str | None:
        """Return the column that plays a part: the one of the part's own name, else the only other one."""
        if part in self.facts and (part in self.pinned or self.holds(part, kinds)):
            return part
        found = [name for name in names if self.holds(name, kinds) and name not in self.pinned]
        if len(found) > 1:
            raise SeveralColumnsError(part, [{part: name} for name in found])
        return found[0] if found else None

    def pick_conversation(self) -> str | None:
        """Return the column of conversations, whatever its name."""
        if self.holds("messages", CONVERSATION_KINDS) or "messages" in self.pinned:
            return "messages" if "messages" in self.facts else None
        kinds = CONVERSATION_KINDS if self.chat_template else CONVERSATION_KINDS[:-1]
        usable = [name for name, facts in self.facts.items() if facts.kind in kinds and name not in self.pinned]
        found = [name for name in usable if name not in NAMES_WITH_A_PART]
        if len(found) > 1:
            raise SeveralColumnsError("messages", [{"messages": name} for name in found])
        return found[0] if found else None

    def pick_prompt(self) -> dict[str, str]:
        """Return the parts of the prompt: the prompt itself and the input that belongs to it; empty without one."""
        if "prompt" not in self.pinned and self.holds("instruction", ["text"]):
            given = [name for name in INPUT_NAMES if self.holds(name, ["text"]) and name not in self.pinned]
            others = [name for name in PROMPT_NAMES if name not in ("instruction", "input") and name in self.facts]
            if given and not ("prompt" in self.facts and "completion" in self.facts) and others in ([], ["prompt"]):
                return {"prompt": "instruction", "input": given[0]}
        prompt = self.pick("prompt", PROMPT_NAMES)
        if prompt in PROMPT_NAMES[1:] and self.holds("context", ["text"]) and "context" not in self.pinned:
            texts = (f"{{context}}\n\n{{{prompt}}}", prompt)
            raise SeveralColumnsError("prompt", [{"prompt": text} for text in texts])
        return {"prompt": prompt} if prompt else {}

    def openings(self) -> dict[str, str]:
        """Return the parts that come before a conversation, and those that chat templates read beside it."""
        system = next((name for name in SYSTEM_NAMES if self.holds(name, ["text"])), None)
        history = {"history": "history"} if self.holds("history", ["other", "empty"]) else {}
        beside = {name: name for name in ("tools", "chat_template_kwargs") if name in self.facts}
        return ({"system": system} if system else {}) | history | beside


def find_conversation(finder: LayoutFinder) -> list[Layout]:
    """Find whole conversations; one beside a pair of answers is only their prompt."""
    name = finder.pick_conversation()
    if name != "messages" and pick_pair(finder):
        return []
    return [Layout("conversation", {"messages": name} | finder.openings())] if name else []


def find_answered(finder: LayoutFinder) -> list[Layout]:
    """Find whole conversations, or prompts with completions that become conversations where there is a template."""
    form = "answered" if finder.chat_template else "exchange"
    found = [Layout("answered", layout.parts) for layout in find_conversation(finder)]
    return found + [Layout(form, layout.parts) for layout in find_exchange(finder)]


def find_exchange(finder: LayoutFinder) -> list[Layout]:
    """Find prompts with their completions; a conversation may be the prompt of an answer beside it."""
    answer = finder.pick("completion", ANSWER_NAMES)
    if answer is None:
        return []
    prompt = finder.pick_prompt()
    if not prompt:
        name = finder.pick_conversation()
        prompt = {"prompt": name} if name else {}
    parts = prompt | {"completion": answer} | finder.openings()
    return [Layout("exchange", parts)] if prompt else []


def find_text(finder: LayoutFinder) -> list[Layout]:
    """Find plain text; with an answer beside it, it may as well be a prompt."""
    name = finder.pick("text", TEXT_NAMES, ["text", "transcript"])
    if name is None:
        return []
    answers = [answer for answer in ANSWER_NAMES if finder.holds(answer, SPOKEN_KINDS)]
    if answers and name not in finder.pinned:
        raise SeveralColumnsError("text", [{"prompt": name, "completion": answers[0]}, {"text": name}])
    return [Layout("text", {"text": name})]


def find_judged(finder: LayoutFinder) -> list[Layout]:
    """Find answers with a label each."""
    label = finder.pick("label", LABEL_NAMES, LABEL_KINDS)
    if label is None:
        return []
    conversations = [layout.parts for layout in find_conversation(finder)]
    found = conversations + [layout.parts for layout in find_exchange(finder)]
    return [Layout("judged", dict(parts) | {"label": label}) for parts in found]


def find_pair(finder: LayoutFinder) -> list[Layout]:
    """Find a better and a worse answer, with their prompt where there is one."""
    pair = pick_pair(finder)
    if pair is None:
        return []
    prompt = finder.pick_prompt()
    is_whole = finder.facts[pair[0]].kind in CONVERSATION_KINDS
    if not prompt and not is_whole:
        name = finder.pick_conversation()
        prompt = {"prompt": name} if name else {}
    if not prompt and not is_whole and asks_for_prompt(finder, pair):
        return []
    parts = prompt | {"chosen": pair[0], "rejected": pair[1]}
    return [Layout("pair", parts | finder.openings())]


def asks_for_prompt(finder: LayoutFinder, pair: tuple[str, str]) -> bool:
    """Tell whether another column of texts may be the prompt of a pair; whoever names the pair has said that none is."""
    if finder.method == "reward" or "chosen" in finder.pinned:
        return False
    return any(finder.facts[name].kind == "text" and finder.facts[name].prose for name in finder.facts.keys() - pair)


def pick_pair(finder: LayoutFinder) -> tuple[str, str] | None:
    """Return the columns of the better and the worse answer."""
    known = (pair for pair in PAIR_NAMES if all(finder.holds(name, SPOKEN_KINDS) for name in pair))
    return next(known, None)


def find_both(finder: LayoutFinder) -> list[Layout]:
    """Find pairs whose answers are to be judged one by one."""
    return [Layout("both", layout.parts) for layout in find_pair(finder)]


def find_scored(finder: LayoutFinder) -> list[Layout]:
    """Find pairs of which a margin may say how much better the better answer is."""
    margin = {"margin": "margin"} if finder.holds("margin", ["number"]) else {}
    return [Layout("scored", dict(layout.parts) | margin) for layout in find_pair(finder)]


def find_question(finder: LayoutFinder) -> list[Layout]:
    """Find prompts; a conversation will do, without its last answer."""
    layouts: list[Layout] = []
    several: SeveralColumnsError | None = None
    openings = {part: name for part, name in finder.openings().items() if part in ("system", "history")}
    try:
        prompt = finder.pick_prompt()
        layouts += [Layout("question", prompt | openings)] if prompt else []
    except SeveralColumnsError as error:
        several = error
    name = finder.pick_conversation()
    layouts += [Layout("question", {"messages": name} | openings)] if name else []
    if several is not None and not layouts:
        raise several
    return layouts


def find_stepwise(finder: LayoutFinder) -> list[Layout]:
    """Find solutions in steps with a label for each."""
    prompt = finder.pick_prompt()
    steps = finder.pick("completions", STEP_NAMES, ["strings"])
    labels = finder.pick("labels", STEP_LABEL_NAMES, ["labels", "strings"])
    return (
        [Layout("stepwise", prompt | {"completions": steps, "labels": labels})] if prompt and steps and labels else []
    )


def find_marked(finder: LayoutFinder) -> list[Layout]:
    """Find solutions whose steps end in marks, and their copy with a verdict for each mark."""
    is_marked = finder.holds("input", ["text"]) and finder.facts["input"].marked and finder.holds("label", ["text"])
    return [Layout("marked", {"input": "input", "label": "label"})] if is_marked else []


FORM_FINDERS: dict[str, Callable[[LayoutFinder], list[Layout]]] = {
    "conversation": find_conversation,
    "answered": find_answered,
    "exchange": find_exchange,
    "text": find_text,
    "judged": find_judged,
    "pair": find_pair,
    "both": find_both,
    "scored": find_scored,
    "question": find_question,
    "stepwise": find_stepwise,
    "marked": find_marked,
}
