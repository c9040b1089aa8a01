"""The user's own reward functions: source text of the run, compiled apart from the job's code."""

import inspect
import linecache
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

REWARD_MODULE = "reward_code"
REWARD_FILE = "<reward_code>"
SHOWN_NAMES = 20


class RewardError(Exception):
    """A reward that cannot be used: what happened, in which function and line, and what is expected instead."""


def compile_reward_code(source: str) -> dict[str, Callable[..., Any]]:
    """Run the source in a module of its own and return the functions that it defines, by their names."""
    module = ModuleType(REWARD_MODULE)
    # Data classes look their module up, and tracebacks their lines.
    sys.modules[REWARD_MODULE] = module
    linecache.cache[REWARD_FILE] = (len(source), None, source.splitlines(keepends=True), REWARD_FILE)
    try:
        exec(compile(source, REWARD_FILE, "exec"), vars(module))  # noqa: S102  (what the user asked to be run)
    except (Exception, SystemExit) as error:
        raise RewardError(f"reward_code cannot be run: {describe_failure(error)}") from error
    return {name: value for name, value in vars(module).items() if inspect.isfunction(value)}


def describe_failure(error: BaseException) -> str:
    """Say what was raised, and where in the reward code."""
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, SyntaxError) and error.filename == REWARD_FILE:
        return f"{what}, line {error.lineno}"
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == REWARD_FILE]
    return f"{what}, line {places[-1].lineno}: {places[-1].line}" if places else what


def code_function(functions: Mapping[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    """Return the function of this name, or say which ones the reward code defines."""
    function = functions.get(name)
    if function is None:
        raise RewardError(f"reward_code defines no function {name}; it defines: {', '.join(functions) or 'none'}")
    if inspect.iscoroutinefunction(function):
        raise RewardError(f"reward function {name} is async: define it with a plain `def`")
    return function


class CodeReward:
    """A function of the reward code as trainers call it: it is handed plain strings, and what it asks for.

    A conversation is handed over as the text of its last turn. A function that takes `**kwargs` gets every column
    of the data too.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """Look at what the function takes."""
        self.__name__ = name
        self.function = function
        parameters = inspect.signature(function).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self.takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        self.names = [parameter.name for parameter in parameters if parameter.kind in named]
        self.required = [item.name for item in parameters if item.kind in named and item.default is item.empty]

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Return a number for each completion, or None where the function gives none."""
        texts = {"prompts": plain_texts(prompts), "completions": plain_texts(completions)}
        given = {"log_extra": log_nothing, "log_metric": log_nothing, **columns, **texts}
        self.check_arguments(given)
        chosen = given if self.takes_all else {name: given[name] for name in self.names if name in given}
        try:
            values = self.function(**chosen)
        except (Exception, SystemExit) as error:
            raise RewardError(f"reward function {self.__name__} failed: {describe_failure(error)}") from error
        return checked_scores(self.__name__, values, len(completions))

    def check_arguments(self, given: Mapping[str, Any]) -> None:
        """Refuse a function that asks for what is not there."""
        missing = [name for name in self.required if name not in given]
        if missing:
            there = ", ".join(sorted(given)[:SHOWN_NAMES])
            raise RewardError(
                f"reward function {self.__name__} takes {', '.join(missing)}, which is no column of the data; "
                f"it can take: {there}"
            )


def log_nothing(*_: Any) -> None:
    """Stand in for a trainer's own logging where a trainer has none."""


def plain_texts(values: Sequence[Any]) -> list[str]:
    """Return texts as they are, and of each conversation the text of its last turn."""
    return [value if isinstance(value, str) else turn_text(value[-1]) for value in values]


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says, be it a text or a list of parts."""
    content = turn.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text") or "") for part in content)


def checked_scores(name: str, values: Any, count: int) -> list[float | None]:
    """Return the scores as numbers; refuse what is no list of one number (or None) per completion."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list | tuple):
        raise RewardError(
            f"reward function {name} returned {type(values).__name__}: return a list with one number per completion"
        )
    if len(values) != count:
        raise RewardError(
            f"reward function {name} returned {len(values)} values for {count} completions: "
            f"return one number per completion, None where it gives none"
        )
    return [checked_score(name, value) for value in values]


def checked_score(name: str, value: Any) -> float | None:
    """Return one score; not a number counts as none given."""
    value = value.item() if hasattr(value, "item") else value
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise RewardError(f"reward function {name} returned {value!r}: a reward is a number, or None for no reward")
    if math.isinf(value):
        raise RewardError(f"reward function {name} returned {value}: a reward must be finite")
    return None if math.isnan(value) else float(value)
