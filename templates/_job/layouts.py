"""Which column plays which part, told by the names that such columns have everywhere and by what their cells hold.

A part that two columns could play equally well is never guessed: `SeveralColumnsError` names both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from _job.cells import CONVERSATION_KINDS, SPOKEN_KINDS
from _job.columns import SeveralColumnsError
from _job.compared import BY_MARK, BY_NUMBER, BY_SIGN, find_scores
from _job.naming import KIN, NAMES_WITH_A_PART, PAIR_NAMES, find_twins, has_thoughts, may_answer, plain_name, talk_rank
from _job.survey import ColumnFacts

NATIVE_KINDS = ("messages", "from_value", "exchanges", "json")
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
    "gkd": ("answered", "replied"),
    "kto": ("judged", "rated", "both", "weighed"),
    "prm": ("stepwise", "marked"),
    **dict.fromkeys(PAIR_METHODS, ("pair", "compared")),
    "reward": ("scored", "compared"),
    **dict.fromkeys(PROMPT_METHODS, ("question",)),
}


@dataclass(frozen=True)
class Layout:
    """A form that rows can take, and the name of the column (or target) for each of its parts."""

    form: str
    parts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class LayoutFinder:
    """Finds the layouts that the columns of a data set make for a method; `places` are those inside objects."""

    facts: Mapping[str, ColumnFacts]
    pinned: frozenset[str] = frozenset()
    chat_template: bool = True
    method: str = "sft"
    places: Mapping[str, ColumnFacts] = field(default_factory=dict[str, ColumnFacts])

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

    @cached_property
    def by_plain_name(self) -> dict[str, str]:
        """Return the columns by their names without case; of two that differ in case only, the first one."""
        names: dict[str, str] = {}
        for name in self.facts:
            names.setdefault(plain_name(name), name)
        return names | {name: name for name in self.facts}

    def named(self, names: Sequence[str], kinds: Sequence[str] = SPOKEN_KINDS) -> list[str]:
        """Return the columns of these names that hold cells of one of the kinds and have no part by `columns`."""
        there = dict.fromkeys(self.by_plain_name[name] for name in names if name in self.by_plain_name)
        return [name for name in there if self.facts[name].kind in kinds and name not in self.pinned]

    def pick(self, part: str, kinds: Sequence[str] = SPOKEN_KINDS) -> str | None:
        """Return the column that plays a part: the one of the part's own name, else the only other one."""
        if part in self.facts and (part in self.pinned or self.facts[part].kind in kinds):
            return part
        found = self.named(KIN[part], kinds)
        if len(found) > 1:
            found.sort(key=lambda name: (not self.facts[name].prose, -self.facts[name].length))
            raise SeveralColumnsError(part, [{part: name} for name in found])
        return found[0] if found else None

    def pick_conversation(self) -> str | None:
        """Return the column of conversations, whatever its name."""
        if "messages" in self.pinned or self.named(["messages"], CONVERSATION_KINDS):
            return self.by_plain_name.get("messages")
        kinds = CONVERSATION_KINDS if self.chat_template else NATIVE_KINDS
        usable = [name for name, facts in self.facts.items() if facts.kind in kinds and name not in self.pinned]
        found = [name for name in usable if plain_name(name) not in NAMES_WITH_A_PART]
        if len(found) > 1:
            raise SeveralColumnsError("messages", [{"messages": name} for name in found])
        return found[0] if found else None

    def pick_prompt(self) -> dict[str, str]:
        """Return the parts of the prompt: the prompt itself and the input that belongs to it; empty without one.

        Raises SeveralColumnsError where it is not said whether what the prompt is about belongs to it.
        """
        if "prompt" not in self.pinned and (instruction := self.named(["instruction"], ["text"])):
            given = self.named(KIN["input"], ["text"])
            others = [name for name in KIN["prompt"] if name not in ("instruction", "input") and name in self.facts]
            if given and not ("prompt" in self.facts and "completion" in self.facts) and others in ([], ["prompt"]):
                return {"prompt": instruction[0], "input": given[0]}
        prompt = self.pick("prompt", [kind for kind in SPOKEN_KINDS if kind != "json_strings"])
        if prompt is None:
            talks = self.named(["context", "history"], NATIVE_KINDS)
            return {"prompt": talks[0]} if talks else {}
        choices = self.prompt_choices(prompt)
        if len(choices) > 1:
            raise SeveralColumnsError("prompt", choices)
        return {"prompt": prompt}

    def prompt_choices(self, prompt: str) -> list[dict[str, str]]:
        """Return a prompt with the passage that it is about, or with its choices, where they stand beside it, and it alone."""
        alone = {"prompt": prompt}
        if prompt in self.pinned or self.facts[prompt].kind != "text":
            return [alone]
        about = [name for name in self.reachable(KIN["context"], ["text", "strings"]) if name != prompt]
        choices = self.reachable(KIN["choices"], ["strings", "other"])
        whole = "\n\n".join(f"{{{name}}}" for name in [*about[:1], prompt, *choices[:1]])
        return [{"prompt": whole}, alone] if about or choices else [alone]

    def reachable(self, names: Sequence[str], kinds: Sequence[str]) -> list[str]:
        """Return the columns of these names, and the lists or texts inside them where they hold objects of lists."""
        there = self.named(names, [*kinds, "other"])
        lists = [path for path, facts in self.places.items() if facts.kind == "strings"]
        lists.sort(key=lambda path: -self.places[path].length)
        found = [next((path for path in lists if path.startswith(f"{name}.")), name) for name in there]
        return [name for name in found if name in lists or self.facts[name].kind in kinds]

    def pick_answer(self) -> str | None:
        """Return the column of answers. Raises SeveralColumnsError where what was thought before stands beside it."""
        answer = self.pick("completion")
        if answer is None or answer in self.pinned or self.facts[answer].kind != "text":
            return answer
        thoughts = [name for name, facts in self.facts.items() if facts.kind == "text" and facts.prose]
        thoughts = [name for name in thoughts if has_thoughts(name) and name != answer]
        if thoughts:
            texts = [f"<think>\n{{{thought}}}\n</think>\n\n{{{answer}}}" for thought in thoughts]
            raise SeveralColumnsError("completion", [{"completion": text} for text in [*texts, answer]])
        return answer

    def openings(self) -> dict[str, str]:
        """Return the parts that come before a conversation, and those that chat templates read beside it."""
        system = [{"system": name} for name in self.named(KIN["system"], ["text", "transcript"])]
        if "system" in self.pinned and "system" in self.facts:
            system = [{"system": "system"}]
        has_history = "history" in self.facts and self.facts["history"].kind in ("other", "empty")
        history = {"history": "history"} if has_history else {}
        beside = {name: name for name in ("tools", "chat_template_kwargs") if name in self.facts}
        return (system[0] if system else {}) | history | beside


