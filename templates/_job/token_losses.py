"""What a chat template leaves out of a row, and tokens that stand twice around a text: both without a word of TRL's."""

from collections.abc import Iterable, Iterator
from typing import Any

from _job.token_coder import TokenCoder, is_chat, template_extras
from _job.token_rules import RawRow, TokenSequence

THOUGHT_END = "</think>"
# Their trainers give the chat template nothing of the row but its turns.
TURNS_ONLY = ("grpo", "rloo", "distillation", "online_dpo")
ANSWERS = ("completion", "chosen", "rejected")


def row_losses(method: str, row: RawRow, coder: TokenCoder) -> list[str]:
    """Return what the rendered row lacks: names of roles, reasoning, tools, tool calls. Nothing for a text."""
    own = coder.config.get("chat_template_kwargs") or {}
    extras = (own if method != "online_dpo" else {}) if method in TURNS_ONLY else template_extras(row)
    found: list[str] = []
    for chat in row_chats(row):
        text = coder.tokenizer.apply_chat_template(chat, tokenize=False, chat_template=coder.template, **extras)
        found += [name for turn in chat for name in turn_losses(turn, text)]
        found += ["tools"] if lacks(tool_names(template_extras(row)["tools"]), text) else []
    return list(dict.fromkeys(found))


def row_chats(row: RawRow) -> list[list[dict[str, Any]]]:
    """Return the conversations that a row becomes."""
    if "messages" in row:
        return [row["messages"]]
    prompt = row.get("prompt")
    if not isinstance(prompt, list) or not is_chat(prompt):
        return [row[name] for name in ANSWERS if is_chat(row.get(name))]
    return [[*prompt, *row[name]] for name in ANSWERS if name in row] or [prompt]


def turn_losses(turn: dict[str, Any], text: str) -> Iterator[str]:
    """Name what a rendered conversation lacks of one turn; what a tool answers may be written in any form."""
    if turn["role"] == "tool":
        return
    content = turn.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
    thoughts = [turn[name] for name in ("reasoning_content", "thinking") if isinstance(turn.get(name), str)]
    if turn["role"] == "assistant":
        split = [part.rpartition(THOUGHT_END) for part in parts]
        thoughts += [before.replace("<think>", "") for before, _, _ in split]
        parts = [said for _, _, said in split]
    if lacks(thoughts, text):
        yield "reasoning"
    if lacks(parts, text):
        yield turn["role"]
    if lacks(tool_names(turn.get("tool_calls")), text):
        yield "tool calls"


def tool_names(tools: Any) -> list[str]:
    """Return the names of functions, as tools or calls of them name them."""
    given = tools if isinstance(tools, list) else []
    found = [tool.get("function", tool) for tool in given if isinstance(tool, dict)]
    return [tool["name"] for tool in found if isinstance(tool, dict) and isinstance(tool.get("name"), str)]


def lacks(pieces: Iterable[str], text: str) -> bool:
    """Tell whether any of the pieces is missing in a text, whatever space is around them."""
    return any(piece.strip() not in text for piece in pieces)


def doubled_ends(sequences: list[TokenSequence], coder: TokenCoder) -> list[str]:
    """Name the tokens that stand twice at the beginning or at the end of a sequence."""
    begin, end = coder.tokenizer.bos_token_id, coder.tokenizer.eos_token_id
    found: list[str] = []
    if begin is not None and any(sequence.ids[:2] == [begin, begin] for sequence in sequences):
        found.append(coder.tokenizer.bos_token)
    if end is not None and any(sequence.ids[-2:] == [end, end] for sequence in sequences):
        found.append(coder.tokenizer.eos_token)
    return found
