"""Judges among the rewards: language models on Inference Providers that score answers by a rubric."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import shorten

PREFIX = "judge:"
RUBRIC = "judge_rubric"
MOST_RUBRIC_CHARACTERS = 8000
# What the router of Inference Providers takes in the place of a provider's name.
POLICIES = frozenset({"fastest", "cheapest", "preferred"})
_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?::([a-z0-9][a-z0-9-]{0,63}))?")
_COLUMN = re.compile(r"\{([A-Za-z_]\w*)\}")
_SHOWN_ANYWAY = frozenset({"prompt", "prompts", "completion", "completions"})
_NOTHING_STARTED = "Nothing was started."


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge: a model's Hub id, and the provider that is to serve it; None where that is left to the Hub."""

    model: str
    provider: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.model + (f":{self.provider}" if self.provider else "")


def is_judge(text: str) -> bool:
    """Tell whether a reward, without its weight, names a judge."""
    return text.startswith(PREFIX) or text == PREFIX.rstrip(":")


def judge_named(text: str) -> Judge:
    """Return the judge that a reward names. Raises InvalidArguments for what no provider can serve."""
    match = _NAME.fullmatch(text.removeprefix(PREFIX).strip())
    if match is None or ".." in match[1]:
        raise InvalidArguments(
            f'"{shorten(text)}" names no judge.',
            allowed="judge:owner/name, a chat model that Inference Providers serve, as it is now (no @revision, folder "
            'or job id); a provider may follow, and last a weight: "judge:owner/name:provider:0.2".',
            next_step=_NOTHING_STARTED,
        )
    return Judge(match[1], match[2])


def check_rubric(rubric: object) -> str | None:
    """Return the rubric that was given for judges. Raises InvalidArguments for what is none."""
    if rubric is None:
        return None
    if not isinstance(rubric, str) or not rubric.strip():
        raise InvalidArguments(
            f"{RUBRIC} cannot be {shorten(rubric)}.",
            allowed="It is a text that says what makes an answer worth 0 and what 1.",
            next_step=f"Leave it out to score how helpful and correct answers are. {_NOTHING_STARTED}",
        )
    if len(rubric) > MOST_RUBRIC_CHARACTERS:
        raise InvalidArguments(
            f"{RUBRIC} has {len(rubric):,} characters; every call would carry them.",
            allowed=f"At most {MOST_RUBRIC_CHARACTERS:,}.",
            next_step=_NOTHING_STARTED,
        )
    if shown := sorted(_SHOWN_ANYWAY & set(_COLUMN.findall(rubric))):
        raise InvalidArguments(
            f"{RUBRIC} has {{{shown[0]}}}, which the judge is shown in any case.",
            allowed="Braces are for other columns of the data, such as {solution}.",
            next_step=f"Take it out. {_NOTHING_STARTED}",
        )
    return rubric


def rubric_columns(rubric: str | None) -> tuple[str, ...]:
    """Return the columns of the data that a rubric is filled in with, row by row."""
    return tuple(dict.fromkeys(_COLUMN.findall(rubric or "")))


def check_rubric_is_read(rubric: str | None, entries: Sequence[str]) -> None:
    """Raise InvalidArguments for a rubric that no reward reads."""
    if rubric is None or any(is_judge(entry.strip()) for entry in entries):
        return
    raise InvalidArguments(
        f"{RUBRIC} is given, and rewards names no judge.",
        next_step=f"Add judge:<model id> to rewards, or leave it out. {_NOTHING_STARTED}",
    )
