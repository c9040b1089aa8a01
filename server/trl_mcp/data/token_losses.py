"""What a chat template leaves out of rows, and tokens that stand twice around them: nothing stops a run that loses it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trl_mcp.data.token_weighing import FIRST_ROWS
from trl_mcp.values import DataProblem, Severity

_SAID = {
    "system": "the system turn",
    "user": "a question",
    "assistant": "an answer",
    "reasoning": "the reasoning of an answer",
    "tools": "the tools",
    "tool calls": "calls of tools",
}
_MENDS = {
    "system": "Write the instruction into the first question, or take a model whose template has a system turn.",
    "reasoning": "Many templates write the reasoning of the last answer only: make each answer the last one of a row.",
    "tools": "Take a model whose template knows tools, or write them into the first question.",
}
_OTHER_MEND = "Take a model whose chat template writes it."


@dataclass(slots=True)
class Losses:
    """What was found in `looked_at` rows: for each part that a template left out, each token that is doubled, its rows."""

    looked_at: int
    lost: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))
    doubled: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))

    def add(self, row: int, lost: Iterable[str], doubled: Iterable[str]) -> None:
        """Add what was found in a row."""
        for name in lost:
            self.lost[name].append(row)
        for token in doubled:
            self.doubled[token].append(row)

    def problems(self) -> Iterator[DataProblem]:
        """Yield a warning for what is left out, and one for what is doubled."""
        if self.lost:
            parts = [f"{_SAID.get(name, name)} ({self._share(rows)})" for name, rows in self.lost.items()]
            mends = dict.fromkeys(_MENDS.get(name, _OTHER_MEND) for name in self.lost)
            message = f"The chat template leaves out of rows {', '.join(parts)}: the model never sees it."
            yield self._warning("tmpl.lost", self.lost, message, " ".join(mends))
        if self.doubled:
            parts = [f"{token} ({self._share(rows)})" for token, rows in self.doubled.items()]
            message = f"Around texts stand twice: {', '.join(parts)}: the tokenizer adds it by itself."
            yield self._warning("tmpl.doubled", self.doubled, message, "Take it out of the texts that hold it.")

    def _share(self, rows: list[int]) -> str:
        return f"in {len(rows)} of {self.looked_at} rows looked at"

    def _warning(self, code: str, found: dict[str, list[int]], message: str, fix: str) -> DataProblem:
        rows = sorted({row for numbers in found.values() for row in numbers})
        return DataProblem(code, Severity.WARNING, len(rows), tuple(rows[:FIRST_ROWS]), message, fix)
