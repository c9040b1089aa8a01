"""What the names of columns tell: which part a column plays, which two belong together."""

import re
from collections.abc import Iterable, Mapping

# The names that columns have for a part, beside its own. `context` is what a prompt is about, `choices` what it has to
# choose from: without them nobody could answer.
KIN = {
    "prompt": ("prompt", "question", "query", "instruction", "problem", "input", "inputs", "user", "user_prompt"),
    "completion": (
        *("completion", "response", "answer", "output", "solution", "outputs", "target", "targets", "assistant"),
        "summary",
    ),
    "text": ("text", "content"),
    "input": ("input", "context"),
    "context": ("context", "passage", "support", "background", "definition", "sql_context"),
    "choices": ("choices", "options"),
    "system": ("system", "system_prompt"),
    "label": ("label", "kto_tag", "desirable", "is_desirable", "thumbs_up"),
    "speaker": ("role", "from", "speaker"),
    "completions": ("completions", "steps"),
    "labels": ("labels", "step_labels"),
}
PAIR_NAMES = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("better", "worse"),
)
NAMES_WITH_A_PART = (
    frozenset(name for part in ("prompt", "completion", "input", "system", "label") for name in KIN[part])
    | frozenset(name for part in ("completions", "labels") for name in KIN[part])
    | frozenset(name for names in PAIR_NAMES for name in names)
    | {"history", "tools"}
)

WORD_BREAK = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z])(?=\d)")
THOUGHT_WORDS = frozenset(("cot", "thinking", "reasoning", "thought", "thoughts", "rationale", "trajectory"))
ASIDE_WORDS = frozenset(
    ("system", "tools", "functions", "metadata", "model", "models", "source", "id", "grade", "reason", "seed", "title")
)
ASKING_WORDS = frozenset(
    (
        *("prompt", "question", "query", "instruction", "problem", "input", "inputs", "user", "stem", "task"),
        *("context", "passage", "article", "document", "dialogue", "history", "post", "definition"),
        *("support", "background", "trajectory"),
    )
)
ANSWERING_WORDS = frozenset(
    (
        *("completion", "response", "answer", "answers", "output", "outputs", "solution", "target", "targets"),
        *("assistant", "summary", "highlights", "abstract", "code", "sql", "reply", "attempt", "correct", "chosen"),
    )
)
TALK_PLACES = ("asks", "either", "answers", "aside")
TWIN_MARKS = (("0", "1"), ("1", "2"), ("a", "b"), ("j", "k"))


def name_words(name: str) -> list[str]:
    """Return the words of a name in lower case: answerKey, r1_solution_2 and human_ref_A have two, four and three."""
    return [word.lower() for word in WORD_BREAK.split(name) if word]


def plain_name(name: str) -> str:
    """Return a name as it is compared with others: without case, words joined by an underscore."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def place_in_talk(name: str) -> str:
    """Tell by its name whether a column asks, answers, may do either or stands aside."""
    for word in reversed(name_words(name)):
        if word in ASIDE_WORDS:
            return "aside"
        if word in ANSWERING_WORDS:
            return "answers"
        if word in ASKING_WORDS:
            return "asks"
    return "either"


def may_answer(name: str, *, sure: bool = False) -> bool:
    """Tell whether a column may hold answers, or is one that does for sure, by its name."""
    return place_in_talk(name) in (("answers",) if sure else ("answers", "either"))


def talk_rank(name: str) -> int:
    """Rank a column by its place in a talk: what asks first."""
    return TALK_PLACES.index(place_in_talk(name))


def has_thoughts(name: str) -> bool:
    """Tell whether a column is named for what is thought before an answer is given."""
    return not THOUGHT_WORDS.isdisjoint(name_words(name))


def find_twins(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that differ in one mark only, as response_a and response_b do."""
    known: Mapping[tuple[str, ...], str] = {tuple(name_words(name)): name for name in names}
    for words, name in known.items():
        for one, other in TWIN_MARKS:
            for place in (place for place, word in enumerate(words) if word == one):
                twin = known.get((*words[:place], other, *words[place + 1 :]))
                if twin:
                    return name, twin
    return None
