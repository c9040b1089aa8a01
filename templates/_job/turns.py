"""The turns of a conversation as chat templates know them, made from what data sets write in their stead."""

import json
from collections.abc import Mapping
from typing import Any

from _job.cells import SPEAKER_FIELDS, SPEECH_FIELDS, TRANSCRIPT_MARK, exchange_fields, without_nulls
from _job.texts import Row, UnusableRowError, is_unicode, parse_json, read_text

Speakers = Mapping[str, str]

ROLE_SPEAKERS = {
    **{role: role for role in ("system", "developer", "user", "assistant", "tool", "function", "ipython")},
    **dict.fromkeys(("human",), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "bing", "bard", "ai"), "assistant"),
    **dict.fromkeys(("observation", "function_response", "tool_response"), "tool"),
    **dict.fromkeys(("call", "function_call", "tool_call"), "call"),
}
FROM_SPEAKERS = ROLE_SPEAKERS | {"function": "tool"}
PLAIN_SPEAKERS = {name: role for name, role in FROM_SPEAKERS.items() if role in ("system", "user", "assistant")}
TALKERS = ("user", "assistant")
END_MARK = "<|endoftext|>"
MEDIA_PARTS = ("image", "audio", "video", "file")


def read_turns(value: Any, speakers: Speakers, trained: bool = True) -> list[Row]:
    """Return the turns of a conversation, or of a single turn, with the roles and fields that chat templates know.

    `trained`: whether an assistant's turn may not be empty, since the model is to learn it.
    """
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise UnusableRowError("wrong_type")
    if not value:
        raise UnusableRowError("no_answer" if trained else "no_question")
    if isinstance(value[0], Mapping) and "role" not in value[0] and exchange_fields(value[0]):
        value = exchanged_turns(value)
    return [read_turn(turn, speakers, trained) for turn in value]


def exchanged_turns(exchanges: Any) -> list[Row]:
    """Return the turns of questions with their answers; the last question may wait for its answer."""
    turns: list[Row] = []
    for exchange in exchanges:
        fields = exchange_fields(exchange) if isinstance(exchange, Mapping) else None
        if fields is None:
            raise UnusableRowError("wrong_type")
        turns += [{"role": role, "content": exchange[name]} for role, name in zip(TALKERS, fields, strict=True)]
    return turns[:-1] if turns[-1]["content"] is None else turns


def read_turn(turn: Any, speakers: Speakers, trained: bool) -> Row:
    """Return one turn; the usual one, of a common speaker and a plain text, takes the short way."""
    if type(turn) is dict and not speakers:
        if len(turn) > 2:
            turn = {name: value for name, value in turn.items() if value is not None}
        if len(turn) == 2:
            speaker, content = turn.get("role") or turn.get("from"), turn.get("content") or turn.get("value")
            role = PLAIN_SPEAKERS.get(speaker) if type(speaker) is str else None
            if role and is_plain_text(content):
                return {"role": role, "content": content}
    if not isinstance(turn, Mapping):
        raise UnusableRowError("wrong_type")
    return read_odd_turn(turn, speakers, trained)


def is_plain_text(content: Any) -> bool:
    """Tell whether a content is a text that is never refused."""
    if type(content) is not str or not content or content.isspace():
        return False
    return content.isascii() or is_unicode(content)


def empty_reason(role: str, trained: bool) -> str | None:
    """Return why an empty turn of a role is no good: only what is learned must not be empty."""
    return "empty_completion" if trained and role == "assistant" else None


