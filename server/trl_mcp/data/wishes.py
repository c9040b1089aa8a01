"""What a caller says about the rows of a data set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trl_mcp.errors import InvalidArguments
from trl_mcp.render.templates import job_module
from trl_mcp.schema import did_you_mean


@dataclass(frozen=True, slots=True)
class RowWishes:
    """The method (None: whichever the rows suit), the split, the one to evaluate on (None: no split of its own), the
    columns by target, a system prompt, and the weights of desirable and undesirable answers.
    """

    method: str | None
    split: str = "train"
    eval_split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    system_prompt: str | None = None
    has_chat_template: bool = True
    weights: tuple[float, float] = (1.0, 1.0)


def check_targets(method: str, targets: Iterable[str]) -> None:
    """Raise InvalidArguments for a column that the method does not read. A reward may read any."""
    layouts = job_module("layouts")
    known: list[str] = list(layouts.METHOD_TARGETS[method])
    for target in targets:
        if target not in known and not target.startswith("role.") and method not in layouts.PROMPT_METHODS:
            raise InvalidArguments(
                f'columns: {method} reads no "{target}".{did_you_mean(target, known)}',
                allowed=f'Each entry is "target=source"; targets: {", ".join(known)}.',
                next_step="Nothing was started.",
            )