def find_conversation(finder: LayoutFinder) -> list[Layout]:
    """Find whole conversations; one beside a pair of answers is only their prompt."""
    name = finder.pick_conversation()
    if name != "messages" and pick_pair(finder):
        return []
    return [Layout("conversation", {"messages": name} | finder.openings())] if name else []


def find_answered(finder: LayoutFinder) -> list[Layout]:
    """Find whole conversations that end with the answer to learn."""
    return [Layout("answered", layout.parts) for layout in find_conversation(finder)]


def find_replied(finder: LayoutFinder) -> list[Layout]:
    """Find prompts with completions, which become conversations where there is a template."""
    form = "answered" if finder.chat_template else "exchange"
    return [Layout(form, layout.parts) for layout in find_exchange(finder)]


def find_exchange(finder: LayoutFinder) -> list[Layout]:
    """Find prompts with their completions; a conversation may be the prompt of an answer beside it."""
    answer = finder.pick_answer()
    if answer is None:
        return []
    prompt = finder.pick_prompt()
    if not prompt:
        name = finder.pick_conversation()
        prompt = {"prompt": name} if name else {}
    parts = prompt | {"completion": answer} | finder.openings()
    return [Layout("exchange", parts)] if prompt else []


def find_text(finder: LayoutFinder) -> list[Layout]:
    """Find plain text; with a question or an answer beside it, it may as well be a part of an exchange."""
    name = finder.pick("text", ["text", "transcript"])
    if name is None:
        return []
    if name not in finder.pinned:
        check_text(finder, name)
    return [Layout("text", {"text": name})]


def check_text(finder: LayoutFinder, name: str) -> None:
    """Raise SeveralColumnsError where a text may be one turn, or the question or the answer to what stands beside it."""
    texts = [each for each, facts in finder.facts.items() if facts.kind == "text" and facts.prose and each != name]
    answers = finder.named(KIN["completion"]) or [each for each in texts if may_answer(each, sure=True)]
    if answers:
        raise SeveralColumnsError("text", [{"prompt": name, "completion": answers[0]}, {"text": name}])
    prompts = [each for each in finder.named(KIN["prompt"], ["text"]) if each in texts]
    if prompts:
        raise SeveralColumnsError("text", [{"text": name}, {"prompt": prompts[0], "completion": name}])
    speakers = [each for each in finder.named(KIN["speaker"], ["text"]) if not finder.facts[each].prose]
    if speakers:
        why = f"each row is one turn ({speakers[0]} says whose), and only whole conversations teach when to answer: "
        why += "gather the turns of each into a row of messages, or take every turn as a text of its own"
        raise SeveralColumnsError("text", [{"text": name}], why)