def read_odd_turn(turn: Mapping[str, Any], speakers: Speakers, trained: bool) -> Row:
    """Return a turn of any field names, without its empty fields, which some readers add to every turn."""
    fields = {name: value for name, value in turn.items() if value is not None}
    speaker = next((name for name in SPEAKER_FIELDS if isinstance(fields.get(name), str)), None)
    if speaker is None:
        raise UnusableRowError("wrong_type")
    role = role_of(fields.pop(speaker), speakers, ROLE_SPEAKERS if speaker == "role" else FROM_SPEAKERS)
    speech = next((name for name in SPEECH_FIELDS if name in fields), None)
    content = fields.pop(speech) if speech else None
    check_encoding(fields)
    if role == "call":
        return calling_turn(read_text(content, empty_reason("assistant", trained))) | fields
    if role != "assistant" or not fields.get("tool_calls"):
        return {"role": role, "content": read_content(content, empty_reason(role, trained))} | fields
    fields["tool_calls"] = without_nulls(fields["tool_calls"])
    spoken = {} if content is None else {"content": read_content(content)}
    return {"role": role, **spoken} | fields


def check_encoding(fields: Row) -> None:
    """Refuse a turn whose further fields hold text that cannot be written."""
    if fields and not is_unicode(json.dumps(fields, ensure_ascii=False, default=str)):
        raise UnusableRowError("bad_text")


def role_of(speaker: str, speakers: Speakers, known: Speakers) -> str:
    """Return the role of a speaker: as the run names it, else as such speakers are called everywhere."""
    name = speaker.strip().lower()
    role = speakers.get(speaker) or speakers.get(name) or known.get(name)
    if role is None:
        raise UnusableRowError("wrong_role")
    return role


def read_content(content: Any, when_empty: str | None = None) -> str:
    """Return what a turn says; the text parts of a content are joined, any other part is refused."""
    if not isinstance(content, list | tuple):
        return read_text(content, when_empty)
    if not content or not all(isinstance(part, Mapping) for part in content):
        raise UnusableRowError("wrong_type")
    if any(is_media(part) for part in content):
        raise UnusableRowError("image")
    joined = ""
    for part in content:
        text = read_text(part.get("text"))
        is_apart = not joined or joined[-1:].isspace() or text[:1].isspace()
        joined += text if is_apart else f"\n{text}"
    return read_text(joined, when_empty)


def is_media(part: Mapping[str, Any]) -> bool:
    """Tell whether a part of a content is something to see or to hear."""
    kind = str(part.get("type") or "")
    return any(word in kind for word in MEDIA_PARTS)


def calling_turn(text: str) -> Row:
    """Return the assistant's turn that calls functions; a call that is no JSON stays what the assistant says."""
    calls = parse_json(text)
    calls = calls if isinstance(calls, list) else [calls]
    named = [call.get("function", call) if isinstance(call, Mapping) else None for call in calls]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in named):
        return {"role": "assistant", "content": text}
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": function_call(call)} for call in named],
    }


def function_call(call: Any) -> Row:
    """Return a call's name and arguments; arguments that are written as JSON text are read."""
    given = next((call[name] for name in ("arguments", "parameters") if name in call), {})
    read = parse_json(given) if isinstance(given, str) else given
    return {"name": call["name"], "arguments": given if read is None else read}


def said_in_turn(text: str) -> str:
    """Return what is said in a turn of a transcript, without the mark of its end."""
    return text.strip().removesuffix(END_MARK).rstrip()


def read_transcript(text: str, trained: bool = True) -> list[Row]:
    """Return the turns of a text in which Human, Assistant and System speak by name.

    One that is not trained on may end where the assistant is to speak.
    """
    read_text(text)
    marks = list(TRANSCRIPT_MARK.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        raise UnusableRowError("wrong_type")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    roles = [ROLE_SPEAKERS[mark.group(1).lower().replace(" ", "_")] for mark in marks]
    spoken = [said_in_turn(text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    if not trained and roles[-1] == "assistant" and not spoken[-1]:
        roles, spoken = roles[:-1], spoken[:-1]
    if trained and ("assistant", "") in zip(roles, spoken, strict=True):
        raise UnusableRowError("empty_completion")
    return [{"role": role, "content": content} for role, content in zip(roles, spoken, strict=True)]
