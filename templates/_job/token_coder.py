"""Texts and conversations as tokens, by the hundred: the tokenizer's own work, called as TRL calls it for one row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class RefusedConfigError(ValueError):
    """A trainer's config asks for what TRL refuses, whatever the rows; `code` names the check that finds it."""

    def __init__(self, code: str, words: str) -> None:
        """Keep both."""
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class CodedText:
    """Token ids, and for each the flag of whether an assistant says it; None where that was not asked."""

    ids: list[int]
    assistant: list[int] | None = None


class TokenCoder:
    """A tokenizer with the fields of a trainer's config; `template` takes the place of the tokenizer's own.

    `end` is the token that closes a text, None where the tokenizer knows none.
    """

    def __init__(self, tokenizer: Any, config: dict[str, Any], template: str | None = None) -> None:
        """Keep what every batch needs."""
        self.tokenizer = tokenizer
        self.config = config
        self.template = template
        self.end = tokenizer.eos_token

    def texts(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Return the token ids of each text; `special` adds what the tokenizer puts around a text."""
        coded = self.tokenizer(text=texts, add_special_tokens=special, return_attention_mask=False)
        return coded["input_ids"]

    def chats(self, chats: list[Any], extras: list[dict[str, Any]], masks: bool = False) -> list[CodedText]:
        """Return the tokens of each conversation; `extras` are the arguments of its own for the chat template."""
        found: dict[int, CodedText] = {}
        for places in alike(extras):
            given = {"chat_template": self.template, **extras[places[0]]}
            batch = [chats[place] for place in places]
            coded = self.tokenizer.apply_chat_template(
                batch, tokenize=True, return_dict=True, return_assistant_tokens_mask=masks, **given
            )
            flags = coded["assistant_masks"] if masks else [None] * len(batch)
            found.update(zip(places, map(CodedText, coded["input_ids"], flags), strict=True))
        return [found[place] for place in range(len(chats))]

    def rendered(self, chats: list[Any], extras: list[dict[str, Any]]) -> list[str]:
        """Return the text of each conversation."""
        found: dict[int, str] = {}
        for places in alike(extras):
            batch = [chats[place] for place in places]
            texts = self.tokenizer.apply_chat_template(batch, tokenize=False, **extras[places[0]])
            found.update(zip(places, texts, strict=True))
        return [found[place] for place in range(len(chats))]

    def ended(self, text: str) -> str:
        """Return a text with the end-of-sequence token behind it."""
        if self.end is None:
            raise ValueError("the tokenizer has no end-of-sequence token; set eos_token")
        return text if text.endswith(self.end) else text + self.end


def alike(extras: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Group the places of equal arguments."""
    if all(extra == extras[0] for extra in extras):
        return [list(range(len(extras)))]
    groups: dict[str, list[int]] = {}
    for place, extra in enumerate(extras):
        groups.setdefault(json.dumps(extra, sort_keys=True, default=repr), []).append(place)
    return list(groups.values())


def is_chat(value: Any) -> bool:
    """Tell whether a column's value is a conversation."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def template_extras(row: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what a row gives to the chat template beside its turns. Raises TypeError where it gives one of `more`."""
    tools = row.get("tools")
    read = json.loads(tools) if isinstance(tools, str) else tools
    return dict(**more, **{"tools": read, **(row.get("chat_template_kwargs") or {})})


def shared_start(ids: list[int], others: list[int]) -> int:
    """Return how many tokens two sequences have in common at their start."""
    if others[: len(ids)] == ids:
        return len(ids)
    return next(place for place, pair in enumerate(zip([*ids, -1], [*others, -2], strict=False)) if pair[0] != pair[1])