def find_judged(finder: LayoutFinder) -> list[Layout]:
    """Find conversations with a label each."""
    return [Layout("judged", parts) for parts in with_label(finder, find_conversation)]


def find_rated(finder: LayoutFinder) -> list[Layout]:
    """Find answers with a label each."""
    return [Layout("judged", parts) for parts in with_label(finder, find_exchange)]


def with_label(finder: LayoutFinder, find: Callable[[LayoutFinder], list[Layout]]) -> list[dict[str, str]]:
    """Return the parts of layouts together with the label of each answer; none without a label."""
    label = finder.pick("label", LABEL_KINDS)
    return [dict(layout.parts) | {"label": label} for layout in find(finder)] if label else []


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
    for names in PAIR_NAMES:
        one, other = (finder.by_plain_name.get(name) for name in names)
        if one and other and {finder.facts[one].kind, finder.facts[other].kind} <= set(SPOKEN_KINDS):
            return one, other
    return None


def find_both(finder: LayoutFinder) -> list[Layout]:
    """Find pairs whose answers are to be judged one by one."""
    return [Layout("both", layout.parts) for layout in find_pair(finder)]


def find_compared(finder: LayoutFinder) -> list[Layout]:
    """Find two answers and a column that says which is the better one, with their prompt."""
    twins = None if pick_pair(finder) else find_twins(spoken_answers(finder))
    verdict = find_verdict(finder, twins) if twins else ()
    if not twins or not verdict:
        return []
    prompt = finder.pick_prompt()
    if not prompt and finder.facts[twins[0]].kind not in CONVERSATION_KINDS:
        known = {**finder.facts, **finder.places}
        others = [name for name, facts in known.items() if facts.kind == "text" and facts.prose and name not in twins]
        why = "which column is the prompt is not known; say it with `columns`"
        raise SeveralColumnsError("prompt", [{"prompt": name} for name in sorted(others, key=talk_rank)], why)
    parts = prompt | dict(zip(("chosen", "rejected", "better", "other"), (*twins, *verdict), strict=False))
    return [Layout("compared", parts | finder.openings())]


def spoken_answers(finder: LayoutFinder) -> list[str]:
    """Return the columns of conversations or prose that may be answers by their names."""
    spoken = [name for name, facts in finder.facts.items() if facts.kind in SPOKEN_KINDS and may_answer(name)]
    return [name for name in spoken if finder.facts[name].kind != "text" or finder.facts[name].prose]


def find_verdict(finder: LayoutFinder, twins: tuple[str, str]) -> tuple[str, ...]:
    """Return the column that says which of two answers is the better one, or those of their scores; none if unclear."""
    verdicts = [*finder.named((*BY_NUMBER, *BY_SIGN), LABEL_KINDS), *finder.named(BY_MARK, ["text"])]
    scores = find_scores([name for name, facts in finder.facts.items() if facts.kind == "number"], twins)
    return tuple(verdicts) if len(verdicts) == 1 else () if verdicts else scores or ()


def find_weighed(finder: LayoutFinder) -> list[Layout]:
    """Find such answers that are to be judged one by one."""
    return [Layout("weighed", layout.parts) for layout in find_compared(finder)]


def find_scored(finder: LayoutFinder) -> list[Layout]:
    """Find pairs of which a margin may say how much better the better answer is."""
    has_margin = "margin" in finder.facts and finder.facts["margin"].kind == "number"
    margin = {"margin": "margin"} if has_margin else {}
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
    steps = finder.pick("completions", ["strings"])
    labels = finder.pick("labels", ["labels", "strings"])
    prompt = finder.pick_prompt() if steps and labels else {}
    return (
        [Layout("stepwise", prompt | {"completions": steps, "labels": labels})] if prompt and steps and labels else []
    )


def find_marked(finder: LayoutFinder) -> list[Layout]:
    """Find solutions whose steps end in marks, and their copy with a verdict for each mark."""
    named = finder.named(["input"], ["text"]), finder.named(["label"], ["text"])
    is_marked = all(named) and finder.facts[named[0][0]].marked
    return [Layout("marked", {"input": named[0][0], "label": named[1][0]})] if is_marked else []


FORM_FINDERS: dict[str, Callable[[LayoutFinder], list[Layout]]] = {
    "conversation": find_conversation,
    "answered": find_answered,
    "replied": find_replied,
    "exchange": find_exchange,
    "text": find_text,
    "judged": find_judged,
    "rated": find_rated,
    "pair": find_pair,
    "both": find_both,
    "compared": find_compared,
    "weighed": find_weighed,
    "scored": find_scored,
    "question": find_question,
    "stepwise": find_stepwise,
    "marked": find_marked,
}
