"""The user's reward functions as text: parsed, never run. Which functions there are, and what they ask for."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.errors import InvalidArguments

_NOTHING_STARTED = "Nothing was started."
# What a trainer hands to every reward function beside the columns of the data.
_ALWAYS_GIVEN = frozenset(
    {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "kwargs"}
)


@dataclass(frozen=True, slots=True)
class RewardFunction:
    """A function of the reward code: its name, and the columns of the data that it cannot do without."""

    name: str
    columns: tuple[str, ...]


def reward_functions(code: str) -> Mapping[str, RewardFunction]:
    """Return the functions that the code defines at top level, by name.

    Raises InvalidArguments for code that does not parse, defines no function, or one that cannot be called.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidArguments(
            f"reward_code is no valid Python: {_place(error)}.", next_step=f"Correct it. {_NOTHING_STARTED}"
        ) from None
    found = {
        node.name: _function(node) for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    if not found:
        raise InvalidArguments(
            "reward_code defines no function.",
            allowed="A reward is a function such as `def short(completions, **kwargs): return [-len(text) for text in "
            "completions]`: one number for each completion.",
            next_step=_NOTHING_STARTED,
        )
    return found


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return "it is nested too deeply" if isinstance(error, (RecursionError, MemoryError)) else str(error)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> RewardFunction:
    arguments = node.args
    if isinstance(node, ast.AsyncFunctionDef):
        raise InvalidArguments(
            f"The reward function {node.name} (line {node.lineno}) is async; a plain `def` is needed.",
            next_step=_NOTHING_STARTED,
        )
    optional = len(arguments.defaults)
    if len(arguments.posonlyargs) > max(0, optional - len(arguments.args)):
        raise InvalidArguments(
            f"The reward function {node.name} (line {node.lineno}) takes arguments without names; they are given by "
            "name: prompts, completions and the columns of the data.",
            next_step=f"Take out the / in its arguments. {_NOTHING_STARTED}",
        )
    needed = arguments.args[: max(0, len(arguments.args) - optional)]
    keywords = [name for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    return RewardFunction(node.name, tuple(each.arg for each in [*needed, *keywords] if each.arg not in _ALWAYS_GIVEN))
