"""A conversion in the words of a person."""

from collections.abc import Sequence

from _job.shaping import RowShaper

KIND_WORDS = {
    "messages": "role/content",
    "message": "role/content",
    "from_value": "from/value",
    "from_value_message": "from/value",
    "exchanges": "question and answer",
    "json": "JSON text",
    "transcript": "Human/Assistant transcript",
    "parts": "content parts",
}
NAME_LIMIT = 5
PAIR_FORMS = ("pair", "both", "scored", "compared", "weighed")


def source_words(shaper: RowShaper, part: str) -> str:
    """Return the name of the column or the columns that a part is read from."""
    source = shaper.parts[part].source
    return source.place or " and ".join(dict.fromkeys(source.reads))


def layout_name(shaper: RowShaper) -> str:
    """Return what the rows hold: the columns, with the kind of their cells where it is more than text."""
    shown = [part for part in shaper.parts if part not in ("tools", "chat_template_kwargs", "margin")]
    words = [described(shaper, part) for part in shown]
    pair = " pairs" if shaper.form in PAIR_FORMS else ""
    return " + ".join(words) + pair


def described(shaper: RowShaper, part: str) -> str:
    """Return the name of a part's column with the kind of its cells."""
    kind, name = shaper.parts[part].kind, source_words(shaper, part)
    is_known = kind not in KIND_WORDS or name == kind
    return name if is_known else f"{name} ({KIND_WORDS[kind]})"


def say_conversion(shaper: RowShaper, names: Sequence[str]) -> str:
    """Return one sentence on what becomes of the columns, and which of them are not read."""
    said = FORM_WORDS[shaper.form](shaper)
    beside = [
        source_words(shaper, part) for part in ("tools", "chat_template_kwargs", "margin") if part in shaper.parts
    ]
    opening = [source_words(shaper, part) for part in ("system", "history") if part in shaper.parts]
    before = f", after {' and '.join(opening)}" if opening else ""
    with_them = f", with {' and '.join(beside)}" if beside else ""
    passed = f"; passed on: {shortened(list(shaper.others))}" if shaper.others else ""
    read = {name for part in shaper.parts.values() for name in part.source.reads} | {*shaper.parts}
    unread = [name for name in names if name not in read]
    rest = f"; not read: {shortened(unread)}" if unread else ""
    return f"{said}{before}{with_them}{passed}{rest}"


def shortened(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - NAME_LIMIT} more" if len(names) > NAME_LIMIT else ""
    return ", ".join(names[:NAME_LIMIT]) + more


def outcome(shaper: RowShaper) -> str:
    """Say whether conversations or plain texts come out."""
    return "as conversations" if shaper.chat_template else "as plain text"


def prompt_words(shaper: RowShaper) -> str:
    """Say what the prompt is made of."""
    name = source_words(shaper, "prompt")
    if "input" in shaper.parts:
        return f"{name} and {source_words(shaper, 'input')} joined are the prompt"
    return f"{name} is the prompt"


def conversation_words(shaper: RowShaper) -> str:
    """Say how conversations are read."""
    name, kind = source_words(shaper, "messages"), shaper.parts["messages"].kind
    if kind == "messages":
        return f"{name} {'are' if name.endswith('s') else 'holds'} conversations as they are"
    return f"the {KIND_WORDS[kind]} turns of {name} become conversations"


def exchange_words(shaper: RowShaper) -> str:
    """Say what prompt and completion are."""
    if "messages" in shaper.parts:
        return f"{conversation_words(shaper)}, and the last turn is the completion"
    return f"{prompt_words(shaper)}, {source_words(shaper, 'completion')} the completion, {outcome(shaper)}"


def pair_words(shaper: RowShaper) -> str:
    """Say what the prompt and the two answers are."""
    chosen, rejected = source_words(shaper, "chosen"), source_words(shaper, "rejected")
    if "prompt" in shaper.parts:
        return f"{prompt_words(shaper)}, {chosen} the better answer, {rejected} the worse one, {outcome(shaper)}"
    if shaper.is_bare_pair():
        prompt = "without a prompt" if shaper.form == "scored" else "the words that both begin with are the prompt"
        return f"{chosen} is the better text, {rejected} the worse one, {prompt}"
    shared = "the turns that both begin with are the prompt"
    return f"{chosen} holds the better answer, {rejected} the worse one; {shared}, {outcome(shaper)}"


def compared_words(shaper: RowShaper) -> str:
    """Say what the two answers are, and what tells the better one."""
    chosen, rejected, *verdicts = (
        source_words(shaper, part) for part in ("chosen", "rejected", "better", "other") if part in shaper.parts
    )
    prompt = prompt_words(shaper) if "prompt" in shaper.parts else "the turns that both begin with are the prompt"
    says = f"as {verdicts[0]} says" if len(verdicts) == 1 else f"the one of the higher of {' and '.join(verdicts)}"
    return f"{prompt}, {chosen} or {rejected} the better answer, {says}, {outcome(shaper)}"


def question_words(shaper: RowShaper) -> str:
    """Say what is to be answered."""
    if "messages" in shaper.parts:
        return f"{conversation_words(shaper)}, which are prompts without their last answer"
    return f"{prompt_words(shaper)}, {outcome(shaper)}"


FORM_WORDS = {
    "text": lambda shaper: f"{source_words(shaper, 'text')} is trained on as plain text",
    "conversation": conversation_words,
    "answered": exchange_words,
    "exchange": exchange_words,
    "judged": lambda shaper: f"{exchange_words(shaper)}, {source_words(shaper, 'label')} tells good from bad",
    "pair": pair_words,
    "scored": pair_words,
    "compared": compared_words,
    "weighed": lambda shaper: f"{compared_words(shaper)}; each pair becomes one good and one bad row",
    "both": lambda shaper: f"{pair_words(shaper)}; each pair becomes one good and one bad row",
    "question": question_words,
    "stepwise": lambda shaper: (
        f"{prompt_words(shaper)}, {source_words(shaper, 'completions')} are the steps, "
        f"{source_words(shaper, 'labels')} say which are right"
    ),
    "marked": lambda shaper: (
        f"{source_words(shaper, 'input')} is the prompt with its marked steps, "
        f"{source_words(shaper, 'label')} says which of them are right"
    ),
}
